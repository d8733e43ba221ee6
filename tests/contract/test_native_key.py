"""A native key: the vendor folds requests with the same key for a while; after that only a marker can tell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Auth,
    Call,
    Door,
    Host,
    Kind,
    NativeKey,
    Signature,
    Timestamp,
)
from lifecyclehub.connector.roles import CreateCustomer
from lifecyclehub.errors import RecordGone
from lifecyclehub.jsonio import loads
from lifecyclehub.messages import (
    Delivery,
    Document,
    Json,
    Key,
    Notice,
    Outcome,
    Ref,
    Refused,
    Reply,
    Request,
)
from tests.support.contract_world import ContractWorld, Making, ThrowAway, Vendor, contract_world, said

pytestmark = pytest.mark.anyio

WINDOW_S = 600
HANDOFF = """
format = 1
[[handoff]]
id = "won-deal-opens-account"
per = "deal"
when = "deal.status == 'won'"
at = "deal.won_at"
  [[handoff.effects]]
  name = "customer"
  do = "invoicing.create_customer"
    [handoff.effects.with]
    name = { from = "deal.title", required = true }
"""


class OpenAccount(Making[CreateCustomer]):
    name = "create_customer"
    input = CreateCustomer
    once = NativeKey("Abacus-Key", window_s=WINDOW_S, caches_errors=True)
    creates = "abacus.account"

    def render(self, v: CreateCustomer, body: Json, key: Key) -> Request:
        headers = (("Abacus-Key", key.idempotency),)
        return Request(method="PUT", path="/accounts", headers=headers, json={**body, "memo": key.marker})

    def judge(self, reply: Reply, request: Request) -> Outcome:
        if reply.status == 409:
            return Refused("the key was used for something else")
        return super().judge(reply, request)

    def look(self, v: CreateCustomer, key: Key) -> Request:
        return Request(method="GET", path="/accounts", query=(("memo", key.marker),))

    def is_ours(self, row: Any, key: Key) -> bool:
        return True  # only what bears our memo is listed


class Abacus(ThrowAway):
    about = About(
        id="abacus",
        name="Abacus",
        contract=CONTRACT_VERSION,
        roles=("crm", "invoicing"),
        kinds=(
            Kind(id="abacus.offer", fills="deal", order="time"),
            Kind(id="abacus.account"),
            Kind(id="abacus.bill", fills="invoice"),
        ),
        doors=(
            Door(
                name="hook",
                signature=Signature(
                    header="Abacus-Signature",
                    parts=("timestamp", b".", "body"),
                    timestamp=Timestamp(header="Abacus-Time", unit="s"),
                ),
                scope="connection",
                setup="by_hand",
                delivery_key="Abacus-Delivery",
            ),
        ),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://api.abacus.example/v2"),),
        actions=(OpenAccount(),),
        server_timeout_s=20,
    )
    mappings: ClassVar = {
        "offer.toml": """
            format = 1
            record = "abacus.offer"
            [fields]
            "deal.title"  = { from = "customer", required = true }
            "deal.status" = { from = "state", lookup = "status", required = true }
            "deal.won_at" = { from = "accepted_at", convert = "instant" }
            [lookup.status]
            sent = "open"
            accepted = "won"
        """,
        "create_customer.toml": """
            format = 1
            action = "create_customer"
            [body]
            "name" = { from = "name", required = true }
        """,
    }

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        yield Notice(kind="abacus.offer", record_id=delivery.json["offer"], key=delivery.json["event"])

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path=f"/offers/{ref.id}"))
        if reply.status == 404:
            raise RecordGone(ref.id)
        return Document(kind=ref.kind, id=ref.id, data=reply.json())


class AbacusVendor(Vendor):
    """Keeps what it answered under a key for ten minutes, errors too; the same key with another body is a conflict."""

    host = "api.abacus.example"

    def __init__(self, world: ContractWorld) -> None:
        super().__init__(world.router)
        self.clock = world.clock
        self.offers: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, tuple[float, bytes, httpx.Response]] = {}
        self.requests = self.failing = self.locked = 0
        self.on("GET", "/v2/offers/(?P<offer>[a-z0-9]+)", self.show)
        self.on("GET", "/v2/accounts", self.search)
        self.on("PUT", "/v2/accounts", self.create)

    def show(self, request: httpx.Request, offer: str) -> httpx.Response:
        return said(self.offers[offer]) if offer in self.offers else said({}, 404)

    def search(self, request: httpx.Request) -> httpx.Response:
        return said({"rows": [one for one in self.acts if one["memo"] == request.url.params["memo"]]})

    async def create(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        key = request.headers["abacus-key"]
        at, body, answer = self.keys.get(key, (-WINDOW_S, b"", said({})))
        if self.clock.at - at < WINDOW_S:
            return answer if body == request.content else said({"error": "key was used"}, 409)
        if self.locked:
            self.locked -= 1
            self.keys[key] = (self.clock.at, request.content, said({"error": "lock_timeout"}, 429))
            return said({"error": "lock_timeout"}, 429)
        if self.failing:
            self.failing -= 1
            self.keys[key] = (self.clock.at, request.content, said({"error": "stumbled"}, 500))
            return said({"error": "stumbled"}, 500)
        made = {"id": f"a{len(self.acts) + 1}", **loads(request.content)}
        self.keys[key] = (self.clock.at, request.content, said(made, 201))
        return await self.acted(made, 201, made)


async def set_up(world: ContractWorld) -> tuple[AbacusVendor, str]:
    vendor = AbacusVendor(world)
    url = await world.open(await world.connect("abacus"), secret="signing-secret")
    await world.switch_on("won-deal-opens-account")
    world.clock.at += 10
    vendor.offers["o1"] = {"customer": "Quarry Lane Press", "state": "accepted", "accepted_at": world.clock.now().isoformat()}
    return vendor, url


async def test_after_a_lost_answer_the_same_request_goes_again_with_the_same_key(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Abacus(), handoffs=HANDOFF, database_url=database_url) as world:
        vendor, url = await set_up(world)
        vendor.losing = 1
        await world.ring(url, {"event": "e1", "offer": "o1"})
        await world.quiet()
        assert world.effects() == [("customer", "in doubt")]
        await world.pass_time(5, times=4)
        assert world.effects() == [("customer", "done")]
        assert vendor.requests == 2
        assert len(vendor.acts) == 1


async def test_a_hub_killed_while_it_waits_for_the_answer_sends_again_with_the_same_key(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Abacus(), handoffs=HANDOFF) as world:
        vendor, url = await set_up(world)
        await hang_at_the_vendor(world, vendor, url)
        await world.kill()
        vendor.hanging = False
        await world.rise()
        await world.pass_time(5, times=4)
        assert world.effects() == [("customer", "done")]
        assert vendor.requests == 2
        assert len(vendor.acts) == 1


async def test_after_the_window_the_marker_tells_and_nothing_is_sent_again(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Abacus(), handoffs=HANDOFF) as world:
        vendor, url = await set_up(world)
        await hang_at_the_vendor(world, vendor, url)
        await world.kill()
        vendor.hanging = False
        world.clock.at += WINDOW_S * 2
        await world.rise()
        await world.pass_time(5, times=4)
        assert world.effects() == [("customer", "done")]
        assert vendor.requests == 1
        assert len(vendor.acts) == 1


async def test_a_stored_error_is_not_asked_for_again_but_looked_past(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Abacus(), handoffs=HANDOFF) as world:
        vendor, url = await set_up(world)
        vendor.failing = 1
        await world.ring(url, {"event": "e1", "offer": "o1"})
        await world.quiet()
        await world.pass_time(10, times=3)
        assert vendor.requests == 1  # the same key would only bring the stored error back
        await world.pass_time(20, times=4)
        assert vendor.clock.at < WINDOW_S
        assert world.effects() == [("customer", "done")]
        assert len(vendor.acts) == 1
        assert len(vendor.keys) == 2  # nothing was done under the first one, which is certain before a new one is used


async def test_a_refusal_that_the_vendor_stores_though_it_was_only_busy_is_not_asked_for_again(
    tmp_path: Path, database_url: str
) -> None:
    async with contract_world(tmp_path, Abacus(), handoffs=HANDOFF, database_url=database_url) as world:
        vendor, url = await set_up(world)
        vendor.locked = 2
        await world.ring(url, {"event": "e1", "offer": "o1"})
        await world.quiet()
        await world.pass_time(10, times=3)
        assert world.effects() == [("customer", "done")]
        assert len(vendor.acts) == 1
        assert len(vendor.keys) == vendor.requests == 3  # under the first key it would have been busy for ever


async def test_an_event_sent_twice_is_worked_on_once_whatever_its_delivery(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Abacus(), handoffs=HANDOFF) as world:
        vendor, url = await set_up(world)
        await world.ring(url, {"event": "e1", "offer": "o1"})
        await world.quiet()
        await world.restart()
        await world.ring(url, {"event": "e1", "offer": "o1", "attempt": 2})
        await world.quiet()
        assert world.notices() == [("o1", "processed", None), ("o1", "ignored", "same as another")]
        assert len(vendor.acts) == 1


async def hang_at_the_vendor(world: ContractWorld, vendor: AbacusVendor, url: str) -> None:
    """Let news in, and wait until the vendor has acted; its answer never comes."""
    vendor.hanging = True
    await world.ring(url, {"event": "e1", "offer": "o1"})
    await vendor.has_acted.wait()
