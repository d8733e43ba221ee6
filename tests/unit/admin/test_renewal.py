"""Hooks that end, are switched off or disappear are found and made again, and never two are left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.admin.connections import subscribe
from lifecyclehub.connector import ByHand, Call, Endpoint
from tests.support.contract_world import ContractWorld, contract_world
from tests.support.drawer import LIFETIME, Drawer, DrawerVendor

pytestmark = pytest.mark.anyio

HOUR = 3600.0
DAY = 24 * HOUR


@asynccontextmanager
async def subscribed(tmp_path: Path, database_url: str | None = None) -> AsyncIterator[tuple[ContractWorld, DrawerVendor]]:
    async with contract_world(tmp_path, Drawer(), database_url=database_url) as w:
        vendor = DrawerVendor(w)
        row = await w.connect("drawer", name="one", secrets={"token": "one"})
        await subscribe(w.hub, row)
        yield w, vendor


async def later(w: ContractWorld, seconds: float, *, heard: bool = True) -> None:
    """Let time pass; by default the vendor's heartbeat came just before."""
    w.clock.at += seconds
    if heard:
        now = int(w.clock.now().timestamp() * 1_000_000)
        with w.hub.engine.begin() as conn:
            conn.exec_driver_sql(f"UPDATE endpoint SET last_heard = {now}")
    await w.hub.prober.tick()


def the_hook(w: ContractWorld) -> dict[str, Any]:
    (row,) = w.rows("SELECT * FROM subscription")
    return row


async def test_a_hook_that_disappeared_is_made_again_and_works(tmp_path: Path, database_url: str) -> None:
    async with subscribed(tmp_path, database_url) as (w, vendor):
        before = the_hook(w)
        vendor.hooks.clear()
        await later(w, HOUR + 1)
        after = the_hook(w)
        assert (list(vendor.hooks), after["vendor_id"], after["renewed"]) == (["h2"], "h2", 1)
        assert after["state"] == "active"
        assert "Made again on" in after["reason"]
        assert "the hook is gone" in after["reason"]
        assert after["endpoint"] == before["endpoint"], "the address stays"
        url = w.opened(after["endpoint"], "drawer", "hook", "secret-of-h2")
        assert await w.ring(url, []) == 200
        assert await w.ring(url, [], secret="secret-of-h1") == 200, "what was signed with the old one may be under way"
        w.clock.at += DAY + 1
        assert await w.ring(url, [], secret="secret-of-h1") == 401
        assert await w.ring(url, []) == 200


