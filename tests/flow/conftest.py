"""Stories share a world where they do not disturb each other: one for each database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from zlib import crc32

import pytest

from lifecyclehub.store import tables as t
from tests.support.moves import forget_moves, not_allowed
from tests.support.world import World, world

# With ALL_STORIES set, as it is in CI, every story is played on both databases; by hand each one on one of them, chosen by
# its name, so that every file meets both in half the time. These stories are always played on both.
ALL_STORIES = "LIFECYCLEHUB_TEST_ALL_STORIES"
ON_BOTH = ("test_a_won_deal_starts_delivery", "test_the_hub_is_restarted_in_the_middle")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the second database of stories that need not be played on both every time."""
    if os.environ.get(ALL_STORIES):
        return
    here = Path(__file__).parent
    out = {one for one in items if one.path.parent == here and one.path.stem not in ON_BOTH and _is_second(one.name)}
    config.hook.pytest_deselected(items=list(out))
    items[:] = [one for one in items if one not in out]


def _is_second(name: str) -> bool:
    """Tell whether this is the story's turn on the database that it was not chosen for."""
    story = name.replace("[sqlite", "[").replace("[postgres", "[")
    chosen = ("[sqlite", "[postgres")[crc32(story.encode()) % 2]
    return story != name and chosen not in name


@pytest.fixture(scope="session")
async def sqlite_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Give a world on SQLite with all three handoffs on, for many stories."""
    async with world(tmp_path_factory.mktemp("world"), None) as one:
        yield one


@pytest.fixture(scope="session")
async def postgres_world(tmp_path_factory: pytest.TempPathFactory, shared_postgres_url: str) -> AsyncIterator[World]:
    """Give the same on PostgreSQL."""
    async with world(tmp_path_factory.mktemp("world"), shared_postgres_url) as one:
        yield one


@pytest.fixture(params=["sqlite", "postgres"])
def shared_world(request: pytest.FixtureRequest) -> World:
    """Give the world of one database. Each is made once, however the stories of both take turns."""
    one: World = request.getfixturevalue(f"{request.param}_world")
    return one


@pytest.fixture
async def w(shared_world: World) -> AsyncIterator[World]:
    """Give the shared world at the beginning of a story: with a new client, and every tool in good order."""
    if shared_world.running is None:
        await shared_world.start_hub()
    shared_world.begin_story()
    yield shared_world
    assert not_allowed(shared_world.engine) == []
    forget_moves(shared_world.engine)
    for tool in shared_world.tools:
        await shared_world.misbehave(tool, faults=[], hooks={}, lag_s=0)
        if shared_world.rows(t.connection, id=f"con_{tool}", state="paused"):
            await shared_world.set_connection(tool, state="active", reason=None)
