"""A real hub with connectors of a test's own, vendors that answer through respx, and time that only the test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import httpx
import respx
from sqlalchemy import text
from starlette.applications import Starlette

from lifecyclehub.admin.connections import add_connection, open_endpoint, set_signing_secret
from lifecyclehub.admin.setup import init_home
from lifecyclehub.connector import Account, Action, Call, Connector, Door, FieldInfo, Page, usual_judgement
from lifecyclehub.errors import CallFailed, NotOurJson
from lifecyclehub.hub import Hub
from lifecyclehub.jsonio import dumps
from lifecyclehub.messages import (
    Absent,
    CannotTell,
    Delivery,
    Document,
    Done,
    Found,
    Key,
    Notice,
    Outcome,
    Ref,
    Reply,
    Request,
    Sighting,
)
from lifecyclehub.registry.registry import Registry, default_mappings
from lifecyclehub.settings import Settings, read_settings
from lifecyclehub.signatures import sign
from lifecyclehub.store import tables
from lifecyclehub.store.database import open_engine, schema_of
from lifecyclehub.store.things import Row
from lifecyclehub.timers import Timers
from lifecyclehub.web.hooks import hooks_route
from tests.support.home import apply_files
from tests.support.reach import MovedClock
from tests.support.tables import make_tables

PUBLIC = "https://hub.example"
_OPEN = "('planned', 'held', 'ready', 'in flight', 'in doubt')"


class StillTimers(Timers):
    """Never ticks: the test does."""

    def start(self) -> None:
        """Stay still."""


class Dice:
    """The middle of every range, and ids that a restart does not repeat."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


class ThrowAway(Connector):
    """What a small connector need not say again. `mappings`: its mapping files, text by file name."""

    mappings: ClassVar[Mapping[str, str]] = {}

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        return ()

    async def accounts(self, call: Call) -> Sequence[Account]:
        return [Account(id="acc-1", name="The only one", currency="EUR")]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        raise NotImplementedError

    async def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        yield Page((), None, last=True)

    async def fields(self, call: Call, kind: str) -> Sequence[FieldInfo]:
        return []


V = TypeVar("V")


class Making(Action[V]):
    """What making a record and finding it again is in most tools: an id in the answer, and a list that shows all of them."""

    listed: ClassVar[str] = "rows"

    def look(self, v: V, key: Key) -> Request:
        """Give the request for the list in which ours would stand."""
        raise NotImplementedError

    def is_ours(self, row: Any, key: Key) -> bool:
        """Tell whether this row of the list is the one."""
        raise NotImplementedError

    def judge(self, reply: Reply, request: Request) -> Outcome:
        return usual_judgement(reply, creates=True) or Done(record_id=reply.json()["id"])

    async def find(self, call: Call, v: V, key: Key) -> Sighting:
        """Look through the list; anything but the whole of it proves nothing."""
        try:
            reply = await call.send(self.look(v, key))
            rows = reply.json()[self.listed] if reply.status == 200 else None
        except (CallFailed, NotOurJson, LookupError) as error:
            return CannotTell(str(error))
        if rows is None:
            return CannotTell(f"status {reply.status}")
        found = tuple(Done(record_id=row["id"]) for row in rows if self.is_ours(row, key))
        return Found(found) if found else Absent()


class Vendor:
    """A tool behind respx. `acts` is its own history: every act it did, in order, whoever asked and whatever was answered."""

    host: ClassVar[str]

    def __init__(self, router: respx.MockRouter) -> None:
        self.router, self.acts = router, []
        self.losing = 0
        self.hanging = False
        self.has_acted = asyncio.Event()

    acts: list[dict[str, Any]]

    def on(self, method: str, path: str, answer: Callable[..., Any]) -> None:
        """Answer requests whose path matches the pattern `path`; its named groups are handed over."""
        self.router.route(method=method, host=self.host, path__regex=f"^{path}$").mock(side_effect=answer)

    async def acted(self, act: dict[str, Any], status: int, body: Any) -> httpx.Response:
        """Note an act and answer it, unless this answer is to be lost, or never to come."""
        self.acts.append(act)
        self.has_acted.set()
        if self.losing:
            self.losing -= 1
            raise httpx.ReadTimeout("the answer is lost")
        if self.hanging:
            await asyncio.Event().wait()
        return said(body, status)


