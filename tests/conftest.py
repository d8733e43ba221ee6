"""Databases for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of a running PostgreSQL; where there can be none, skip (in CI: fail) and say why."""
    mine = tmp_path_factory.getbasetemp()
    try:
        context = postgres.shared_server(mine.parent if hasattr(request.config, "workerinput") else mine)
        url = context.__enter__()
    except postgres.PostgresUnavailable as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        yield url
        postgres.drop_what_is_aside(url)
    finally:
        context.__exit__(None, None, None)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Give the URL of an empty PostgreSQL schema of this test's own."""
    with postgres.fresh_schema(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server: str) -> Iterator[str]:
    """Give the URL of a PostgreSQL schema that several tests share."""
    with postgres.fresh_schema(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Give the URL of a SQLite file of this test's own."""
    return f"sqlite+pysqlite:///{tmp_path / 'hub.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test on both databases, each empty."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
