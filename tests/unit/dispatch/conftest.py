"""A story without network, and a hub whose time the test tells, for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.bad_input import Hall, hall
from tests.support.story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A home with four connections, told step by step."""
    told = Story(tmp_path)
    yield told
    told.close()


@pytest.fixture
async def h(tmp_path: Path) -> AsyncIterator[Hall]:
    """A hub with its handoffs on: the test says what time brings, however slow the machine is."""
    async with hall(tmp_path) as opened:
        opened.hub.timers.stop()
        await opened.hub.settled()  # what a start decides anew is over
        await opened.switch_on()
        yield opened