async def test_a_hook_that_another_hub_made_again_meanwhile_is_left_alone(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as (w, vendor):
        vendor.hooks.clear()
        w.clock.at += HOUR + 1
        read = w.hub.store.read

        async def slow(question: Any, *values: Any) -> Any:
            rows = await read(question, *values)
            w.hub.store.read = read  # type: ignore[method-assign]
            await w.hub.prober.tick()  # the other hub, between this one's look and its turn
            return rows

        w.hub.store.read = slow  # type: ignore[method-assign,assignment]
        await w.hub.prober.tick()
        assert list(vendor.hooks) == ["h2"]
        assert (the_hook(w)["vendor_id"], the_hook(w)["renewed"]) == ("h2", 1)


async def test_a_hook_that_was_switched_off_is_made_again_and_the_old_one_ended(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as (w, vendor):
        vendor.hooks["h1"]["active"] = False
        await later(w, HOUR + 1)
        assert list(vendor.hooks) == ["h2"], "two would ring twice"
        assert "switched off" in the_hook(w)["reason"]


async def test_an_old_hook_that_cannot_be_ended_now_is_ended_later(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as (w, vendor):
        vendor.hooks["h1"]["active"] = False
        end, failing = vendor.end_hook, [True]
        w.router.routes.clear()
        for method, path, answer in (
            ("POST", "/api/hooks", vendor.make_hook),
            ("GET", "/api/hooks/(?P<hook>[a-z0-9]+)", vendor.show_hook),
            ("DELETE", "/api/hooks/(?P<hook>[a-z0-9]+)", lambda request, hook: _or_503(end, failing, request, hook)),
        ):
            vendor.on(method, path, answer)
        await later(w, HOUR + 1)
        assert sorted(vendor.hooks) == ["h1", "h2"]
        assert sorted(row["state"] for row in w.rows("SELECT state FROM subscription")) == ["active", "ending"]
        await w.restart()
        failing.clear()
        await later(w, 1)
        assert list(vendor.hooks) == ["h2"]
        assert the_hook(w)["vendor_id"] == "h2"


def _or_503(end: Any, failing: list[bool], request: Any, hook: str) -> Any:
    import httpx

    return httpx.Response(503) if failing else end(request, hook)


async def test_a_hook_with_a_lifetime_is_made_again_before_it_ends(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as (w, vendor):
        ends = w.clock.now() + LIFETIME
        assert the_hook(w)["expires_at"] == int(ends.timestamp() * 1_000_000), "declared, where the vendor names no date"
        await later(w, 23 * DAY)
        assert list(vendor.hooks) == ["h1"]
        await later(w, DAY + 1)
        assert list(vendor.hooks) == ["h2"]
        assert f"it would have ended on {ends:%Y-%m-%d}" in the_hook(w)["reason"]
        assert the_hook(w)["expires_at"] > int((ends + timedelta(days=20)).timestamp() * 1_000_000)


async def test_a_hook_without_its_heartbeat_is_asked_after_sooner_said_to_be_silent_and_made_again(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as (w, vendor):
        await later(w, 11 * HOUR, heard=False)
        assert (the_hook(w)["state"], vendor.asked["probe h1"]) == ("active", 1)
        await later(w, 2 * HOUR, heard=False)
        assert the_hook(w)["state"] == "failing"
        assert "Nothing came through it for 13 hours" in the_hook(w)["reason"]
        await later(w, 601, heard=False)
        assert vendor.asked["probe h1"] == 3
        await later(w, 12 * HOUR, heard=False)
        assert list(vendor.hooks) == ["h2"]
        await later(w, HOUR + 1)
        assert the_hook(w)["state"] == "active"


async def test_a_renewal_that_fails_says_why_and_is_tried_again(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as (w, vendor):
        vendor.hooks.clear()
        vendor.hooks_fail = True
        await later(w, HOUR + 1)
        row = the_hook(w)
        assert (row["state"], row["failures"]) == ("failing", 1)
        assert "the hook is gone; it could not be made again" in row["reason"]
        assert "503" in row["reason"]
        made = vendor.asked["make hook"]
        await later(w, 0.1)
        assert vendor.asked["make hook"] == made, "not at once"
        vendor.hooks_fail = False
        await later(w, 10)
        assert (the_hook(w)["state"], the_hook(w)["failures"], len(vendor.hooks)) == ("active", 0, 1)


async def test_where_only_a_person_can_make_a_hook_that_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with subscribed(tmp_path) as (w, vendor):
        vendor.hooks.clear()

        async def by_hand(self: Drawer, call: Call, endpoint: Endpoint) -> ByHand:
            return ByHand(steps=("Enter {url}.",))

        monkeypatch.setattr(Drawer, "subscribe", by_hand)
        await later(w, HOUR + 1)
        row = the_hook(w)
        assert row["state"] == "by hand"
        assert "the hook is gone. Only a person can make it again: lifecyclehub connections subscribe 'one'" in row["reason"]


async def test_a_refused_question_pauses_the_connection(tmp_path: Path) -> None:
    async with subscribed(tmp_path) as (w, vendor):
        w.router.routes.clear()
        import httpx

        vendor.on("GET", "/api/hooks/(?P<hook>[a-z0-9]+)", lambda request, hook: httpx.Response(401))
        await later(w, HOUR + 1)
        assert [row["state"] for row in w.rows("SELECT state FROM connection")] == ["paused"]


async def test_each_resource_of_one_account_has_a_hook_an_address_and_a_secret_of_its_own(
    tmp_path: Path, database_url: str
) -> None:
    async with subscribed(tmp_path, database_url) as (w, vendor):
        row = next(iter(w.hub.directory.connections.values()))
        first = the_hook(w)
        made = await subscribe(w.hub, row, resource="shelf-7")
        again = await subscribe(w.hub, row, resource="shelf-7")
        assert made.endpoint == again.endpoint != first["endpoint"]
        assert sorted((one["resource"] or "", one["url"]) for one in vendor.hooks.values()) == sorted(
            [("", f"https://hub.example/hooks/{first['endpoint']}"), ("shelf-7", made.url)]
        )
        mine = w.opened(first["endpoint"], "drawer", "hook", "secret-of-h1")
        theirs = w.opened(made.endpoint, "drawer", "hook", "secret-of-h3")
        vendor.card("a")
        vendor.card("b")
        assert await w.ring(mine, [{"id": "a"}]) == 200
        assert await w.ring(theirs, [{"id": "b"}]) == 200
        assert await w.ring(mine, [{"id": "b"}], secret="secret-of-h3") == 401, "each its own secret"
        await w.quiet()
        assert len(w.rows("SELECT record_id FROM link")) == 2
        vendor.hooks.pop("h3")
        await later(w, HOUR + 1)
        assert sorted(one["resource"] or "" for one in vendor.hooks.values()) == ["", "shelf-7"], "it is made again for its own"
