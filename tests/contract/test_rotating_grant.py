"""A rotating grant: one set of credentials reaches two accounts, and each refresh token serves exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import httpx
import pytest

from lifecyclehub.admin.connections import new_credentials
from lifecyclehub.connector import CONTRACT_VERSION, About, Account, Auth, Call, Door, Host, Kind, Signature
from lifecyclehub.errors import Forbidden, RecordGone
from lifecyclehub.messages import Delivery, Document, Notice, Ref, Request
from lifecyclehub.store.things import Row
from tests.support.contract_world import ContractWorld, ThrowAway, Vendor, contract_world, said
from tests.support.workbench import WON_DEAL_STARTS_PROJECT, Workbench, WorkbenchVendor

pytestmark = pytest.mark.anyio

LIFETIME_S = 1800
ACCOUNTS = ("north", "south")


class Ferry(ThrowAway):
    about = About(
        id="ferry",
        name="Ferry",
        contract=CONTRACT_VERSION,
        roles=("crm",),
        kinds=(Kind(id="ferry.order", fills="deal"),),
        doors=(Door(name="app", signature=Signature(header="Ferry-Token", algorithm="token"), scope="app", setup="by_hand"),),
        auths=(
            Auth(
                name="oauth",
                kind="refresh",
                label="OAuth",
                secrets=("client_id", "client_secret", "refresh_token"),
                token_path="/token",
                rotates=True,
                lifetime_s=LIFETIME_S,
            ),
        ),
        hosts=(Host(name="api", base="https://api.ferry.example"), Host(name="auth", base="https://id.ferry.example")),
        actions=(),
        account_header="Ferry-Account",
    )
    mappings: ClassVar = {
        "order.toml": """
            format = 1
            record = "ferry.order"
            [fields]
            "deal.title"  = { from = "name", required = true }
            "deal.status" = { from = "state", lookup = "status", required = true }
            "deal.won_at" = { from = "since", convert = "instant" }
            [lookup.status]
            confirmed = "won"
        """
    }

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        return [Notice(kind="ferry.order", record_id=one["order"], account=one["account"]) for one in delivery.json]

    async def accounts(self, call: Call) -> Sequence[Account]:
        reply = await call.send(Request(method="GET", path="/accounts"))
        return [Account(id=one, name=one.title()) for one in reply.json()["accounts"]]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path=f"/orders/{ref.id}"))
        if reply.status == 403:
            raise Forbidden(ref.id)
        if reply.status == 404:
            raise RecordGone(ref.id)
        return Document(kind=ref.kind, id=ref.id, data=reply.json())


class FerryVendor(Vendor):
    """A refresh token that comes a second time is taken for theft: everything it ever gave is worth nothing then."""

    host = "api.ferry.example"

    def __init__(self, world: ContractWorld) -> None:
        super().__init__(world.router)
        self.clock = world.clock
        self.orders: dict[tuple[str, str], dict[str, Any]] = {}
        self.refresh, self.used, self.access = "r0", set[str](), ""
        self.valid_until = 0.0
        self.refreshes = self.thefts = self.turned_away = 0
        self.meeting: asyncio.Barrier | None = None
        self.on("GET", "/orders/(?P<order>[a-z0-9]+)", self.show)
        self.on("GET", "/accounts", self.index)
        world.router.route(method="POST", host="id.ferry.example", path="/token").mock(side_effect=self.token)

    async def token(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        if form["refresh_token"] != self.refresh:
            self.thefts += form["refresh_token"] in self.used
            self.access = ""
            return said({"error": "invalid_grant"}, 400)
        self.refreshes += 1
        self.used.add(self.refresh)
        self.refresh, self.access = f"{form['refresh_token']}+", f"access-{self.refreshes}"
        self.valid_until = self.clock.at + LIFETIME_S
        answer = {"access_token": self.access, "refresh_token": self.refresh, "expires_in": LIFETIME_S}
        return await self.acted({"did": "refresh"}, 200, answer)

    def consent(self) -> dict[str, str]:
        """A person lets us in anew."""
        self.refresh = f"consent-{len(self.acts)}"
        return {"client_id": "hub", "client_secret": "hub-secret", "refresh_token": self.refresh}

    def let_in(self, request: httpx.Request) -> bool:
        return request.headers["authorization"] == f"Bearer {self.access}" and self.clock.at < self.valid_until

    def index(self, request: httpx.Request) -> httpx.Response:
        return said({"accounts": list(ACCOUNTS)}) if self.let_in(request) else said({}, 401)

    async def show(self, request: httpx.Request, order: str) -> httpx.Response:
        welcome = self.let_in(request)
        if self.meeting is not None and not welcome:
            await self.meeting.wait()
            self.meeting = None
        if not welcome:
            self.turned_away += 1
            return said({}, 401)
        found = self.orders.get((request.headers["ferry-account"], order))
        return said(found) if found else said({}, 404)


async def set_up(world: ContractWorld) -> tuple[FerryVendor, WorkbenchVendor, str, Row]:
    vendor, bench = FerryVendor(world), WorkbenchVendor(world.router)
    secrets = {"client_id": "hub", "client_secret": "hub-secret", "refresh_token": "r0"}
    north = await world.connect("ferry", name="north", account_id="north", secrets=secrets)
    await world.connect("ferry", name="south", account_id="south", grant_id=north["grant"])
    await world.connect("workbench")
    await world.switch_on("won-deal-starts-project")
    url = await world.open(north, secret="app-token")
    world.clock.at += 60
    for account in ACCOUNTS:
        for order in ("o1", "o2"):
            since = world.clock.now().isoformat()
            vendor.orders[account, order] = {"name": f"{order} of {account}", "state": "confirmed", "since": since}
    return vendor, bench, url, north


def batch(order: str) -> list[dict[str, str]]:
    return [{"account": account, "order": order} for account in ACCOUNTS]


async def test_two_accounts_that_are_turned_away_at_once_cost_one_refresh(tmp_path: Path, database_url: str) -> None:
    async with contract_world(
        tmp_path, Ferry(), Workbench(), handoffs=WON_DEAL_STARTS_PROJECT, database_url=database_url
    ) as world:
        vendor, bench, url, _ = await set_up(world)
        assert vendor.refreshes == 1
        vendor.access = "revoked by an admin of the tool"
        vendor.meeting = asyncio.Barrier(2)  # both requests are there before either is answered
        await world.ring(url, batch("o1"))
        await world.quiet()
        assert vendor.turned_away == 2
        assert vendor.refreshes == 2
        assert sorted(bench.names) == ["o1 of north", "o1 of south"]


async def test_after_a_restart_the_newest_refresh_token_is_the_one_that_is_used(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Ferry(), Workbench(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        vendor, bench, url, _ = await set_up(world)
        for order in ("o1", "o2"):
            world.clock.at += LIFETIME_S * 2
            await world.restart()
            await world.ring(url, batch(order))
            await world.quiet()
        assert vendor.turned_away == 0  # it was renewed before it ended
        assert vendor.refreshes == 3
        assert vendor.thefts == 0
        assert sorted(bench.names) == ["o1 of north", "o1 of south", "o2 of north", "o2 of south"]


async def test_a_lost_refresh_pauses_both_accounts_until_a_person_lets_us_in_and_nothing_is_doubled(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Ferry(), Workbench(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        vendor, bench, url, north = await set_up(world)
        await world.ring(url, batch("o1"))
        await world.quiet()
        world.clock.at += LIFETIME_S * 2
        vendor.losing = 1
        await world.ring(url, [*batch("o1"), *batch("o2")])
        await world.quiet()
        await world.pass_time(10, times=3)
        states = {row["name"]: row["state"] for row in world.rows("SELECT name, state FROM connection")}
        assert states == {"north": "paused", "south": "paused", "workbench": "active"}
        assert {state for _, state, _ in world.notices()[2:]} == {"held"}
        reason = world.rows("SELECT reason FROM connection WHERE name = 'north'")[0]["reason"]
        assert "was lost, and the vendor takes each refresh token only once" in reason
        assert await new_credentials(world.hub, north, vendor.consent()) == 4
        await world.hub.look_for_changes()
        await world.quiet()
        assert sorted(bench.names) == ["o1 of north", "o1 of south", "o2 of north", "o2 of south"]
        assert {state for _, state, _ in world.notices()} == {"processed"}


async def test_a_hub_killed_during_a_refresh_says_so_and_goes_on_with_new_credentials(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Ferry(), Workbench(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        vendor, bench, url, north = await set_up(world)
        world.clock.at += LIFETIME_S * 2
        vendor.has_acted.clear()
        vendor.hanging = True
        await world.ring(url, batch("o1"))
        await vendor.has_acted.wait()
        await world.kill()
        vendor.hanging = False
        await world.rise()
        await world.quiet()
        assert [state for _, state, _ in world.notices()] == ["held", "held"]
        await new_credentials(world.hub, north, vendor.consent())
        await world.hub.look_for_changes()
        await world.quiet()
        assert sorted(bench.names) == ["o1 of north", "o1 of south"]
