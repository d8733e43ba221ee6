"""An import takes in history: it goes on after a kill, overwrites nothing newer, and never acts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.contract_world import ContractWorld, contract_world
from tests.support.drawer import Drawer, DrawerVendor
from tests.support.sweeping import drawers, known, place, until
from tests.support.workbench import WON_DEAL_STARTS_PROJECT

pytestmark = pytest.mark.anyio


async def begin_import(w: ContractWorld) -> None:
    from lifecyclehub.admin.imports import begin_import as begin

    await begin(w.hub, next(iter(w.hub.directory.connections.values())))


async def test_an_import_takes_in_history_and_never_acts_on_it(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Drawer(), handoffs=WON_DEAL_STARTS_PROJECT, database_url=database_url) as w:
        vendor = DrawerVendor(w)
        long_ago = w.clock.now() - timedelta(days=90)
        for number in range(5):
            vendor.card(f"c{number}", "won", changed=long_ago)
        await w.connect("drawer", name="one", secrets={"token": "one"}, polls=True)
        await w.switch_on("won-deal-starts-project")
        await w.pass_time(61)
        assert known(w) == []
        await begin_import(w)
        await w.pass_time(1)
        assert known(w) == [f"c{number}" for number in range(5)]
        assert [row["status"] for row in w.rows("SELECT status FROM deal")] == ["won"] * 5
        assert w.effects() == []
        assert vendor.acts == []
        row = place(w, "import")
        assert (row["began_at"], row["found"]) == (None, 5)
        assert {row["way"] for row in w.rows("SELECT way FROM notice")} == {"import"}
        vendor.card("new", "won")
        await w.pass_time(61)
        assert len(vendor.acts) == 1, "what is won now acts"


async def test_an_import_goes_on_after_a_kill_and_looks_at_nothing_twice(tmp_path: Path, database_url: str) -> None:
    async with drawers(tmp_path, database_url) as (w, vendor):
        for number in range(9):
            vendor.card(f"c{number}", changed=w.clock.now() - timedelta(days=90))
        await begin_import(w)
        vendor.stuck.add(("cards", "c3"))
        await w.hub.sweeper.tick()
        await until(lambda: known(w) == ["c0", "c1", "c2", "c3"])
        await w.kill()
        vendor.stuck.clear()
        await w.rise()
        assert place(w, "import")["listed"] == 4
        await w.pass_time(200)
        assert len(known(w)) == 9
        assert {vendor.asked[f"fetch c{number}"] for number in range(9)} == {1}


async def test_an_import_overwrites_nothing_newer(tmp_path: Path) -> None:
    async with drawers(tmp_path) as (w, vendor):
        vendor.card("a", "won")
        await w.pass_time(61)
        vendor.card("a", "new", changed=w.clock.now() - timedelta(days=3))  # a list that is behind
        await begin_import(w)
        await w.pass_time(1)
        assert w.rows("SELECT status FROM deal") == [{"status": "won"}]
