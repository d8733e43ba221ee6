"""What webhooks missed is found: side by side, over restarts, every night in full, and within what the vendor allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.connector import Call, Page
from lifecyclehub.intake.missing import is_mass, missing
from lifecyclehub.intake.passes import Came, Place, Take, came_to, read_passes, take
from lifecyclehub.messages import Notice
from lifecyclehub.store import tables as t
from tests.support.contract_world import contract_world
from tests.support.drawer import BOX, CARD, Drawer, DrawerVendor
from tests.support.sweeping import DAY_S, drawers, gone, known, night, place, until

pytestmark = pytest.mark.anyio


async def test_a_connection_whose_vendor_hangs_keeps_no_other_one_waiting(tmp_path: Path, database_url: str) -> None:
    async with drawers(tmp_path, database_url, "slow", "quick") as (w, vendor):
        vendor.hangs["slow"] = asyncio.Event()
        w.clock.at += 61
        vendor.card("a")
        await w.hub.sweeper.tick()
        await until(lambda: any(row["connection"] for row in w.rows("SELECT connection FROM link")))
        (quick,) = [row["id"] for row in w.rows("SELECT id FROM connection WHERE name = 'quick'")]
        assert [row["connection"] for row in w.rows("SELECT connection FROM link")] == [quick]
        w.clock.at += 61
        vendor.card("b")
        while known(w) != ["a", "b"]:  # and the next time too, while the first one still hangs
            await w.hub.sweeper.tick()
        vendor.hangs["slow"].set()
        await w.quiet()


async def test_a_known_record_in_the_overlap_is_not_looked_at_again(tmp_path: Path) -> None:
    async with drawers(tmp_path) as (w, vendor):
        vendor.card("a")
        await w.pass_time(61)
        await w.pass_time(180)  # our look was long after the change: nothing can hide behind it
        looks = vendor.asked["fetch a"]
        await w.pass_time(61, times=3)
        assert looks == vendor.asked["fetch a"] == 1
        vendor.card("a", "won")
        await w.pass_time(61)
        assert vendor.asked["fetch a"] == 2
        assert w.rows("SELECT status FROM deal") == [{"status": "won"}]


# --- every night in full ----------------------------------------------------------------------------------------------


async def test_the_night_finds_what_changed_long_before_the_last_sweep(tmp_path: Path) -> None:
    async with drawers(tmp_path) as (w, vendor):
        await w.pass_time(3 * 3600)
        vendor.card("late", changed=w.clock.now() - timedelta(hours=1))  # the vendor showed it only now
        await w.pass_time(61)
        assert known(w) == []
        await night(w)
        assert known(w) == ["late"]
        lists = vendor.asked["list boxes"]
        await w.pass_time(61)
        assert vendor.asked["list boxes"] == lists + 1, "the changes alone: the night is over"


async def test_the_night_leaves_history_to_an_import(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Drawer()) as w:
        vendor = DrawerVendor(w)
        vendor.card("old", changed=w.clock.now() - timedelta(days=400))
        await w.connect("drawer", name="one", secrets={"token": "one"}, polls=True)
        await night(w)
        await night(w)
        assert known(w) == []
        assert vendor.asked["fetch old"] == 0


async def test_what_is_not_listed_any_more_is_gone_when_a_look_says_so(tmp_path: Path, database_url: str) -> None:
    async with drawers(tmp_path, database_url) as (w, vendor):
        for one in ("a", "b", "c", "d"):
            vendor.box(one)
        await w.pass_time(61)
        assert known(w, BOX) == ["a", "b", "c", "d"]
        del vendor.shelves["boxes"]["a"]
        vendor.forbidden.add("b")
        vendor.unlisted |= {"b", "c"}
        await w.pass_time(61)
        assert gone(w) == [], "a list of changes proves nothing"
        await night(w)
        assert gone(w) == ["a"], "403 is not gone, and what is only not listed is not gone either"
        parked = w.rows("SELECT record_id, reason FROM notice WHERE state = 'parked'")
        assert parked == [{"record_id": "b", "reason": "forbidden"}]
        looks = vendor.asked["fetch b"]
        await night(w)
        assert vendor.asked["fetch b"] == looks, "it waits for a person already"
        vendor.box("a")
        await w.pass_time(61)
        assert gone(w) == [], "a look that shows it alive brings it back"


async def test_an_old_question_about_a_record_keeps_nobody_from_noticing_that_it_is_gone(tmp_path: Path) -> None:
    async with drawers(tmp_path) as (w, vendor):
        for one in ("a", "b"):
            vendor.box(one)
        await w.pass_time(61)
        with w.hub.engine.begin() as conn:  # a person was asked before our last look, and never answered
            asked = {"state": "parked", "reason": "double", "kept_at": w.clock.now() - timedelta(hours=1)}
            conn.execute(t.notice.update().where(t.notice.c.record_id == "a").values(**asked))
        del vendor.shelves["boxes"]["a"]
        await night(w)
        assert gone(w) == ["a"]


async def test_a_look_that_seems_to_come_yet_keeps_nobody_from_noticing_that_a_record_is_gone(
    tmp_path: Path, database_url: str
) -> None:
    async with drawers(tmp_path, database_url) as (w, vendor):
        for one in ("a", "b", "c", "d"):
            vendor.box(one)
        await w.pass_time(61)
        with w.hub.engine.begin() as conn:  # our clock was ahead then, and was put back since
            conn.execute(t.link.update().values(fetched_at=w.clock.now() + timedelta(days=30)))
        del vendor.shelves["boxes"]["a"]
        await night(w)
        assert gone(w) == ["a"]


async def test_a_list_that_broke_off_proves_nothing_gone(tmp_path: Path) -> None:
    async with drawers(tmp_path) as (w, vendor):
        for one in ("a", "b", "c", "d", "e"):
            vendor.box(one)
        await w.pass_time(61)
        del vendor.shelves["boxes"]["a"]
        vendor.breaks.add(("boxes", "c"))
        await night(w)
        assert vendor.breaks == set()
        assert gone(w) == []
        await w.restart()
        await w.pass_time(5)
        assert gone(w) == ["a"], "the list that is whole in the end does, also over a restart"


async def test_a_mass_disappearance_is_held_until_a_person_has_looked(tmp_path: Path, database_url: str) -> None:
    async with drawers(tmp_path, database_url) as (w, vendor):
        names = [f"b{number:02}" for number in range(12)]
        for one in names:
            vendor.box(one)
        await w.pass_time(61)
        kept = dict(vendor.shelves["boxes"])
        vendor.shelves["boxes"].clear()
        before = vendor.asked.total()
        await night(w)
        assert gone(w) == []
        assert not [one for one in vendor.asked if one.startswith("fetch") and vendor.asked[one] > 1]
        (held,) = w.rows("SELECT id, reason, state FROM delivery WHERE state = 'parked'")
        assert held["reason"].startswith("mass disappearance: 12 of 12 records of drawer.box")
        assert vendor.asked.total() > before
        await night(w)
        assert len(w.rows("SELECT id FROM delivery WHERE state = 'parked'")) == 1, "each list replaces what the last one said"
        vendor.shelves["boxes"].update(kept)
        await night(w)
        assert w.rows("SELECT id FROM delivery WHERE state = 'parked'") == [], "they are listed again"
        assert gone(w) == []


async def test_what_was_just_looked_at_counts_among_those_of_which_some_disappeared(tmp_path: Path, database_url: str) -> None:
    async with drawers(tmp_path, database_url) as (w, vendor):
        for one in ("a", "b", "c", "d"):
            vendor.box(one)
        await w.pass_time(61)
        began = w.clock.now() + timedelta(seconds=61)
        vendor.box("d")
        await w.pass_time(61)  # as the pass itself looks at what it lists, sooner or later than its last page
        (connection,) = w.hub.directory.connections
        gone_now, known_alive = await w.hub.store.read(missing, connection, BOX, began, ("d",), w.clock.now())
        assert (gone_now, known_alive) == (["a", "b", "c"], 4)
        assert not is_mass(len(gone_now), known_alive)


async def test_a_person_who_has_looked_lets_each_of_them_be_looked_at(tmp_path: Path) -> None:
    async with drawers(tmp_path) as (w, vendor):
        for number in range(4):
            vendor.box(f"b{number}")
        await w.pass_time(61)
        vendor.shelves["boxes"].clear()
        await night(w)
        with w.hub.engine.begin() as conn:
            conn.execute(t.delivery.update().where(t.delivery.c.state == "parked").values(state="open", reason=None))
        await w.pass_time(1)
        assert gone(w) == ["b0", "b1", "b2", "b3"]


# --- the day's calls --------------------------------------------------------------------------------------------------


async def test_looking_for_more_stops_while_the_days_calls_are_used_up_and_goes_on_the_next_day(
    tmp_path: Path, database_url: str
) -> None:
    async with drawers(tmp_path, database_url, settings={"calls_per_day": "20"}) as (w, vendor):
        for number in range(40):
            vendor.card(f"c{number:02}")
        await w.pass_time(61)
        await w.pass_time(61, times=5)
        made = vendor.asked.total()
        assert 8 <= made <= 20, "a fifth is left for what is announced"
        assert "calls were made today" in place(w)["reason"]
        await w.restart()
        (used,) = w.rows("SELECT calls FROM usage")
        await w.pass_time(61)
        assert vendor.asked.total() <= 20, "a restart forgets nothing"
        assert used["calls"] >= made
        passed = 0
        while len(known(w)) < 40:
            await w.pass_time(DAY_S)
            await w.pass_time(1)  # what was called is noted every few seconds
            passed += 1
        days = w.rows("SELECT day, calls FROM usage ORDER BY day")
        assert 3 <= passed <= 12
        assert len(days) == passed + 1
        assert all(row["calls"] <= 20 for row in days)


async def test_calls_that_were_made_since_the_last_tick_count_after_a_restart(tmp_path: Path) -> None:
    async with drawers(tmp_path, settings={"calls_per_day": "20"}) as (w, vendor):
        await w.pass_time(61)
        vendor.card("a")
        (connection,) = w.hub.directory.connections.values()
        await w.hub.sweeper.sweep(connection, Drawer.about.kinds[0])
        await w.quiet()
        made = w.hub.client.calls[connection["id"]]
        await w.restart()
        assert [row["calls"] for row in w.rows("SELECT calls FROM usage")] == [made]


# --- connectors that do not keep to the contract ----------------------------------------------------------------------


async def test_a_list_that_never_ends_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(self: Drawer, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        while True:
            yield Page((Notice(kind=kind, record_id="a"),), "again", last=False)

    async with drawers(tmp_path) as (w, _vendor):
        monkeypatch.setattr(Drawer, "sweep", endless)
        await w.pass_time(61)
        assert "does not get on: it gave the same page twice" in place(w)["reason"]


async def test_a_list_without_its_last_page_is_not_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks_off(self: Drawer, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        yield Page((), "page 2", last=False)

    async with drawers(tmp_path) as (w, vendor):
        for one in ("a", "b"):
            vendor.box(one)
        await w.pass_time(61)
        vendor.shelves["boxes"].clear()
        monkeypatch.setattr(Drawer, "sweep", breaks_off)
        await night(w)
        assert gone(w) == []
        assert "without its last page" in place(w, "full", BOX)["reason"]


async def test_records_of_another_kind_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def astray(self: Drawer, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        yield Page((Notice(kind=CARD, record_id="a"),), "x", last=True)

    async with drawers(tmp_path) as (w, _vendor):
        monkeypatch.setattr(Drawer, "sweep", astray)
        await w.pass_time(61)
        assert "records of another kind than drawer.box" in place(w, kind=BOX)["reason"]


# --- several hubs -----------------------------------------------------------------------------------------------------


async def test_two_hubs_never_sweep_the_same_and_what_one_left_the_other_goes_on_with(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Drawer(), database_url=database_url) as w:
        place, now, hold = Place("con_1", CARD, "changes"), w.clock.now(), timedelta(minutes=2)

        async def take_it(holder: str, at: datetime) -> Any:
            return await w.hub.store.run(take, Take(place, holder, at, at + hold))

        async def come(holder: str, value: str, at: datetime, *, last: bool = False) -> bool:
            came = Came(place=place, holder=holder, value=value, now=at, until=at + hold, listed=("a",), found=1, last=last)
            return await w.hub.store.run(came_to, came)

        first = await take_it("hub_1", now)
        assert first["value"] is None
        assert await take_it("hub_2", now + timedelta(minutes=1)) is None
        assert await come("hub_1", "page 2", now + timedelta(minutes=1))
        assert await take_it("hub_2", now + timedelta(minutes=2)) is None, "it said again that it is at it"
        taken = await take_it("hub_2", now + timedelta(minutes=4))
        assert (taken["value"], taken["began_at"], taken["listed"]) == ("page 2", first["began_at"], 1)
        assert not await come("hub_1", "page 3", now + timedelta(minutes=5)), "the late one moves nothing"
        assert await come("hub_2", "page 3", now + timedelta(minutes=5), last=True)
        row = (await w.hub.store.read(read_passes))[place]
        assert (row["value"], row["began_at"], row["holder"], row["found"], row["listed"]) == ("page 3", None, None, 2, 0)
