"""A small tool for tests of what gets in: cards and boxes that are listed by pages, hooks that can be made, asked after and lost.

Its vendor notes every request, so that tests can count them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx

from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Account,
    Action,
    Auth,
    Call,
    Door,
    Endpoint,
    Health,
    Host,
    Kind,
    Natural,
    Page,
    Signature,
    Subscription,
    usual_judgement,
)
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.errors import Forbidden, RecordGone, TryAgain
from lifecyclehub.jsonio import loads
from lifecyclehub.messages import Delivery, Document, Done, Json, Key, Notice, Outcome, Ref, Reply, Request
from tests.support.contract_world import ContractWorld, ThrowAway, Vendor, said
from tests.support.workbench import MAKES_PROJECTS, tells_deals

CARD, BOX = "drawer.card", "drawer.box"
PAGE = 2
OVERLAP_S = 60.0
PLURALS = {CARD: "cards", BOX: "boxes"}
LIFETIME = timedelta(days=30)


class OpenBox(Action[CreateProject]):
    """Makes a box; doing it again would make the same one."""

    name = "create_project"
    input = CreateProject
    once = Natural()
    creates = BOX

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        return Request(method="POST", path="/boxes", json={**body, "ref": key.marker})

    def judge(self, reply: Reply, request: Request) -> Outcome:
        return usual_judgement(reply, creates=True) or Done(record_id=reply.json()["id"])


class Drawer(ThrowAway):
    """The connector. The token that a person enters is the account that it reaches."""

    about = About(
        id="drawer",
        name="Drawer",
        contract=CONTRACT_VERSION,
        roles=("crm", "project"),
        kinds=(
            Kind(id=CARD, fills="deal", order="time", resolution_s=0.001, deletes="webhook", poll_s=60),
            Kind(id=BOX, fills="project", order="none", deletes="list", poll_s=60),
        ),
        doors=(
            Door(
                name="hook",
                signature=Signature(header="X-Token", algorithm="token"),
                scope="resource",
                setup="api",
                lifetime=LIFETIME,
                heartbeat=timedelta(hours=12),
                delivery_key="X-Delivery",
            ),
        ),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://drawer.example/api"),),
        actions=(OpenBox(),),
        account_header="x-account",
    )
    mappings: ClassVar = {
        "card.toml": tells_deals("drawer.card"),
        "box.toml": """
            format = 1
            record = "drawer.box"
            [fields]
            "project.title" = { from = "name" }
        """,
        "create_project.toml": MAKES_PROJECTS,
    }

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        return [
            Notice(kind=one.get("kind", CARD), record_id=one["id"], key=one.get("key"), change=one.get("change", "changed"))
            for one in delivery.json
        ]

    async def accounts(self, call: Call) -> Sequence[Account]:
        reply = await call.send(Request(method="GET", path="/me"))
        return [Account(id=reply.json()["id"], name="A drawer")]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path=f"/{PLURALS[ref.kind]}/{ref.id}"))
        if reply.status == 404:
            raise RecordGone(ref.id)
        if reply.status == 403:
            raise Forbidden(ref.id)
        if reply.status != 200:
            raise TryAgain(f"status {reply.status}")
        found = reply.json()
        at = instant(found["changed"]) if ref.kind == CARD else None
        return Document(kind=ref.kind, id=ref.id, changed_at=at, data=found)

    async def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        now = call.now().timestamp()
        place: dict[str, Any] = json.loads(cursor) if cursor else {"since": 0.0 if full else now, "began": None, "after": ""}
        if not full and cursor is None:
            yield Page((), json.dumps(place), last=True)
            return
        place["began"] = place["began"] or now
        while True:
            query = (("after", place["after"]), ("since", str(0.0 if full else place["since"] - OVERLAP_S)))
            reply = await call.send(Request(method="GET", path=f"/{PLURALS[kind]}", query=query))
            if reply.status != 200:
                raise TryAgain(f"status {reply.status}")
            rows, last = reply.json()["rows"], not reply.json()["more"]
            notices = tuple(Notice(kind=kind, record_id=row["id"], at=instant(row["changed"])) for row in rows)
            if last:
                done = {"since": place["began"], "began": None, "after": ""}
                yield Page(notices, None if full else json.dumps(done), last=True)
                return
            place["after"] = rows[-1]["id"]
            yield Page(notices, json.dumps(place), last=False)

    async def subscribe(self, call: Call, endpoint: Endpoint) -> Subscription:
        body = {"url": endpoint.url, "resource": endpoint.resource}
        reply = await call.send(Request(method="POST", path="/hooks", json=body))
        if reply.status != 201:
            raise TryAgain(f"status {reply.status}")
        made = reply.json()
        return Subscription(id=made["id"], secret=made["secret"], resource=endpoint.resource)

    async def probe(self, call: Call, subscription: Subscription) -> Health:
        reply = await call.send(Request(method="GET", path=f"/hooks/{subscription.id}"))
        if reply.status == 404:
            return Health(ok=False, reason="the hook is gone")
        if reply.status != 200:
            raise TryAgain(f"status {reply.status}")
        return Health(ok=reply.json()["active"], reason="" if reply.json()["active"] else "the hook is switched off")

    async def unsubscribe(self, call: Call, subscription: Subscription) -> None:
        reply = await call.send(Request(method="DELETE", path=f"/hooks/{subscription.id}"))
        if reply.status not in (204, 404):
            raise TryAgain(f"status {reply.status}")


def instant(seconds: Any) -> datetime:
    """Read a moment as the vendor writes it."""
    return datetime.fromtimestamp(float(seconds), UTC)


class DrawerVendor(Vendor):
    """Keeps cards, boxes and hooks; lists in the order of ids, a page of two at a time."""

    host = "drawer.example"

    def __init__(self, world: ContractWorld) -> None:
        super().__init__(world.router)
        self.clock = world.clock
        self.shelves: dict[str, dict[str, dict[str, Any]]] = {"cards": {}, "boxes": {}}
        self.hooks: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.forbidden: set[str] = set()
        self.unlisted: set[str] = set()
        self.failing: list[int] = []  # statuses that the next lists are answered with
        self.hangs: dict[str, asyncio.Event] = {}  # lists of an account wait for this
        self.breaks: set[tuple[str, str]] = set()  # lists of a shelf after a record that are refused once
        self.stuck: set[tuple[str, str]] = set()  # and such that are never answered
        self.refusing: set[str] = set()  # tokens that are no good
        self.hooks_fail = False
        self.on("GET", "/api/me", self.me)
        self.on("GET", "/api/(?P<shelf>cards|boxes)", self.index)
        self.on("GET", "/api/(?P<shelf>cards|boxes)/(?P<one>[a-z0-9]+)", self.show)
        self.on("POST", "/api/boxes", self.open_box)
        self.on("POST", "/api/hooks", self.make_hook)
        self.on("GET", "/api/hooks/(?P<hook>[a-z0-9]+)", self.show_hook)
        self.on("DELETE", "/api/hooks/(?P<hook>[a-z0-9]+)", self.end_hook)

    def card(self, one: str, status: str = "new", *, changed: datetime | None = None, **more: Any) -> None:
        """Put a card in, or change it."""
        at = (changed or self.clock.now()).timestamp()
        won = {"won_at": int(at)} if status == "won" else {}
        known = self.shelves["cards"].get(one, {"id": one, "name": f"Card {one}"})
        self.shelves["cards"][one] = known | {"status": status, "changed": at} | won | more

    def box(self, one: str, **more: Any) -> None:
        """Put a box in, or change it."""
        known = self.shelves["boxes"].get(one, {"id": one, "name": f"Box {one}"})
        self.shelves["boxes"][one] = known | {"changed": self.clock.now().timestamp()} | more

    def _who(self, request: httpx.Request) -> str:
        return request.headers["authorization"].removeprefix("Bearer ")

    def _refused(self, request: httpx.Request) -> bool:
        return self._who(request) in self.refusing

    def me(self, request: httpx.Request) -> httpx.Response:
        return said({}, 401) if self._refused(request) else said({"id": self._who(request)})

    async def index(self, request: httpx.Request, shelf: str) -> httpx.Response:
        self.asked[f"list {shelf}"] += 1
        if (gate := self.hangs.get(self._who(request))) is not None:
            await gate.wait()
        if self._refused(request):
            return said({}, 401)
        if self.failing:
            return said({}, self.failing.pop(0))
        after, since = request.url.params["after"], float(request.url.params["since"])
        if (shelf, after) in self.stuck:
            await asyncio.Event().wait()
        if (shelf, after) in self.breaks:
            self.breaks.discard((shelf, after))
            return said({}, 400)
        listed = [one for name, one in sorted(self.shelves[shelf].items()) if name not in self.unlisted]
        rows = [{"id": one["id"], "changed": one["changed"]} for one in listed if one["id"] > after and one["changed"] >= since]
        return said({"rows": rows[:PAGE], "more": len(rows) > PAGE})

    def show(self, request: httpx.Request, shelf: str, one: str) -> httpx.Response:
        self.asked[f"fetch {one}"] += 1
        if self._refused(request):
            return said({}, 401)
        if one in self.forbidden:
            return said({}, 403)
        found = self.shelves[shelf].get(one)
        return said(found) if found else said({}, 404)

    async def open_box(self, request: httpx.Request) -> httpx.Response:
        made = {"id": f"made{len(self.acts) + 1}", **loads(request.content)}
        self.shelves["boxes"][made["id"]] = {"id": made["id"], "name": made["title"], "changed": self.clock.now().timestamp()}
        return await self.acted(made, 201, made)

    def make_hook(self, request: httpx.Request) -> httpx.Response:
        self.asked["make hook"] += 1
        if self.hooks_fail:
            return said({}, 503)
        number = f"h{self.asked['make hook']}"
        made = {**loads(request.content), "id": number, "secret": f"secret-of-{number}", "active": True}
        self.hooks[number] = made
        return said(made, 201)

    def show_hook(self, request: httpx.Request, hook: str) -> httpx.Response:
        self.asked[f"probe {hook}"] += 1
        return said(self.hooks[hook]) if hook in self.hooks else said({}, 404)

    def end_hook(self, request: httpx.Request, hook: str) -> httpx.Response:
        return httpx.Response(204 if self.hooks.pop(hook, None) else 404)
