"""A hub for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bad_input import Hall, hall


@pytest.fixture
async def h(tmp_path: Path) -> AsyncIterator[Hall]:
    """A hub with four connections; its vendors answer from memory."""
    async with hall(tmp_path) as opened:
        yield opened
