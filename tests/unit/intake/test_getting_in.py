"""What may not hold others up: a connector that hangs, a vendor that does not answer, and what was said of old credentials."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lifecyclehub.admin.connections import new_credentials
from lifecyclehub.intake import lanes as lanes_module
from lifecyclehub.intake.notices import open_deliveries
from tests.support.contract_world import ContractWorld, contract_world
from tests.support.drawer import Drawer, DrawerVendor

pytestmark = pytest.mark.anyio


async def connected(w: ContractWorld, *accounts: str) -> dict[str, str]:
    """Connect accounts; give each one's address in."""
    urls = {}
    for account in accounts:
        row = await w.connect("drawer", name=account, secrets={"token": account})
        urls[account] = await w.open(row, secret=f"secret-of-{account}")
    return urls


async def until(what: Any) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110 (the hub tells nobody)
            await asyncio.sleep(0.001)


def known(w: ContractWorld) -> list[str]:
    return [row["record_id"] for row in w.rows("SELECT record_id FROM link ORDER BY record_id")]


async def test_a_vendor_that_does_not_answer_takes_only_its_own_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "AT_ONCE", 3)
    monkeypatch.setattr(lanes_module, "SHARE", 5)
    async with contract_world(tmp_path, Drawer()) as w:
        vendor = DrawerVendor(w)
        urls = await connected(w, "slow", "quick")
        gate = asyncio.Event()
        show = vendor.show

        async def slowly(request: Any, shelf: str, one: str) -> Any:
            if request.headers["x-account"] == "slow":
                await gate.wait()
            return show(request, shelf, one)

        w.router.routes.clear()
        vendor.on("GET", "/api/(?P<shelf>cards|boxes)/(?P<one>[a-z0-9]+)", slowly)
        for number in range(20):
            vendor.card(f"s{number:02}")
            assert await w.ring(urls["slow"], [{"id": f"s{number:02}"}]) == 200
        vendor.card("q")
        assert await w.ring(urls["quick"], [{"id": "q"}]) == 200
        await until(lambda: known(w) == ["q"])
        assert w.hub.intake.waiting(_id(w, "slow")) == 5
        gate.set()
        await w.quiet()
        while w.rows("SELECT id FROM notice WHERE state = 'open'"):  # what had no room is in the store
            await w.pass_time(1)
        assert len(known(w)) == 21


def _id(w: ContractWorld, name: str) -> str:
    return next(one["id"] for one in w.hub.directory.connections.values() if one["name"] == name)


async def test_deliveries_of_a_hanging_connector_keep_no_others_from_being_taken_up(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Drawer()) as w:
        DrawerVendor(w)
        urls = await connected(w, "one")
        w.hub.intake.flow.stopping = True  # nothing is taken up: it stays in the store
        for number in range(5):
            await w.ring(urls["one"], [{"id": f"c{number}"}])
        with w.hub.engine.connect() as conn:
            found = open_deliveries(conn, ["drawer", "other"], w.hub.tools.holder, 3)
            assert len(found) == 3
            assert open_deliveries(conn, ["other"], w.hub.tools.holder, 3) == []
        w.hub.intake.flow.stopping = False


async def test_a_connectors_own_converter_runs_beside_the_event_loop_and_may_hang_alone(tmp_path: Path) -> None:
    ran_on: list[str] = []
    stuck = threading.Event()

    def shout(value: Any) -> Any:
        ran_on.append(threading.current_thread().name)
        if value == "Card bad":
            stuck.wait(20)
        return str(value).upper()

    class Shouting(Drawer):
        about = replace(Drawer.about, converters=(("shout", shout),), roles=("crm",), actions=())
        mappings: ClassVar = {
            "card.toml": Drawer.mappings["card.toml"].replace(
                '{ from = "name", required', '{ from = "name", convert = "shout", required'
            )
        }

    async with contract_world(tmp_path, Shouting()) as w:
        vendor = DrawerVendor(w)
        w.hub.runner._hang_after_s = 0.3
        row = await w.connect("drawer", name="one", secrets={"token": "one"})
        url = await w.open(row, secret="known")
        vendor.card("good")
        await w.ring(url, [{"id": "good"}])
        await w.quiet()
        assert [one["title"] for one in w.rows("SELECT title FROM deal")] == ["CARD GOOD"]
        assert set(ran_on) == {"connector drawer"}
        vendor.card("bad")
        await w.ring(url, [{"id": "bad"}])
        await w.quiet()
        assert w.hub.runner.hanging == {"drawer"}
        (notice,) = w.rows("SELECT state, reason FROM notice WHERE record_id = 'bad'")
        assert notice == {"state": "open", "reason": "connector hangs"}
        stuck.set()


async def test_a_late_401_of_old_credentials_does_not_pause_what_new_ones_opened(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Drawer(), database_url=database_url) as w:
        vendor = DrawerVendor(w)
        urls = await connected(w, "one")
        asked, gate = asyncio.Event(), asyncio.Event()
        show = vendor.show

        async def late(request: Any, shelf: str, one: str) -> Any:
            if vendor._who(request) == "one" and not gate.is_set():
                asked.set()
                await gate.wait()
                return show(request, shelf, one)
            return show(request, shelf, one)

        w.router.routes.clear()
        vendor.on("GET", "/api/me", lambda request: vendor_me("one"))
        vendor.on("GET", "/api/(?P<shelf>cards|boxes)/(?P<one>[a-z0-9]+)", late)
        vendor.card("a")
        await w.ring(urls["one"], [{"id": "a"}])
        await asked.wait()
        vendor.refusing = {"one"}  # the token was revoked, and its answer is on its way
        w.clock.at += 1
        await new_credentials(w.hub, next(iter(w.hub.directory.connections.values())), {"token": "two"})
        await w.hub.reconfigure()
        gate.set()
        await w.quiet()
        assert [row["state"] for row in w.rows("SELECT state FROM connection")] == ["active"]
        await w.pass_time(2)
        assert known(w) == ["a"], "it is looked at again with the new ones"
        vendor.refusing = {"two"}
        w.clock.at += 1
        vendor.card("b")
        await w.ring(urls["one"], [{"id": "b"}])
        await w.quiet()
        assert [row["state"] for row in w.rows("SELECT state FROM connection")] == ["paused"], "those can be refused too"


def vendor_me(account: str) -> Any:
    import httpx

    return httpx.Response(200, json={"id": account})
