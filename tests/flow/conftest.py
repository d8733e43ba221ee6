"""Stories share a world where they do not disturb each other: one for each database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World, world

# Stories whose answer could depend on the database: who writes at the same moment, what is read back, what survives.
# The others run on PostgreSQL too when ALL_STORIES is set, as it is in CI; by hand they would only take a minute more.
ALL_STORIES = "LIFECYCLEHUB_TEST_ALL_STORIES"
ON_BOTH = (
    "test_a_won_deal_starts_delivery",
    "test_a_closed_project_drafts_its_invoice",
    "test_a_deal_is_won_lost_and_won_again",
    "test_the_hub_is_restarted_in_the_middle",
    "test_our_own_project_comes_back",
    "test_two_clients_resemble_each_other",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the stories that need not run on both databases every time."""
    if os.environ.get(ALL_STORIES):
        return
    here = Path(__file__).parent
    out = [one for one in items if one.path.parent == here and "[postgres" in one.name and one.path.stem not in ON_BOTH]
    config.hook.pytest_deselected(items=out)
    dropped = set(out)
    items[:] = [one for one in items if one not in dropped]


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
