"""A store on each database, with a table to write on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from lifecyclehub.store.database import open_engine
from lifecyclehub.store.writer import Store
from tests.support.shop import Shop, sheet


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An open, empty database: the test runs on both kinds."""
    url = (
        f"sqlite+pysqlite:///{tmp_path / 'hub.sqlite3'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )
    opened = open_engine(url)
    yield opened
    opened.dispose()


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """An open, empty SQLite database."""
    opened = open_engine(f"sqlite+pysqlite:///{tmp_path / 'hub.sqlite3'}")
    yield opened
    opened.dispose()


@pytest.fixture
def postgres_engine(postgres_url: str) -> Iterator[Engine]:
    """An open, empty PostgreSQL database."""
    opened = open_engine(postgres_url)
    yield opened
    opened.dispose()


@pytest.fixture
async def shop(engine: Engine) -> AsyncIterator[Shop]:
    """A store with one writer, whose counter can be closed so that a queue forms."""
    with engine.begin() as conn:
        sheet.create(conn)
    opened = Shop(Store(engine, writers=1))
    yield opened
    opened.close()
