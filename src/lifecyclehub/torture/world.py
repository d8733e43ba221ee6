"""The world of one scenario: the tools, what is between them and the hub, the hub's process, and everything that goes wrong."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from lifecyclehub.torture.database import Database
from lifecyclehub.torture.due import CHANGES_NOTHING_DUE, MOST_EFFECTS, standing
from lifecyclehub.torture.elements import ERASE, TOOLS, Fault, Plan
from lifecyclehub.torture.erasing import Erasing
from lifecyclehub.torture.grants import KEPT_LATE_S, Rotating
from lifecyclehub.torture.keeping import Restores
from lifecyclehub.torture.loop import EPOCH, Process, VirtualClock, VirtualLoop
from lifecyclehub.torture.machine import BY_STORE, Machine
from lifecyclehub.torture.network import Hook, Hooks, Network
from lifecyclehub.torture.rules import registry_of
from lifecyclehub.torture.vendor import Vendor

if TYPE_CHECKING:
    from lifecyclehub.hub import Hub
    from lifecyclehub.torture.violation import Violation


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
        self._due: tuple[int, datetime | None] = (-1, None)
        self.graves: list[Any] = []  # what dead processes leave: swept away only after the scenario
        self.restores = Restores(self)
        self.erasing = Erasing(self) if any(one.kind == ERASE for one in plan.faults) else None
        self.drifted: list[Violation] = []
        self.machines = [Machine(self, number) for number in range(plan.hubs)]
        self._doors = Random(f"doors {plan.seed}")
        self._rung: Counter[str] = Counter()
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
        if plan.rotates:
            self.sign_in(plan.rotates)
            database.connect_too(plan.rotates)

    def sign_in(self, tool: str) -> None:
        """Give the hub credentials that rotate, as a person does who signs in at a tool."""
        vendor, now = self.vendors[tool], self.vendor_now()
        if vendor.rotating is None:
            vendor.rotating = Rotating(tool)
        self.database.sign_in(tool, vendor.rotating.issue(now), now)

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
        self._maybe_asleep(process, name)
        crash = None if self.calm else self._crashes.pop((name, self.passed[name]), None)
        if crash is None:
            return False
        if then is not None:
            then()
        self.fired["kill"] += 1
        self.fired[f"at {name}"] += 1
        self.note("killed", name)
        machine = self.machine_of(process)
        if machine is not None:
            machine.kill(crash.down_s)
        return True

    def _maybe_asleep(self, process: Process, name: str) -> None:
        """Stall a process that comes by a point where one is to sleep."""
        turn, machine = self.passed[name], self.machine_of(process)
        if machine is not None and not process.stalled:
            fault = self.take(lambda one: one.kind == "stalls there" and one.where == name and one.nth <= turn)
            if fault is not None:
                self.fire(fault)
                machine.stall(fault.seconds)

    def store_fault(self) -> str | None:
        """Say what goes wrong with the commit that is about to be."""
        self._store_turn += 1
        turn = self._store_turn
        fault = self.take(lambda one: one.kind in ("busy", "lost race", "unknown commit", "slow commit") and one.nth <= turn)
        if fault is None:
            return None
        self.fire(fault)
        for vendor in self.vendors.values():
            if vendor.rotating is not None and fault.kind in ("busy", "slow commit"):
                vendor.rotating.keeping_s = KEPT_LATE_S
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

    # --- hubs -------------------------------------------------------------------------------------------------------------

    @property
    def hub(self) -> Hub | None:
        """Give a hub that runs, None while none does."""
        return next((one.hub for one in self.machines if one.living), None)

    def next_name(self) -> str:
        """Name the next process."""
        self._born += 1
        return f"hub {self._born}"

    def machine_of(self, process: Process | None) -> Machine | None:
        """Give where a process lives; None when it does so no more."""
        return next((one for one in self.machines if process is not None and one.process is process and process.alive), None)

    def machine(self, fault: Fault) -> Machine:
        """Give the machine that a fault strikes: the one that it names, else one or the other."""
        number = int(fault.where) if fault.where.isdigit() else int(fault.nth)
        return self.machines[number % len(self.machines)]

    async def ring(self, hook: Hook) -> int:
        """Bring a webhook to a hub, or to all of them, and give the status that the vendor sees (0: none)."""
        if len(self.machines) == 1:
            return await self.machines[0].ring(hook)
        where = f"{hook.vendor} hook"
        turn = self._rung[where] = self._rung[where] + 1
        fault = self.take(lambda one: one.kind == "both doors" and one.where == where and one.nth <= turn)
        living = [one for one in self.machines if one.living] or self.machines
        first = self._doors.choice(living)
        if fault is None:
            return await first.ring(hook)
        self.fire(fault)
        others = [self.start(one.ring(hook)) for one in self.machines if one is not first]
        status = await first.ring(hook)
        await asyncio.wait(others)
        return status

    # --- ticks that have nothing to do --------------------------------------------------------------------------------------

    def written(self, names: list[str]) -> None:
        """Note that something was committed: whoever ticks looks again soon."""
        self.note("commit", *dict.fromkeys(names))
        rotating = self.vendors[self.plan.rotates].rotating if self.plan.rotates else None
        if rotating is not None and "_replacing" in names:
            rotating.kept.add(self.database.kept_refresh_token(self.plan.rotates))
        if "has_looked_back" in names:
            self.restores.looked_back()
        if not CHANGES_NOTHING_DUE.issuperset(names):
            self.commits += 1
            self.stir(*BY_STORE)

    def stir(self, *names: str) -> None:
        """Let ticks look again when they are to come; without names all of them, soon."""
        for one in self.machines:
            one.stir(*names)

    def next_due(self) -> datetime | None:
        """Give the moment when the first effect or notice is due."""
        if self._due[0] != self.commits:
            with self.database.engine.connect().execution_options(write=False) as conn, conn.begin():
                found = standing(conn)
            if found.effects > MOST_EFFECTS:
                self.loop.endless = f"{found.effects} effects were planned"
            self._due = (self.commits, found.due)
        return self._due[1]
