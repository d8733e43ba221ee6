"""One scenario from its first moment to its verdict: chaos, healing, liveness, replay."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from sqlalchemy import text

from lifecyclehub.store import leases
from lifecyclehub.torture.apart import kept_waiting, made_by_hub
from lifecyclehub.torture.check import Checker
from lifecyclehub.torture.database import CLOSED, STANDING, TICKET, WON, Database
from lifecyclehub.torture.elements import CHAOS_S, RESTORE, Plan
from lifecyclehub.torture.loop import EPOCH, Endless, Stuck
from lifecyclehub.torture.persons import Persons
from lifecyclehub.torture.strikes import STRIKES, set_right, strike
from lifecyclehub.torture.violation import Violation
from lifecyclehub.torture.world import World

PATIENCE_S: Final = 12 * 3600.0  # after healing everything must have come to an end by then: tries are an hour apart at most
_SWEPT_S: Final = 1000.0  # by then every kind was swept again
_LOOK_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a scenario came to."""

    plan: Plan
    violations: tuple[Violation, ...]
    digest: str
    fired: Counter[str]
    passed: Counter[str]
    virtual_s: float
    steps: int
    lines: tuple[str, ...] = ()
    made: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def run(
    plan: Plan,
    database: Database,
    *,
    keep_trace: bool = False,
    until: float | None = None,
    meddle: Callable[[Scenario], None] = lambda _: None,
) -> Verdict:
    """Run one scenario on a database that is brought back to its first state. `meddle` may spoil a world that is at rest.

    One with a dead tool is played without it too: both must come to the same, nearly as soon.
    """
    verdict = _run(plan, database, keep_trace=keep_trace, until=until, meddle=meddle)
    if not plan.dead or not plan.faults or verdict.violations:
        return verdict
    alive = _run(replace(plan, faults=()), database, keep_trace=False, until=until, meddle=meddle)
    noticed = tuple(kept_waiting(plan.dead, plan.acts, alive.made, verdict.made, CHAOS_S - 20.0))
    return replace(verdict, violations=(*alive.violations, *noticed), steps=verdict.steps + alive.steps)


def _run(
    plan: Plan,
    database: Database,
    *,
    keep_trace: bool,
    until: float | None,
    meddle: Callable[[Scenario], None],
) -> Verdict:
    database.reset()
    database.switch((WON, CLOSED, TICKET, *((STANDING,) if plan.standing else ())))
    world = World(plan, database, keep_trace=keep_trace)
    leases_by = leases.database_time
    if plan.hubs > 1 or database.dialect != "sqlite":  # what several hubs share has one clock, and that is right
        leases.database_time = lambda conn, now: world.vendor_now()  # noqa: ARG005
    asyncio.set_event_loop(world.loop)
    scenario = Scenario(world, meddle)
    gc.disable()  # what is swept away at some moment must not depend on the machine
    unraisable, sys.unraisablehook = sys.unraisablehook, lambda _: None  # dead processes leave coroutines in the middle
    try:
        main = world.loop.create_task(scenario.play(), context=contextvars.Context())
        if until is not None:
            world.outside(until, lambda: _cut(main))
        world.loop.run_until_complete(main)
    except asyncio.CancelledError:
        scenario.violations.append(Violation("cut", "the scenario was cut short"))
    except Stuck:
        scenario.violations.append(Violation("I18", "nothing happens any more, and the scenario is not over"))
    except Endless as endless:
        scenario.violations.append(Violation("I10 loop", f"the hub goes in circles: {endless}"))
    finally:
        leases.database_time = leases_by
        for machine in world.machines:
            machine.bury()
        world.loop.sweep_away()
        asyncio.set_event_loop(None)
        world.loop.close()
        world.graves.clear()
        gc.collect(1)
        gc.enable()
        sys.unraisablehook = unraisable
    return Verdict(
        plan=plan,
        violations=tuple(scenario.violations),
        digest=world.digest(),
        fired=world.fired,
        passed=world.passed,
        virtual_s=world.loop.time(),
        steps=world.loop.steps,
        lines=tuple(world.lines or ()),
        made=made_by_hub(world.vendors, EPOCH.timestamp()),
    )


