from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecyclehub.torture.database import Database


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = Database(Path(tmp_path_factory.mktemp("torture")) / "home")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quiet_logs() -> Iterator[None]:
    """Scenarios are full of faults that are logged."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
