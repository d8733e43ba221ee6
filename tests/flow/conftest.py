"""Stories share a world where they do not disturb each other: one for each database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World, world


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
    for tool in shared_world.tools:
        await shared_world.misbehave(tool, faults=[], hooks={}, lag_s=0)
        if shared_world.rows(t.connection, id=f"con_{tool}", state="paused"):
            await shared_world.set_connection(tool, state="active", reason=None)
