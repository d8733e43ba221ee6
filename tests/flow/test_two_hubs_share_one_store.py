"""Two hubs on one PostgreSQL, each in its own home: together they do everything once, also when one of them dies."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from lifecyclehub.admin.hosts import confirm_host
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables as t
from tests.support.world import World, world

pytestmark = pytest.mark.anyio
EVER = timedelta(days=9999)


def second_home(w: World, folder: Path, *, confirmed: bool = True) -> Settings:
    shutil.copytree(w.home, folder)
    settings = replace(w.settings, home=folder)
    if confirmed:
        with w.engine.begin() as conn:
            confirm_host(conn, settings, "a test", w.clock.now())
    return settings


@asynccontextmanager
async def another_hub(w: World, settings: Settings) -> AsyncIterator[Hub]:
    hub = Hub(settings, registry=w.registry, clock=w.clock)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


async def both_quiet(w: World, other: Hub) -> None:
    for _ in range(3):
        await other.settled()
        await w.quiet()


def proof(w: World, clients: int) -> None:
    assert len(w.made("asana", "project")) == clients
    assert len(w.made("asana", "task")) == 4 * clients
    assert len(w.notes()) == clients
    assert {row["state"] for row in w.rows(t.effect)} == {"done"}
    assert {row["state"] for row in w.rows(t.notice)} <= {"processed", "ignored"}


async def test_what_comes_to_one_hub_is_not_done_again_by_the_other(tmp_path: Path, postgres_url: str) -> None:
    async with world(tmp_path, postgres_url) as w, another_hub(w, second_home(w, tmp_path / "second")) as other:
        for number in range(3):
            await w.win(title=f"Job {number}", domain=f"{number}-{w.domain}", contact_email=f"ada@{number}-{w.domain}")
        await both_quiet(w, other)
        proof(w, 3)
        # A hub's share of a tool's rate may leave no room for a while: such an attempt is kept too, but nothing of it left.
        sent = [row["effect"] for row in w.rows(t.attempt) if row["what"] == "sent" and row["bytes_sent"]]
        assert sorted(sent) == sorted(row["id"] for row in w.rows(t.effect))


async def test_what_a_dead_hub_left_is_finished_by_the_one_that_lives(tmp_path: Path, postgres_url: str) -> None:
    async with world(tmp_path, postgres_url) as w, another_hub(w, second_home(w, tmp_path / "second")) as other:
        await w.misbehave("asana", faults=[{"do": "slow", "path": "/projects$", "seconds": 0.4}])
        await w.win()
        await w.until(lambda: w.effects().get("project") == ["in flight"])
        dead = w.hub.tools.holder
        await w.abandon_hub()
        await other.be_present()
        assert w.effects()["project"] == ["in flight"]  # its lease is not over yet

        with w.engine.begin() as conn:
            conn.execute(update(t.lease).where(t.lease.c.name == dead).values(until=w.clock.now() - EVER))
        w.running = other
        await other.be_present()
        await w.quiet()
        proof(w, 1)
        assert [row for row in w.rows(t.lease) if row["name"] == dead] == []
        w.running = None
        await w.start_hub()


async def test_a_home_that_nobody_confirmed_takes_in_and_leaves_the_work_to_others(tmp_path: Path, postgres_url: str) -> None:
    async with world(tmp_path, postgres_url) as w:
        copy = second_home(w, tmp_path / "second", confirmed=False)
        async with another_hub(w, copy) as other:
            mine, w.running = w.hub, other  # webhooks come to the copy
            await w.win()
            await w.until(lambda: w.rows(t.delivery))
            w.running = mine
            await mine.intake.tick()
            await w.quiet()
            proof(w, 1)
            assert {row["holder"] for row in w.rows(t.effect)} == {mine.tools.holder}
            assert not other.intake.flow.busy


async def test_hubs_that_may_call_share_declared_rates_and_a_standby_takes_none(tmp_path: Path, postgres_url: str) -> None:
    async with world(tmp_path, postgres_url) as w:
        await w.hub.be_present()
        assert w.hub.client._rates.hubs == 1
        async with another_hub(w, second_home(w, tmp_path / "standby", confirmed=False)):
            await w.hub.be_present()
            assert w.hub.client._rates.hubs == 1
        async with another_hub(w, second_home(w, tmp_path / "second")) as other:
            await w.hub.be_present()
            assert (w.hub.client._rates.hubs, other.client._rates.hubs) == (2, 2)
        await w.hub.be_present()
        assert w.hub.client._rates.hubs == 1


async def test_two_homes_on_one_sqlite_file_refuse_each_other(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        second = replace(second_home(w, tmp_path / "second"), database=w.settings.database)
        hub = Hub(second, registry=w.registry, clock=w.clock)
        with pytest.raises(ConfigurationError, match="another hub is running on this database"):
            await hub.start()
        await hub.stop()
        await w.restart()  # what was refused holds nothing


async def test_a_copied_home_sends_nothing_until_a_person_confirms_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.stop_hub()
        w.settings, kept = replace(second_home(w, tmp_path / "copy", confirmed=False), database=w.settings.database), w.settings
        await w.start_hub()
        before = w.writes()
        await w.win()
        await w.until(lambda: w.rows(t.delivery))
        await asyncio.gather(w.hub.settled(), w.hub.sweeper.tick())
        assert w.writes() == before
        assert w.rows(t.notice) == []

        with w.engine.begin() as conn:
            confirm_host(conn, w.settings, "a person", w.clock.now())
        await w.hub.look_for_changes()
        await w.quiet()
        proof(w, 1)
        w.settings = kept
