"""A handshake per resource: the vendor offers a secret while our subscribe call is open, a different one for each board."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from lifecyclehub.admin.connections import set_signing_secret, subscribe
from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Auth,
    Call,
    Door,
    Endpoint,
    Handshake,
    Host,
    Kind,
    Marker,
    Setting,
    Signature,
    Subscription,
)
from lifecyclehub.connector.roles import AddNote
from lifecyclehub.errors import ConfigurationError, RecordGone, Unsupported
from lifecyclehub.jsonio import loads
from lifecyclehub.messages import (
    Delivery,
    Document,
    Json,
    Key,
    Notice,
    Ref,
    Request,
)
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from tests.support.contract_world import PUBLIC, ContractWorld, Making, ThrowAway, Vendor, contract_world, said
from tests.support.workbench import WON_DEAL_IS_NOTED

pytestmark = pytest.mark.anyio


class PinNote(Making[AddNote]):
    name = "add_note"
    input = AddNote
    once = Marker("text", lag_s=5)
    target = "corkboard.card"
    target_field = "deal"
    listed = "notes"

    def render(self, v: AddNote, body: Json, key: Key) -> Request:
        return Request(method="POST", path=f"/cards/{v.deal}/notes", json={"text": f"{body['text']} ({key.marker})"})

    def look(self, v: AddNote, key: Key) -> Request:
        return Request(method="GET", path=f"/cards/{v.deal}/notes")

    def is_ours(self, row: Any, key: Key) -> bool:
        return key.marker in row["text"]


class Corkboard(ThrowAway):
    about = About(
        id="corkboard",
        name="Corkboard",
        contract=CONTRACT_VERSION,
        roles=("crm",),
        kinds=(Kind(id="corkboard.card", fills="deal", order="version"),),
        doors=(
            Door(
                name="board",
                signature=Signature(header="Cork-Signature", prefix="sha256="),
                scope="resource",
                setup="api",
                handshake=Handshake(header="Cork-Secret"),
            ),
        ),
        auths=(Auth(name="key", kind="header", label="Key", secrets=("token",), header="Cork-Key"),),
        hosts=(Host(name="api", base="https://api.corkboard.example"),),
        actions=(PinNote(),),
        settings=(Setting(name="board", label="Board", required=True),),
        server_timeout_s=10,
    )
    mappings: ClassVar = {
        "card.toml": """
            format = 1
            record = "corkboard.card"
            [fields]
            "deal.title"  = { from = "title", required = true }
            "deal.status" = { from = "list", lookup = "status", required = true }
            "deal.won_at" = { from = "moved_at", convert = "instant" }
            [lookup.status]
            doing = "open"
            won = "won"
        """,
        "add_note.toml": """
            format = 1
            action = "add_note"
            [body]
            "text" = { from = "text", required = true }
        """,
    }

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        return [
            Notice(kind="corkboard.card", record_id=one["card"], version=str(one["version"])) for one in delivery.json["cards"]
        ]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path=f"/cards/{ref.id}"))
        if reply.status == 404:
            raise RecordGone(ref.id)
        card = reply.json()
        return Document(kind=ref.kind, id=ref.id, version=str(card["version"]), data=card)

    async def subscribe(self, call: Call, endpoint: Endpoint) -> Subscription:
        board = call.settings["board"]
        reply = await call.send(Request(method="POST", path="/hooks", json={"board": board, "url": endpoint.url}))
        if reply.status != 201:
            raise Unsupported(f"status {reply.status}")
        hook = reply.json()
        return Subscription(id=hook["id"], resource=board, secret=hook["secret"])


class CorkboardVendor(Vendor):
    """Makes a hook only when its address echoes the offered secret; keeps cards, and notes in the order they were pinned."""

    host = "api.corkboard.example"

    def __init__(self, world: ContractWorld) -> None:
        super().__init__(world.router)
        self.world = world
        self.cards: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, str] = {}
        self.reaches_us = True
        self.intruder: str | None = None
        self.on("POST", "/hooks", self.hook)
        self.on("GET", "/cards/(?P<card>[a-z0-9]+)", self.show)
        self.on("GET", "/cards/(?P<card>[a-z0-9]+)/notes", self.notes)
        self.on("POST", "/cards/(?P<card>[a-z0-9]+)/notes", self.pin)

    async def hook(self, request: httpx.Request) -> httpx.Response:
        asked = loads(request.content)
        secret = f"secret-of-{asked['board']}"
        for offered in filter(None, (self.intruder, secret if self.reaches_us else None)):
            echoed = await self.world.post(asked["url"], b"", {"Cork-Secret": offered})
            if echoed.headers.get("cork-secret") != offered:
                return said({"error": "no echo"}, 422)
        self.secrets[asked["board"]] = secret
        return said({"id": f"hook-{asked['board']}", "secret": secret}, 201)

    def show(self, request: httpx.Request, card: str) -> httpx.Response:
        return said(self.cards[card]) if card in self.cards else said({}, 404)

    def notes(self, request: httpx.Request, card: str) -> httpx.Response:
        return said({"notes": [one for one in self.acts if one["card"] == card]})

    async def pin(self, request: httpx.Request, card: str) -> httpx.Response:
        made = {"id": f"n{len(self.acts) + 1}", "card": card, "text": loads(request.content)["text"]}
        return await self.acted(made, 201, made)


async def on_board(world: ContractWorld, board: str) -> Row:
    return await world.connect("corkboard", name=board, settings={"board": board})


async def listening(world: ContractWorld, connection: Row, secret: str) -> str:
    made = await subscribe(world.hub, connection)
    return world.opened(made.endpoint, "corkboard", "board", secret)


def won(world: ContractWorld, title: str) -> dict[str, Any]:
    return {"title": title, "list": "won", "moved_at": world.clock.now().isoformat(), "version": 3}


async def test_the_secret_of_the_handshake_counts_once_the_reply_confirms_it_and_news_acts_once(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Corkboard(), handoffs=WON_DEAL_IS_NOTED) as world:
        vendor = CorkboardVendor(world)
        url = await listening(world, await on_board(world, "sales"), "secret-of-sales")
        await world.switch_on("won-deal-is-noted")
        world.clock.at += 10
        vendor.cards["c1"] = won(world, "Tin roof")
        for _ in range(2):
            assert await world.ring(url, {"cards": [{"card": "c1", "version": 3}]}) == 200
            await world.quiet()
        assert len(vendor.acts) == 1
        assert vendor.acts[0]["text"].startswith("Won: Tin roof (lh-")


async def test_a_note_whose_answer_was_lost_is_found_by_its_marker_also_after_a_kill(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Corkboard(), handoffs=WON_DEAL_IS_NOTED, database_url=database_url) as world:
        vendor = CorkboardVendor(world)
        url = await listening(world, await on_board(world, "sales"), "secret-of-sales")
        await world.switch_on("won-deal-is-noted")
        world.clock.at += 10
        vendor.cards["c1"] = won(world, "Tin roof")
        vendor.losing = 1
        await world.ring(url, {"cards": [{"card": "c1", "version": 3}]})
        await world.quiet()
        assert world.effects() == [("note", "in doubt")]
        await world.kill()
        await world.rise()
        await world.pass_time(5, times=3)
        assert world.effects() == [("note", "done")]
        assert len(vendor.acts) == 1


async def test_a_note_that_was_never_pinned_is_sent_again_only_after_absence_is_proven(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Corkboard(), handoffs=WON_DEAL_IS_NOTED) as world:
        vendor = CorkboardVendor(world)
        url = await listening(world, await on_board(world, "sales"), "secret-of-sales")
        await world.switch_on("won-deal-is-noted")
        world.clock.at += 10
        vendor.cards["c1"] = won(world, "Tin roof")
        real = vendor.pin

        def dropped(request: httpx.Request, card: str) -> httpx.Response:
            raise httpx.ReadError("cut off on the way")

        vendor.on("POST", "/cards/(?P<card>[a-z0-9]+)/notes", dropped)
        await world.ring(url, {"cards": [{"card": "c1", "version": 3}]})
        await world.quiet()
        vendor.on("POST", "/cards/(?P<card>[a-z0-9]+)/notes", real)
        await world.pass_time(10)
        assert world.effects() == [("note", "in doubt")]  # the deadline, the vendor's time-out and its lag are not over
        assert vendor.acts == []
        await world.pass_time(60, times=3)
        assert world.effects() == [("note", "done")]
        assert len(vendor.acts) == 1


async def second_endpoint(world: ContractWorld, connection: Row, secret: str) -> str:
    """Open a further address of the same door, for another board of the same account."""
    row = {"id": "end-of-support", "connector": "corkboard", "door": "board", "connection": connection["id"]}
    with world.hub.engine.begin() as conn:
        conn.execute(tables.endpoint.insert(), [row | {"state": "listening", "created_at": world.clock.now()}])
    await set_signing_secret(world.hub, "end-of-support", secret)
    return world.opened("end-of-support", "corkboard", "board", secret)


async def test_each_resource_has_its_own_address_and_secret(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Corkboard(), handoffs=WON_DEAL_IS_NOTED) as world:
        vendor = CorkboardVendor(world)
        sales = await on_board(world, "sales")
        first = await listening(world, sales, "secret-of-sales")
        second = await second_endpoint(world, sales, "secret-of-support")
        await world.switch_on("won-deal-is-noted")
        world.clock.at += 10
        vendor.cards |= {"c1": won(world, "Tin roof"), "c2": won(world, "Gutter")}
        assert await world.ring(first, {"cards": [{"card": "c1", "version": 3}]}, secret="secret-of-support") == 401
        assert await world.ring(second, {"cards": [{"card": "c1", "version": 3}]}, secret="secret-of-sales") == 401
        assert vendor.acts == []
        assert await world.ring(first, {"cards": [{"card": "c1", "version": 3}]}) == 200
        assert await world.ring(second, {"cards": [{"card": "c2", "version": 3}, {"card": "c1", "version": 3}]}) == 200
        await world.quiet()
        assert sorted(act["card"] for act in vendor.acts) == ["c1", "c2"]


async def test_a_handshake_is_answered_only_while_our_own_call_is_open(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Corkboard()) as world:
        CorkboardVendor(world)
        url = await listening(world, await on_board(world, "sales"), "secret-of-sales")
        answer = await world.post(url, b"", {"Cork-Secret": "secret-of-a-stranger"})
        assert answer.status_code == 403
        assert "cork-secret" not in answer.headers
        world.clock.at += 10
        assert await world.ring(url, {"cards": []}, secret="secret-of-a-stranger") == 401


async def test_a_stranger_who_shakes_hands_meanwhile_gains_nothing(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Corkboard()) as world:
        vendor = CorkboardVendor(world)
        vendor.intruder = "secret-of-a-stranger"
        url = await listening(world, await on_board(world, "sales"), "secret-of-sales")
        assert await world.ring(url, {"cards": []}, secret="secret-of-a-stranger") == 401
        assert await world.ring(url, {"cards": []}) == 200


async def test_a_vendor_that_never_reached_us_leaves_no_secret(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Corkboard()) as world:
        vendor = CorkboardVendor(world)
        vendor.reaches_us = False
        connection = await on_board(world, "sales")
        with pytest.raises(ConfigurationError, match="no handshake took place"):
            await subscribe(world.hub, connection)
        endpoint = world.rows("SELECT id, state FROM endpoint")[0]
        assert endpoint["state"] == "listening"
        url = world.opened(endpoint["id"], "corkboard", "board", "secret-of-sales")
        assert url.startswith(PUBLIC)
        assert await world.ring(url, {"cards": []}) == 401
