"""What a sweep found and no webhook announced is counted, and said plainly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lifecyclehub.admin.findings import SettleFindings, Settling
from tests.support.drawer import CARD, Drawer
from tests.support.sweeping import drawers, gone, known, night, place

pytestmark = pytest.mark.anyio


async def test_what_no_webhook_announced_is_counted_as_missed(tmp_path: Path, database_url: str) -> None:
    async with drawers(tmp_path, database_url, polls=False) as (w, vendor):
        url = await w.open(next(iter(w.hub.directory.connections.values())), secret="known")
        for one in ("announced", "late", "never"):
            vendor.card(one)
        assert await w.ring(url, [{"id": "announced"}]) == 200
        await w.pass_time(901)
        assert known(w) == ["announced", "late", "never"]
        assert place(w)["missed"] == 0, "a late webhook has its time"
        assert await w.ring(url, [{"id": "late"}]) == 200
        await w.quiet()
        await w.pass_time(301)
        assert place(w)["missed"] == 1
        (found,) = w.rows("SELECT * FROM finding WHERE kind = 'missed'")
        assert found["subject_kind"] == CARD
        assert "1 of drawer.card" in found["detail"]
        assert "never" in found["detail"]
        settled = await w.hub.store.run(SettleFindings(w.clock), Settling(finding=found["id"], who="ada", why="we saw it"))
        assert (settled.settled_by, settled.settled_why) == ("ada", "we saw it")
        vendor.card("never", "won")
        await w.pass_time(901)
        await w.pass_time(301)
        assert place(w)["missed"] == 2
        assert w.rows("SELECT settled_at FROM finding WHERE kind = 'missed'") == [{"settled_at": None}], "more is news"
        assert "2 of drawer.card" in w.rows("SELECT detail FROM finding WHERE kind = 'missed'")[0]["detail"]
        assert "Nothing came through its webhook since" in w.rows("SELECT detail FROM finding WHERE kind = 'missed'")[0]["detail"]


async def test_where_a_person_set_the_webhook_up_its_silence_is_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = replace(Drawer.about.doors[0], setup="by_hand", scope="connection")
    monkeypatch.setattr(Drawer, "about", replace(Drawer.about, doors=(by_hand,)))
    async with drawers(tmp_path, polls=False) as (w, vendor):
        url = await w.open(next(iter(w.hub.directory.connections.values())), secret="known")
        assert await w.ring(url, []) == 200
        w.clock.at += 120
        vendor.card("a")  # from now on the tool sends nothing
        await w.pass_time(901)
        await w.pass_time(301)
        (found,) = w.rows("SELECT detail FROM finding WHERE kind = 'missed'")
        assert "The tool may have stopped it; only a person can start it there again." in found["detail"]


async def test_a_connection_that_only_polls_misses_nothing(tmp_path: Path) -> None:
    async with drawers(tmp_path, listens=False) as (w, vendor):
        vendor.card("a")
        await w.pass_time(61)
        await w.pass_time(400)
        assert (place(w)["found"], place(w)["missed"]) == (1, 0)
        assert w.rows("SELECT id FROM finding") == []


async def test_a_delete_that_no_webhook_announced_is_counted_too(tmp_path: Path) -> None:
    async with drawers(tmp_path, polls=False) as (w, vendor):
        url = await w.open(next(iter(w.hub.directory.connections.values())), secret="known")
        vendor.card("a")
        await w.ring(url, [{"id": "a"}])
        await w.quiet()
        del vendor.shelves["cards"]["a"]
        await night(w)
        await w.pass_time(301)
        assert gone(w) == ["a"]
        assert place(w)["missed"] == 1
