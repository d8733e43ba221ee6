"""What is between the hub and the tools: requests and answers that get lost, and webhooks that come as they like."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import format_datetime
from random import Random
from typing import TYPE_CHECKING, Any, Final

import httpx

from lifecyclehub.connector import Signature
from lifecyclehub.jsonio import dumps, loads
from lifecyclehub.signatures import sign
from lifecyclehub.torture.database import PUBLIC, SECRET
from lifecyclehub.torture.elements import REFRESH, Fault
from lifecyclehub.torture.loop import PROCESS
from lifecyclehub.torture.manners import Manners, sort_of
from lifecyclehub.torture.plan import IN, OUT, TOOLS
from lifecyclehub.torture.said import Said
from lifecyclehub.torture.tools import SERVER_TIMEOUT_S
from lifecyclehub.torture.vendor import Record, Vendor
from lifecyclehub.vendor.transport import WIRE

if TYPE_CHECKING:
    from lifecyclehub.torture.world import World

_KINDS: Final = (*OUT, *REFRESH)
_NOT_DONE: Final[dict[str, Said]] = {
    "5xx, not done": Said(503, {"error": "down for a moment"}),
    "429": Said(429, {"error": "too many"}),
    "401": Said(401, {"error": "who are you?"}),
    "403": Said(403, {"error": "not for you"}),
    "page instead": Said(200, b"<html><body>Please log in</body></html>", headers={"content-type": "text/html"}),
    "error in 200": Said(200, {"error": "no", "nothing_done": True}),
    "redirect": Said(302, b"", headers={"location": "https://elsewhere.example/"}),
}


class Network(httpx.AsyncBaseTransport):
    """The transport port: brings requests to the tools, and their answers back, or not."""

    watches_the_wire = True

    def __init__(self, world: World) -> None:
        self._world = world
        self._counts: dict[str, int] = {}
        self.manners = Manners(world)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        world = self._world
        name = request.url.host.split(".")[1]
        where = f"{name} {sort_of(request)}"
        process = PROCESS.get()
        count = self._counts[where] = self._counts.get(where, 0) + 1
        fault = world.take(
            lambda one: one.where == where and one.kind in _KINDS and one.nth <= count and self._fits(one, request)
        )
        if world.hooks.is_down(name):
            await asyncio.sleep(world.moment())
            raise httpx.ConnectError("the tool is down")
        if fault is not None:
            world.fire(fault)
            fault = replace(fault, kind=REFRESH.get(fault.kind, fault.kind))
        if name in world.hooks.hanging:
            fault = Fault("no answer, not done", where)
        if fault is not None and fault.kind == "refused":
            await asyncio.sleep(world.moment())
            raise httpx.ConnectError("refused")
        self.manners.mind(process.name if process else "", name, request)
        wire = WIRE.get()
        if wire is not None:
            wire.leave()
        world.note(process.name if process else "?", request.method, request.url.path)
        answer: asyncio.Future[httpx.Response] = world.loop.create_future()
        left = float(request.extensions["timeout"]["write"])
        if world.point(process, f"{_place(where)} leaves"):
            return await answer
        self._send(world.vendors[name], request, fault, answer, left)
        response = await answer
        world.point(process, f"{_place(where)} answered")
        if process is not None and not process.alive:
            await world.loop.create_future()
        return response

    @staticmethod
    def _fits(fault: Fault, request: httpx.Request) -> bool:
        if fault.kind == "half a look-up":
            return request.url.path.startswith("/find/")
        creates = request.method == "POST"
        return creates or fault.kind not in ("5xx kept", "nothing done, 200", "error in 200", "garbage, done")

    def _send(
        self, vendor: Vendor, request: httpx.Request, fault: Fault | None, answer: asyncio.Future[httpx.Response], left: float
    ) -> None:
        world = self._world
        process = PROCESS.get()
        kind = fault.kind if fault is not None else ""
        if sort_of(request) == "write":  # what was sent before a restore may arrive after it
            world.restores.written(vendor.name)
        there, back, sent_at = world.moment(), world.moment(), world.vendor_now()
        if fault is not None and kind == "slow":
            back += min(fault.seconds, left - 1)
        if kind == "late":  # at the latest when the vendor's own time-out is over
            there += left + min(fault.seconds if fault is not None else 0.0, SERVER_TIMEOUT_S - 1)
        done_at_all = kind not in ("no answer, not done", "reset before", *_NOT_DONE, "429 in seconds", "429 until a date")

        def arrive() -> None:
            vendor.caller, vendor.asked_at = process, sent_at
            said = self._answer(vendor, request, fault, done_at_all=done_at_all)
            if world.point(process, f"{_place(f'{vendor.name} {sort_of(request)}')} acted"):
                return
            if kind in ("no answer, not done", "no answer, done", "late"):
                return
            world.outside(back, lambda: come_back(said))

        def come_back(said: Said) -> None:
            """Bring the answer; only from then on the hub knows that the tool wants quiet, or renewed access first."""
            wished = fault.seconds if fault is not None else 0.0
            self.manners.mind_answer(process.name if process else "", vendor.name, request, said, wished)
            given = _give(answer, said, reset=kind in ("reset before", "reset, done"))
            if given and vendor.rotating is not None:
                vendor.rotating.answered(said, world.loop.time())

        world.outside(there, arrive)

    def _answer(self, vendor: Vendor, request: httpx.Request, fault: Fault | None, *, done_at_all: bool) -> Said:
        kind = fault.kind if fault is not None else ""
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.content
        if vendor.name in self._world.hooks.outages:
            return Said(503, {"error": "an outage"})
        if kind == "5xx kept":
            vendor.store_error(headers, body)
        if kind == "nothing done, 200":
            vendor.does_nothing = True
        if kind == "half a look-up":
            vendor.stale_find += 1
        if not done_at_all:
            return self._refusal(kind, fault)
        said = vendor.handle(request.method, request.url.path, request.url.query.decode(), headers, body)
        self._world.note(vendor.name, request.method, request.url.path, said.status)
        self._world.restores.heard(vendor.name, request.url.path, said.status)
        if kind == "5xx, done":
            return Said(502, {"error": "gateway"}, acted=said.acted)
        if kind == "garbage, done":
            return Said(200, b"\x00\xff<oops", acted=said.acted)
        return said

    def _refusal(self, kind: str, fault: Fault | None) -> Said:
        seconds = fault.seconds if fault is not None else 1.0
        if kind == "429 in seconds":
            return replace(_NOT_DONE["429"], headers={"retry-after": str(int(seconds))})
        if kind == "429 until a date":
            until = self._world.clock.now() + timedelta(seconds=seconds)
            return replace(_NOT_DONE["429"], headers={"retry-after": format_datetime(until, usegmt=True)})
        return _NOT_DONE.get(kind, Said(500, {"error": kind}))


def _place(where: str) -> str:
    """Give a crash point's place: refreshes are one place, whichever tool has them."""
    return "refresh" if where.endswith(" refresh") else where