def said(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    """Answer JSON."""
    return httpx.Response(status, content=dumps(body).encode(), headers={"content-type": "application/json", **headers})


@dataclass
class ContractWorld:
    """The hub and what surrounds it."""

    settings: Settings
    registry: Registry
    clock: MovedClock
    router: respx.MockRouter
    starts: int = 0
    doors: dict[str, tuple[Door, str]] = field(default_factory=dict)

    hub: Hub = field(init=False)

    # --- running --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self.starts += 1
        self.hub = Hub(
            self.settings,
            registry=self.registry,
            clock=self.clock,
            randomness=Dice(self.starts),
            transport=lambda _private: httpx.MockTransport(self.router.async_handler),
        )
        self.hub.timers = StillTimers()
        await self.hub.start()

    async def kill(self) -> None:
        """End the hub where it stands: whatever is under way is cut off and writes no receipt."""
        await asyncio.sleep(0)  # let what was begun begin
        flows = (self.hub.sweeper.flow, self.hub.intake.flow, self.hub.dispatcher.flow)
        workers = [worker for flow in flows for worker in flow._running]
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await self.hub.stop()

    async def restart(self) -> None:
        """Stop in order and start anew, a second later."""
        await self.hub.stop()
        self.clock.at += 1
        await self.start()

    async def rise(self) -> None:
        """Start again after a kill, a second later."""
        self.clock.at += 1
        await self.start()

    async def quiet(self) -> None:
        """Wait until nothing is under way; fail when that never comes."""
        async with asyncio.timeout(60):
            await self.hub.settled()

    async def pass_time(self, seconds: float, times: int = 1) -> None:
        """Let time pass, then do what it brings; `times` over."""
        for _ in range(times):
            self.clock.at += seconds
            await self.hub.sweeper.tick()
            await self.hub.dispatcher.tick()
            await self.hub.intake.tick()
            await self.quiet()

    # --- setting up -----------------------------------------------------------------------------------------------------

    async def connect(self, connector: str, *, name: str | None = None, **more: Any) -> Row:
        """Add a connection as an admin does; bearer tokens need not be named."""
        if "secrets" not in more and "grant_id" not in more:
            more["secrets"] = {"token": f"token-of-{connector}"}
        listens = bool(self.registry.get(connector).about.doors)
        more = {"listens": listens, "polls": not listens} | more
        row = await add_connection(self.hub, name=name or connector, connector=connector, **more)
        await self.hub.reconfigure()
        return row

    async def open(self, connection: Row, *, secret: str, door: str | None = None) -> str:
        """Open an endpoint with a signing secret that a person entered; gives its address."""
        endpoint = await open_endpoint(self.hub, connection, door)
        await set_signing_secret(self.hub, endpoint["id"], secret)
        return self.opened(endpoint["id"], connection["connector"], endpoint["door"], secret)

    def opened(self, endpoint: str, connector: str, door: str, secret: str) -> str:
        """Remember how the vendor signs at an endpoint; gives its address."""
        url = f"{PUBLIC}/hooks/{endpoint}"
        found = self.registry.get(connector).about.door(door)
        assert found is not None
        self.doors[url] = (found, secret)
        return url

    async def switch_on(self, handoff: str, go_live: datetime | None = None) -> None:
        """Switch a handoff on, from now unless said otherwise."""
        row = {"id": handoff, "state": "on", "go_live": go_live or self.clock.now()}
        with self.hub.engine.begin() as conn:
            conn.execute(tables.handoff.insert(), [row])
        await self.hub.reconfigure()

    # --- the vendors' side ----------------------------------------------------------------------------------------------

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Send a request to the hub's hooks route, as a stranger could."""
        app = Starlette(routes=[hooks_route(lambda: self.hub)])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=PUBLIC) as http:
            return await http.post(url, content=body, headers={"content-type": "application/json", **headers})

    async def ring(self, url: str, payload: Any, *, secret: str | None = None) -> int:
        """Send a delivery signed as the endpoint's door wants it; gives the status of the answer."""
        door, known = self.doors[url]
        body = payload if isinstance(payload, bytes) else dumps(payload).encode()
        headers, stamp = {}, ""
        if door.signature.timestamp is not None:
            stamp = str(int(self.clock.now().timestamp()))
            headers[door.signature.timestamp.header] = stamp
        key = (secret or known).encode()
        headers[door.signature.header] = sign(door.signature, key, method="POST", url=url, body=body, stamp=stamp)
        return (await self.post(url, body, headers)).status_code

    # --- looking --------------------------------------------------------------------------------------------------------

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Ask the store."""
        with self.hub.engine.connect() as conn:
            return [dict(row) for row in conn.execute(text(query)).mappings()]

    def effects(self) -> list[tuple[str, str]]:
        """Give every effect's name and state, oldest first."""
        return [(row["name"], row["state"]) for row in self.rows("SELECT name, state FROM effect ORDER BY id")]

    def notices(self) -> list[tuple[str, str, str | None]]:
        """Give every notice's record, state and reason, oldest first."""
        found = self.rows("SELECT record_id, state, reason FROM notice ORDER BY id")
        return [(row["record_id"], row["state"], row["reason"]) for row in found]


def _write_mappings(home: Path, connector: Connector) -> None:
    """Give a connector its mappings through the home, as an admin would; it has no package with defaults."""
    assert default_mappings(connector) == {}, "a folder of tests is taken for a connector's default mappings"
    texts: Mapping[str, str] = getattr(connector, "mappings", {})
    for name, content in texts.items():
        file = home / "mappings" / connector.about.id / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")


@asynccontextmanager
async def contract_world(
    tmp_path: Path,
    *connectors: Connector,
    handoffs: str = "format = 1\n",
    database_url: str | None = None,
    registry: Registry | None = None,
) -> AsyncIterator[ContractWorld]:
    """Run a hub on a fresh home with these connectors, or this registry, and this handoffs.toml."""
    env = {"LIFECYCLEHUB_PUBLIC_URL": PUBLIC} | ({"LIFECYCLEHUB_DATABASE": database_url} if database_url else {})
    settings = read_settings(tmp_path / "home", env)
    clock = MovedClock()
    settings.home.mkdir()
    engine = open_engine(settings.database)
    if schema_of(engine) is None:
        make_tables(engine)
    engine.dispose()
    init_home(settings, clock=clock, randomness=Dice(0))
    (settings.mappings / "handoffs.toml").write_text(handoffs, "utf-8")
    known = registry or Registry.of(*connectors)
    for connector in known.connectors.values():
        _write_mappings(settings.home, connector)
    apply_files(settings, known)
    world = ContractWorld(settings, known, clock, respx.MockRouter(assert_all_called=False))
    await world.start()
    try:
        yield world
    finally:
        await world.hub.stop()