class Scenario:
    """Plays one plan."""

    def __init__(self, world: World, meddle: Callable[[Scenario], None]) -> None:
        self.world, self._meddle = world, meddle
        self.persons = Persons(world)
        self.violations: list[Violation] = []

    async def play(self) -> None:
        """Play all phases; stops at the first one that shows something wrong."""
        world = self.world
        for machine in world.machines:
            machine.boot()
        for act in world.plan.acts:
            world.outside(act.at, lambda act=act: self.persons.do(act))  # type: ignore[misc]
        for fault in [one for one in world.left if one.kind == RESTORE]:
            world.left.remove(fault)
            world.restores.prepare(fault)
        for fault in [one for one in world.left if one.kind in STRIKES]:
            world.left.remove(fault)
            world.outside(fault.nth, lambda fault=fault: strike(world, fault))  # type: ignore[misc]
        world.outside(CHAOS_S / 2, self.persons.resume_all)
        await asyncio.sleep(CHAOS_S)
        await self._heal()
        checker = Checker(world, self.persons)
        at_rest = await self._quiet("after the chaos")
        self._meddle(self)
        wrong = checker.everything()
        if at_rest and any(
            one.missing for one in wrong
        ):  # what no webhook told and no sweep saw is found by the nightly full pass
            world.fire("listed in full")
            self.persons.list_in_full()
            at_rest = await self._quiet("after everything was listed")
            wrong = checker.everything()
        self.violations += wrong
        if at_rest and not self.violations:
            await self._replay(checker)

    # --- healing and liveness ---------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        world = self.world
        world.calm = True
        world.note("heal")
        world.hooks.outages.clear()
        world.hooks.down.clear()
        world.hooks.hanging.clear()
        set_right(world)
        for vendor in world.vendors.values():
            vendor.access = True
            vendor.mend()
        for machine in world.machines:
            machine.wake()
        await asyncio.sleep(180)  # whoever was killed is back by then
        self.persons.resume_all()

    async def _quiet(self, when: str) -> bool:
        """Wait until nothing is open; persons answer for what waits for them. False when it never comes to an end."""
        world = self.world
        began = world.loop.time()
        await asyncio.sleep(_SWEPT_S)
        calm = 0
        while world.loop.time() - began < PATIENCE_S:
            await asyncio.sleep(_LOOK_S if calm else 200.0)
            if self.persons.sign_in_where_asked() or self._open():
                calm = 0
                continue
            answered = await self.persons.answer_parked()
            if answered or (world.erasing is not None and world.erasing.waits):  # until nothing is in the way any more
                calm = 0
                continue
            if calm == 0:
                await self.persons.replay_parked()
            calm += 1
            if calm > 2:
                return True
        self.violations.append(Violation("I18", f"not at rest {PATIENCE_S / 3600:.0f} h {when}: {self._open()}"))
        return False

    def _open(self) -> list[str]:
        """Say what is open."""
        with self.world.database.engine.connect().execution_options(write=False) as conn, conn.begin():
            found = [f"{row.n} {row.what} {row.state}" for row in conn.execute(_OPEN)]
        return [*found, f"{self.world.hooks.open} hooks"] if self.world.hooks.open else found

    # --- replay -----------------------------------------------------------------------------------------------------------

    async def _replay(self, checker: Checker) -> None:
        """Once nothing outside changes, the hub writes nothing more, whatever it is told again (P3)."""
        world = self.world
        world.note("replay")
        before = {name: vendor.writes() for name, vendor in world.vendors.items()}
        hooks = list(world.hooks.sent)
        Random(f"replay {world.plan.seed}").shuffle(hooks)
        for number, hook in enumerate(hooks):
            world.hooks.send(replace(hook, delivery=f"again-{number}"))
        await self.persons.replay_all()
        await self.persons.replay_parked()
        if await self._quiet("after the replay"):
            after = {name: vendor.writes() for name, vendor in world.vendors.items()}
            for name, count in before.items():
                if after[name] != count:
                    lines = world.vendors[name].history[-(after[name] - count) :]
                    self.violations.append(Violation("P3", f"{name}: {after[name] - count} more writes after a replay: {lines}"))
            self.violations += checker.everything()


def _cut(main: asyncio.Task[None]) -> None:
    main.cancel()


_OPEN: Final = text(
    "SELECT 'deliveries' AS what, state, count(*) AS n FROM delivery WHERE state IN ('open', 'held') GROUP BY state"
    " UNION ALL SELECT 'notices', state, count(*) FROM notice WHERE state = 'open' GROUP BY state UNION ALL"
    " SELECT 'effects', state, count(*) FROM effect WHERE state IN ('planned', 'ready', 'in flight', 'in doubt') GROUP BY state"
)