def _give(answer: asyncio.Future[httpx.Response], said: Said, *, reset: bool) -> bool:
    """Let whoever waits have the answer, if somebody still does."""
    if answer.done():
        return False
    if reset:
        answer.set_exception(httpx.ReadError("connection reset"))
        return False
    headers = {"content-type": "application/json", **said.headers}
    answer.set_result(httpx.Response(said.status, headers=headers, content=said.encoded()))
    return True


# --- webhooks ---------------------------------------------------------------------------------------------------------

_NEVER: Final = -1.0
_REPEATS: Final[dict[str, tuple[float, ...]]] = {
    "stubborn": (2.0, 10.0, 30.0, 120.0, 600.0, 1800.0, 3600.0),
    "three times": (1.0, 30.0),
    "once": (),
}


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook as it is sent."""

    vendor: str
    delivery: str
    body: bytes
    signature: str | None = None

    def headers(self) -> dict[str, str]:
        """Give its headers, signed by the vendor unless it is forged."""
        return {
            "content-type": "application/json",
            "x-delivery": self.delivery,
            "x-signature": self.signature if self.signature is not None else signed(self.vendor, self.body),
        }


def signed(vendor: str, body: bytes) -> str:
    """Sign as the vendor does."""
    url = f"{PUBLIC}/hooks/end_{vendor}"
    return sign(Signature(header="X-Signature", parts=("url", "body")), SECRET.encode(), method="POST", url=url, body=body)


class Hooks:
    """Sends a webhook for every change, and repeats it as patiently as the vendor is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = Random(f"hooks {world.plan.seed}")
        self._count = 0
        self._patience = dict(zip(TOOLS, world.plan.patience, strict=True))
        self._turns: dict[str, int] = {}
        self.sent: list[Hook] = []
        self.kept: list[tuple[str, str]] = []  # (endpoint, SHA-256 of the body) of what was answered 2xx
        self.told: set[str] = set()  # keys of the entries in what was answered 2xx
        self.refused_forged = 0
        self.accepted_forged = 0
        self.outages: set[str] = set()
        self.down: set[str] = set()
        self.hanging: set[str] = set()
        self.open = 0

    def is_down(self, vendor: str) -> bool:
        """Tell whether a vendor cannot even be reached."""
        return vendor in self.down

    def changed(self, vendor: Vendor, record: Record, what: str) -> None:
        """Tell the hub of a change, sooner or later."""
        self._count += 1
        entry: dict[str, Any] = {
            "kind": record.kind,
            "id": record.id,
            "key": f"{vendor.name}-{self._count}",
            "at": self._world.vendor_now().isoformat(),
            "version": record.version,
            "change": {"deleted": "deleted", "merged": "merged"}.get(what, "changed"),
            "into": record.merged_into,
        }
        if vendor.character.whole and what not in ("deleted", "merged"):
            entry["record"] = vendor.said(record)
        body = dumps({"entries": [entry]}).encode()
        self.send(Hook(vendor.name, f"dlv-{vendor.name}-{self._count}", body), fresh=True)

    def send(self, hook: Hook, *, fresh: bool = False) -> None:
        """Send a webhook on its way."""
        world = self._world
        where = f"{hook.vendor} hook"
        turn = self._turns[where] = self._turns.get(where, 0) + 1
        fault = world.take(lambda one: one.kind in IN and one.where == where and one.nth <= turn) if fresh else None
        if fresh:
            self.sent.append(hook)
        wait = self._dice.uniform(0.005, 0.4)
        if fault is not None:
            world.fire(fault)
            wait = self._spoiled(hook, fault, wait)
            if wait == _NEVER:
                return
        self.open += 1
        world.outside(wait, lambda: self._go(hook, 0))

    def _spoiled(self, hook: Hook, fault: Fault, wait: float) -> float:
        world = self._world
        match fault.kind:
            case "twice":
                self.open += 1
                world.outside(wait + self._dice.uniform(0, fault.seconds), lambda: self._go(hook, 0))
            case "lost once":
                return (*_REPEATS[self._patience[hook.vendor]], _NEVER)[0]
            case "lost for ever":
                return _NEVER
            case "late hook":
                return wait + fault.seconds
            case "forged":
                world.outside(wait, lambda: self._forge(replace(hook, delivery=f"{hook.delivery}-forged", signature="0" * 64)))
            case "damaged":
                signature = signed(hook.vendor, hook.body)
                damaged = replace(
                    hook, body=hook.body.replace(b"entries", b"entriez"), delivery=f"{hook.delivery}-x", signature=signature
                )
                world.outside(wait, lambda: self._forge(damaged))
            case "said again":  # the same change under a new delivery
                world.outside(wait + fault.seconds, lambda: self.send(replace(hook, delivery=f"{hook.delivery}-again")))
            case "old again":
                old = self.sent[0]
                world.outside(wait + fault.seconds, lambda: self.send(replace(old, delivery=f"{old.delivery}-old")))
        return wait

    def _go(self, hook: Hook, tries: int) -> None:
        self._world.start(self._deliver(hook, tries))

    async def _deliver(self, hook: Hook, tries: int) -> None:
        world = self._world
        status = await world.ring(hook)
        world.note("hook", hook.vendor, hook.delivery, status)
        self.open -= 1
        if 200 <= status < 300:
            self.kept.append((f"end_{hook.vendor}", hashlib.sha256(hook.body).hexdigest()))
            entries = loads(hook.body)["entries"]
            self.told |= {str(one["key"]) for one in entries}
            if (drift := world.vendors[hook.vendor].drift) is not None:
                drift.told(entries)
            return
        repeats = _REPEATS[self._patience[hook.vendor]]
        if tries < len(repeats):
            self.open += 1
            world.outside(repeats[tries] * self._dice.uniform(1.0, 1.2), lambda: self._go(hook, tries + 1))

    def _forge(self, hook: Hook) -> None:
        self._world.start(self._try_in(hook))

    async def _try_in(self, hook: Hook) -> None:
        status = await self._world.ring(hook)
        if status == 401:
            self.refused_forged += 1
        elif 200 <= status < 300:
            self.accepted_forged += 1
