"""The world of one scenario: the tools, what is between them and the hub, the hub's process, and everything that goes wrong."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import func, select

from lifecyclehub.errors import DeliveryRejected
from lifecyclehub.hub import Hub, Workings
from lifecyclehub.intake.receive import Incoming
from lifecyclehub.store import tables
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.torture.database import PUBLIC, Database
from lifecyclehub.torture.loop import EPOCH, PROCESS, Process, VirtualClock, VirtualLoop
from lifecyclehub.torture.network import Hook, Hooks, Network
from lifecyclehub.torture.plan import TOOLS, Fault, Plan
from lifecyclehub.torture.ports import SeededRandomness, VirtualRunner, VirtualStore, VirtualTimers
from lifecyclehub.torture.rules import in_force, registry_of
from lifecyclehub.torture.vendor import Vendor

# How long a tick that has nothing to do may wait: in the chaos, and after it.
_LONG = {"effects": (20.0, 900.0), "notices": (20.0, 900.0), "configuration": (60.0, 3600.0), "sweeps": (60.0, 300.0)}
_LONG_TICK = (20.0, 3600.0)
_BY_STORE = ("effects", "notices")  # what is due for these is written in the store


def _ring(waiting: asyncio.Future[bool]) -> None:
    if not waiting.done():
        waiting.set_result(True)


_effect, _notice = tables.effect, tables.notice
_DUE = (
    select(func.min(_effect.c.not_before)).where(tables.OPEN_EFFECT, _effect.c.state.in_(("ready", "in doubt", "in flight"))),
    select(func.min(_effect.c.deadline)).where(tables.OPEN_EFFECT, _effect.c.state == "in flight", _effect.c.handle.is_(None)),
    select(func.min(_notice.c.not_before)).where(tables.OPEN_NOTICE, _notice.c.state == "open"),
)


class World:
    """Everything in one scenario. `calm`: nothing goes wrong any more."""

    def __init__(self, plan: Plan, database: Database, *, keep_trace: bool = False) -> None:
        self.plan, self.database = plan, database
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.calm = False
        self.edition = 0  # of the rules
        self.fired: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.lines: list[str] | None = [] if keep_trace else None
        self._digest = hashlib.sha256()
        self._moments = Random(f"moments {plan.seed}")
        self.left: list[Fault] = list(plan.faults)
        self._crashes = {(one.point, one.hit): one for one in plan.crashes}
        self._store_turn = 0
        self.busy_until = -1.0
        self._slow = 0.0
        self._born = 0
        self.commits = 0
        self._sleepers: dict[str, list[asyncio.Future[bool]]] = {}
        self._due: tuple[int, datetime | None] = (-1, None)
        self.graves: list[Any] = []  # what dead processes leave: swept away only after the scenario
        self.process: Process | None = None
        self.hub: Hub | None = None
        self.vendors = {
            name: Vendor(name, character, self.vendor_now) for name, character in zip(TOOLS, plan.characters, strict=True)
        }
        self.hooks = Hooks(self)
        for vendor, lag in zip(self.vendors.values(), plan.lags, strict=True):
            vendor.lag_s = lag
            vendor.changed = lambda record, what, vendor=vendor: self.hooks.changed(vendor, record, what)  # type: ignore[misc]
            vendor.later = self.outside
        self.network = Network(self)
        self.registry = registry_of(plan.characters)

    # --- time and trace -------------------------------------------------------------------------------------------------

    def vendor_now(self) -> datetime:
        """Tell the time as vendors do: their clocks are right."""
        return EPOCH + timedelta(seconds=self.loop.time())

    def moment(self) -> float:
        """Give the short time that a step takes."""
        return self._moments.uniform(0.0005, 0.02) if self.plan.shuffled else 0.001

    def note(self, *what: object) -> None:
        """Write a line of the trace."""
        line = f"{self.loop.time():.6f} " + " ".join(map(str, what))
        self._digest.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def digest(self) -> str:
        """Give the trace in short."""
        return self._digest.hexdigest()[:16]

    def outside(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something later, whatever becomes of the hub's process."""
        self.loop.call_later(seconds, act, context=contextvars.Context())

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start something outside the hub's process."""
        return self.loop.create_task(work, context=contextvars.Context())

    # --- faults ---------------------------------------------------------------------------------------------------------

    def take(self, kinds: Callable[[Fault], bool]) -> Fault | None:
        """Take the fault that is due, if there is one."""
        if self.calm:
            return None
        for fault in self.left:
            if kinds(fault):
                self.left.remove(fault)
                return fault
        return None

    def fire(self, fault: Fault | str) -> None:
        """Count a fault that really happened."""
        kind = fault if isinstance(fault, str) else fault.kind
        self.fired[kind] += 1
        self.note("fault", fault)

    def points(self, process: Process, names: list[str], when: str, then: Callable[[], None] | None = None) -> bool:
        """Pass crash points; True when the process is dead afterwards."""
        dead = [self.point(process, f"{name} {when}", then) for name in dict.fromkeys(names)]
        return any(dead)

    def point(self, process: Process | None, name: str, then: Callable[[], None] | None = None) -> bool:
        """Pass one crash point; True when the process is dead afterwards."""
        if process is None or not process.alive:
            return True
        self.passed[name] += 1
        crash = None if self.calm else self._crashes.pop((name, self.passed[name]), None)
        if crash is None:
            return False
        if then is not None:
            then()
        self.fired["kill"] += 1
        self.fired[f"at {name}"] += 1
        self.note("killed", name)
        self.kill(crash.down_s)
        return True

    def store_fault(self) -> str | None:
        """Say what goes wrong with the commit that is about to be."""
        self._store_turn += 1
        turn = self._store_turn
        fault = self.take(lambda one: one.kind in ("busy", "lost race", "unknown commit", "slow commit") and one.nth <= turn)
        if fault is None:
            return None
        self.fire(fault)
        if fault.kind == "busy":
            self.busy_until = self.loop.time() + fault.seconds
        if fault.kind == "slow commit":
            self._slow = fault.seconds
        return fault.kind

    def store_is_busy(self) -> bool:
        """Tell whether the database refuses everything now."""
        return self.loop.time() < self.busy_until and not self.calm

    def slow_commit(self) -> float:
        """Give how much longer the answer of this commit takes."""
        slow, self._slow = self._slow, 0.0
        return slow

    # --- the hub's process ----------------------------------------------------------------------------------------------

    def workings(self, process: Process) -> Workings:
        """Give what a hub of this world runs on."""
        return Workings(
            engine=lambda _url: self.database.engine,
            store=lambda engine: VirtualStore(engine, self, process),
            runner=lambda: VirtualRunner(self),
            timers=lambda: VirtualTimers(self),
            applied=lambda conn, *_: in_force(conn, self.plan.characters, self.database.settings, self.edition),
        )

    def boot(self) -> None:
        """Start a hub, as the machine's supervisor does."""
        if self.process is not None and self.process.alive:
            return  # somebody else started it meanwhile
        self._born += 1
        process = self.process = Process(f"hub {self._born}")
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        self.note("starts", process.name)
        context.run(self._construct, process)
        if self.hub is not None:
            starting = self.loop.create_task(self.hub.start(), context=context)
            starting.add_done_callback(lambda done: self._started(process, done), context=contextvars.Context())

    def _construct(self, process: Process) -> None:
        if self.store_is_busy():
            self.hub = None
            self.kill(5.0)
            return
        self.hub = Hub(
            self.database.settings,
            registry=self.registry,
            clock=self.clock,
            randomness=SeededRandomness(f"{process.name} {self.plan.seed}"),
            transport=lambda _private: self.network,
            workings=self.workings(process),
        )

    def _started(self, process: Process, done: asyncio.Task[None]) -> None:
        if process.alive and not done.cancelled() and (error := done.exception()) is not None:
            self.note("did not start", type(error).__name__, error)
            self.kill(5.0)

    def kill(self, down_s: float) -> None:
        """End the hub's process now; the supervisor starts another one later."""
        self.bury()
        self.outside(down_s, self.boot)

    def bury(self) -> None:
        """End the hub's process now."""
        if self.process is not None:
            self.process.die()
        if self.hub is not None:
            self.hub.presence.leave_home()
            self.graves.append(self.hub)
        self._sleepers.clear()
        self.process = self.hub = None

    def stall(self, seconds: float) -> None:
        """Stop the hub's process as SIGSTOP does, and let it go on later."""
        process = self.process
        if process is not None:
            process.stalled = True
            self.outside(seconds, lambda: self.loop.resume(process))

    async def restart(self) -> None:
        """Stop the hub in good order and start another one."""
        hub, process = self.hub, self.process
        if hub is None or process is None or not hub.ready:
            return
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        stopping = self.loop.create_task(hub.stop(), context=context)
        await asyncio.wait({stopping}, timeout=60)
        if process.alive and process is self.process:
            self.bury()
            self.boot()

    # --- a webhook arrives ------------------------------------------------------------------------------------------------

    async def ring(self, hook: Hook) -> int:
        """Bring a webhook to the hub as the web server does, and give the status that the vendor sees (0: none)."""
        hub, process = self.hub, self.process
        if hub is None or process is None or not process.alive:
            return 0
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        answering = self.loop.create_task(self._receive(hub, hook), context=context)
        done, _ = await asyncio.wait({answering}, timeout=10)
        return answering.result() if done and not answering.cancelled() else 0

    async def _receive(self, hub: Hub, hook: Hook) -> int:
        if not hub.ready:
            return 503
        path = f"/hooks/end_{hook.vendor}"
        incoming = Incoming(
            endpoint=f"end_{hook.vendor}", method="POST", url=PUBLIC + path, headers=hook.headers(), body=hook.body
        )
        try:
            return (await hub.reception.receive(incoming)).status
        except DeliveryRejected as rejection:
            return rejection.status
        except (StoreBusy, StoreClosed):
            return 503

    # --- ticks that have nothing to do --------------------------------------------------------------------------------------

    def written(self, names: list[str]) -> None:
        """Note that something was committed: whoever ticks looks again soon."""
        self.note("commit", *dict.fromkeys(names))
        self.commits += 1
        self.stir(*_BY_STORE)

    def stir(self, *names: str) -> None:
        """Let ticks look again when they are to come; without names all of them, soon."""
        for name in names or tuple(self._sleepers):
            for one in self._sleepers.pop(name, ()):
                if not one.done():
                    one.set_result(False)

    async def next_beat(self, name: str, seconds: float) -> None:
        """Wait until a tick is to come: when something is due, else seldom. A hub in production ticks in vain."""
        longest = _LONG.get(name, _LONG_TICK)[self.calm]
        began = self.loop.time()
        while True:
            due = self._next_due() if name in _BY_STORE else None
            wait = longest if due is None else (due - self.clock.now()).total_seconds()
            wait = min(max(wait, seconds), longest) - (self.loop.time() - began)
            if wait <= 0:
                return
            waiting: asyncio.Future[bool] = self.loop.create_future()
            self._sleepers.setdefault(name, []).append(waiting)
            bell = self.loop.call_later(wait, _ring, waiting)
            if await waiting:
                return
            bell.cancel()
            if name not in _BY_STORE:
                await asyncio.sleep(seconds)
                return

    def _next_due(self) -> datetime | None:
        if self._due[0] != self.commits:
            with self.database.engine.connect().execution_options(write=False) as conn, conn.begin():
                found = [conn.execute(one).scalar() for one in _DUE]
            if found[1] is not None:
                found[1] += timedelta(seconds=6)
            self._due = (self.commits, min((one for one in found if one is not None), default=None))
        return self._due[1]
