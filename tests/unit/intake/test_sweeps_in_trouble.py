"""What keeps a sweep from its end is said, and it goes on where it was: nothing that changed meanwhile is left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.admin.connections import pause_connection, resume_connection
from lifecyclehub.connector import Call, Page
from lifecyclehub.errors import ConfigurationError, TryAgain
from lifecyclehub.intake.passes import came_to
from lifecyclehub.store.writer import StoreBusy
from tests.support.contract_world import contract_world
from tests.support.drawer import BOX, CARD, Drawer, DrawerVendor
from tests.support.sweeping import drawers, known, place, until

pytestmark = pytest.mark.anyio


async def test_a_pass_goes_on_where_it_was_over_failure_restart_and_edited_rules(tmp_path: Path, database_url: str) -> None:
    async with drawers(tmp_path, database_url) as (w, vendor):
        w.clock.at += 61
        for one in "abcdef":
            vendor.card(one)
        vendor.breaks.add(("cards", "d"))
        await w.pass_time(0)
        assert known(w) == ["a", "b", "c", "d"]
        row = place(w)
        assert row["began_at"] is not None
        assert "status 400" in row["reason"]
        await w.restart()
        (w.settings.mappings / "drawer" / "card.toml").write_text(Drawer.mappings["card.toml"] + "\nwaiting = 'open'\n")
        await w.hub.reconfigure()
        lists = vendor.asked["list cards"]
        await w.pass_time(10)
        assert known(w) == ["a", "b", "c", "d", "e", "f"]
        assert vendor.asked["list cards"] == lists + 1, "only the page that was missing is listed"
        assert place(w)["reason"] is None


async def test_a_failing_sweep_says_why_and_is_tried_again_later_and_later(tmp_path: Path) -> None:
    async with drawers(tmp_path) as (w, vendor):
        vendor.failing = [400] * 100
        w.clock.at += 61
        tried = []
        for _ in range(200):
            before = vendor.asked["list cards"]
            await w.pass_time(1)
            tried += [w.clock.at] if vendor.asked["list cards"] > before else []
        waits = [round(later - sooner) for sooner, later in pairwise(tried)]
        assert waits == sorted(waits)
        assert waits[0] <= 2
        assert waits[-1] >= 25
        row = place(w)
        assert "status 400" in row["reason"]
        assert row["failures"] == len(tried)
        vendor.failing = []
        vendor.card("a")
        await w.pass_time(700)
        assert known(w) == ["a"]
        assert (place(w)["reason"], place(w)["failures"]) == (None, 0)


async def test_what_keeps_a_connection_from_being_called_is_said_and_the_other_kinds_are_tried_too(tmp_path: Path) -> None:
    async with drawers(tmp_path) as (w, vendor):

        async def none(_: str) -> Any:
            raise ConfigurationError("there is no way in called 'token'.")

        tools = w.hub.sweeper._tools
        w.hub.sweeper._tools = replace(tools, targets=none)
        await w.pass_time(61)
        assert {place(w, kind=one)["reason"] for one in (CARD, BOX)} == {"ConfigurationError: there is no way in called 'token'."}
        w.hub.sweeper._tools = tools
        vendor.card("a")
        await w.pass_time(61)
        assert known(w) == ["a"]
        assert place(w)["reason"] is None


async def test_a_pass_that_met_a_busy_store_goes_on_with_the_next_tick(tmp_path: Path, database_url: str) -> None:
    async with drawers(tmp_path, database_url) as (w, vendor):
        vendor.card("a")
        run = w.hub.store.run

        async def busy(operation: Any, item: Any) -> Any:
            if operation is came_to:
                raise StoreBusy("the disk is full")
            return await run(operation, item)

        w.hub.store.run = busy  # type: ignore[method-assign]
        await w.pass_time(61)
        w.hub.store.run = run  # type: ignore[method-assign]
        vendor.card("b")
        await w.pass_time(5)
        assert known(w) == ["a", "b"]


async def test_a_refused_sweep_pauses_its_connection_and_nothing_else(tmp_path: Path) -> None:
    async with drawers(tmp_path, None, "bad", "good") as (w, vendor):
        vendor.refusing = {"bad"}
        vendor.card("a")
        await w.pass_time(61)
        states = {row["name"]: row["state"] for row in w.rows("SELECT name, state FROM connection")}
        assert states == {"bad": "paused", "good": "active"}
        assert known(w) == ["a"]


async def test_a_pass_stops_at_its_page_when_a_person_pauses_the_connection_and_goes_on_when_it_is_resumed(
    tmp_path: Path,
) -> None:
    async with drawers(tmp_path) as (w, vendor):
        w.clock.at += 61
        for one in "abcdef":
            vendor.card(one)
        vendor.hangs["one"] = asyncio.Event()
        lists = vendor.asked["list cards"]
        await w.hub.sweeper.tick()
        await until(lambda: vendor.asked["list cards"] > lists)
        connection = next(iter(w.hub.directory.connections.values()))
        await pause_connection(w.hub, connection)
        await w.hub.look_for_changes()
        vendor.hangs.pop("one").set()
        await w.quiet()
        assert vendor.asked["list cards"] == lists + 1, "the page that was asked for already"
        assert vendor.asked["list boxes"] == 0
        assert known(w) == []

        await resume_connection(w.hub, connection)
        await w.hub.look_for_changes()
        await w.pass_time(1)
        assert known(w) == ["a", "b", "c", "d", "e", "f"]


async def test_a_first_sweep_that_comes_late_begins_when_the_connection_was_made(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Drawer()) as w:
        vendor = DrawerVendor(w)
        vendor.card("old", changed=w.clock.now() - timedelta(days=1))
        await w.connect("drawer", name="one", secrets={"token": "one"}, polls=True)
        await w.hub.stop()
        w.clock.at += 1800
        vendor.card("a")
        w.clock.at += 1800
        await w.start()
        await w.pass_time(0)
        await w.pass_time(61)
        assert known(w) == ["a"]


async def test_a_first_sweep_that_fails_begins_again_where_it_was_to_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: Drawer, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        raise TryAgain("status 503")
        yield

    async with contract_world(tmp_path, Drawer()) as w:
        vendor = DrawerVendor(w)
        with monkeypatch.context() as broken:
            broken.setattr(Drawer, "sweep", fails)
            await w.connect("drawer", name="one", secrets={"token": "one"}, polls=True)
            await w.pass_time(0)
            assert "status 503" in place(w)["reason"]
            w.clock.at += 1800
            vendor.card("a")
            await w.pass_time(1800)
        await w.pass_time(3600)
        await w.pass_time(61)
        assert known(w) == ["a"]


async def test_what_cannot_be_judged_keeps_no_sweep_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: Any) -> None:
        raise KeyError("facts")

    async with drawers(tmp_path) as (w, vendor):
        vendor.card("a")
        w.clock.at += 61
        monkeypatch.setattr(w.hub.sweeper._judge, "tick", fails)
        with pytest.raises(KeyError):
            await w.hub.sweeper.tick()
        await w.quiet()
        assert known(w) == ["a"]
