"""What further worlds hold, each drawn from a stream of its own: what an older seed meets otherwise stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from lifecyclehub.torture.apart import MAY_DIE
from lifecyclehub.torture.elements import APART, CHAOS_S, DRIFTS, ERASE, REFRESH, RESTORE, TOOLS, Act, Crash, Fault, Plan

# What goes wrong where two hubs share a store: one sleeps for longer than its lease or dies for longer than that; both are
# told the same; one sleeps at a certain point.
HUBS: Final = ("hub stalls", "hub dies", "both doors", "stalls there")
# What goes wrong with a grant whose refresh tokens serve once.
GRANTS: Final = (*REFRESH, "access ends")
# What an admin does to the whole store; and tools that change their ways.
KEEPING: Final = (RESTORE, "the key is changed")
FURTHER: Final = (*HUBS, *GRANTS, *KEEPING, *DRIFTS, *APART, ERASE)
FURTHER_POINTS: Final = tuple(
    f"{place} {when}"
    for place, moments in (("refresh", ("leaves", "acted", "answered")), ("_replacing", ("before", "inside", "after")))
    for when in moments
)
ERASE_POINTS: Final = tuple(
    f"{operation} {when}" for operation in ("begin_erasure", "take_out") for when in ("before", "inside", "after")
)

_ASLEEP_AT: Final = (
    "keep after",
    "split before",
    "split after",
    "SettleAndDecide after",
    "TakeClaims before",
    "TakeClaims after",
    "WriteReceipts before",
    "WriteReceipts after",
    "Advance after",
    *(f"{tool} write {when}" for tool in TOOLS for when in ("leaves", "answered")),
)
_LEASE_OVER_S: Final = (40.0, 70.0, 150.0)


def further(plan: Plan) -> Plan:
    """Give the plan with what further worlds add to it."""
    apart = _apart(plan)
    if apart is not None:
        return apart
    for world in _ADDED:
        plan = world(plan)
    return plan


def _with(plan: Plan, faults: list[Fault]) -> Plan:
    return replace(plan, faults=(*plan.faults, *faults))


def _several(dice: Random, chance: float, most: int, made: Callable[[], Fault]) -> list[Fault]:
    return [made() for _ in range(dice.randint(1, most))] if dice.random() < chance else []


def _two_hubs(plan: Plan) -> Plan:
    """Two hubs share the store."""
    dice = Random(f"hubs {plan.seed}")
    if dice.random() >= 0.15:
        return plan
    long = (*_LEASE_OVER_S, 300.0)

    def at_some_time(kind: str) -> Fault:
        return Fault(kind, str(dice.randrange(2)), dice.uniform(5, CHAOS_S), dice.choice(long))

    faults = [
        *_several(dice, 0.6, 2, lambda: at_some_time("hub stalls")),
        *_several(dice, 0.6, 2, lambda: at_some_time("hub dies")),
        *_several(dice, 0.6, 4, lambda: Fault("both doors", f"{dice.choice(TOOLS)} hook", dice.randint(1, 6))),
        *_several(
            dice,
            0.7,
            3,
            lambda: Fault("stalls there", dice.choice(_ASLEEP_AT), dice.randint(1, 4), dice.choice(_LEASE_OVER_S)),
        ),
    ]
    if dice.random() < 0.5:  # it sleeps with an answer in its hands, and wakes while the other one is just sending
        tool, turn = dice.choice(TOOLS), dice.randint(1, 3)
        faults += [
            Fault("429", f"{tool} write", turn),
            Fault("stalls there", f"{tool} write answered", turn, dice.choice(_LEASE_OVER_S)),
            Fault(dice.choice(("slow", "no answer, done", "late")), f"{tool} write", turn + 1, 8.0),
        ]
    return replace(_with(plan, faults), hubs=2)


def _rotating_grant(plan: Plan) -> Plan:
    """One tool's refresh tokens serve once, and two connections use its grant."""
    dice = Random(f"grants {plan.seed}")
    if dice.random() >= 0.15:
        return plan
    tool = dice.choice(TOOLS)
    faults = [
        fault
        for kind in REFRESH
        for fault in _several(
            dice,
            0.4,
            2,
            lambda kind=kind: Fault(kind, f"{tool} refresh", dice.randint(1, 6), dice.choice((1.0, 8.0))),  # type: ignore[misc]
        )
    ]
    faults += _several(dice, 0.6, 3, lambda: Fault("access ends", tool, dice.uniform(5, CHAOS_S)))
    crashes = [
        Crash(dice.choice(FURTHER_POINTS), dice.choice((1, 1, 1, 2, 3)), dice.choice((0.2, 2.0, 30.0)))
        for _ in range(dice.randint(1, 4))
    ]
    return replace(_with(plan, faults), rotates=tool, crashes=(*plan.crashes, *crashes))


def _restored(plan: Plan) -> Plan:
    """A backup is put back that is some time old."""
    dice = Random(f"restore {plan.seed}")
    if dice.random() >= 0.06:
        return plan
    return _with(plan, [Fault(RESTORE, "", dice.uniform(60, CHAOS_S - 50), dice.choice((10.0, 40.0, 200.0)))])


def _new_key(plan: Plan) -> Plan:
    """The key is changed while the hub works. Of one that sleeps through it, or has another home, more is asked of an admin."""
    dice = Random(f"key {plan.seed}")
    sleeps = any("stall" in one.kind for one in plan.faults)
    if dice.random() >= 0.08 or plan.hubs > 1 or sleeps:
        return plan
    return _with(plan, [Fault("the key is changed", "", dice.uniform(5, CHAOS_S - 150), dice.choice((0.0, 15.0)))])


def _drift(plan: Plan) -> Plan:
    """A tool changes its ways for a while."""
    dice = Random(f"drift {plan.seed}")
    if dice.random() >= 0.1:
        return plan
    kinds = dice.sample(tuple(DRIFTS), dice.randint(1, 2))
    tools = ("crm", "projects", "desk")
    return _with(
        plan, [Fault(kind, dice.choice(tools), dice.uniform(1, 300), dice.choice((20.0, 100.0, 250.0))) for kind in kinds]
    )


def _erased(plan: Plan) -> Plan:
    """A person is erased while work goes on for their company. A backup that is put back is left to the stories."""
    dice = Random(f"erase {plan.seed}")
    if dice.random() >= 0.1 or any(one.kind == RESTORE for one in plan.faults):
        return plan
    crashes = [
        Crash(point, 1 if point.startswith("begin") else dice.choice((1, 1, 2, 3, 5, 8)), dice.choice((0.2, 2.0, 30.0)))
        for point in dice.choices(ERASE_POINTS, k=dice.randint(0, 3))
    ]
    erase = Fault(ERASE, "", dice.uniform(20, CHAOS_S - 50), dice.choice((5.0, 40.0, 200.0)))
    return replace(_with(plan, [erase]), crashes=(*plan.crashes, *crashes))


def _told_to_wait(plan: Plan) -> Plan:
    """A tool asks for quiet, and who heard it dies: whoever comes after it waits all the same."""
    dice = Random(f"quiet {plan.seed}")
    if dice.random() >= 0.04:
        return plan
    asked = Fault("429 in seconds", f"{dice.choice(TOOLS)} write", dice.randint(1, 2), 30.0)
    death = Crash("WriteReceipts after", dice.randint(1, 4), dice.choice((0.2, 2.0)))
    return replace(_with(plan, [asked]), crashes=(*plan.crashes, death))


def _copied(plan: Plan) -> Plan:
    """Nobody answers that a project was made, and before that can be looked up a person copies it: a person says which it is."""
    dice = Random(f"copies {plan.seed}")
    won = next((one for one in plan.acts if one.what == "win"), None)
    if dice.random() >= 0.04 or won is None:
        return plan
    made = Fault(dice.choice(("no answer, done", "reset, done", "5xx, done")), "projects write", 1)
    unasked = Fault("outage", "projects", won.at + dice.uniform(1.5, 4.0), 100.0)
    copy = Act(won.at + dice.uniform(6.0, 30.0), "copy project", won.deal)
    acts = tuple(sorted((*plan.acts, copy), key=lambda act: act.at))
    return replace(_with(plan, [made, unasked]), acts=acts)


def _long_in_doubt(plan: Plan) -> Plan:
    """Nobody answers, and the tool cannot be asked until it has forgotten the key of then."""
    dice = Random(f"doubt {plan.seed}")
    forgetful = [tool for tool, one in zip(TOOLS, plan.characters, strict=True) if one.once == "key for a while"]
    won = next((one for one in plan.acts if one.what == "win"), None)
    if not forgetful or dice.random() >= 0.1 or won is None:
        return plan
    tool = dice.choice(forgetful)
    lost = [Fault(dice.choice(("no answer, done", "reset, done", "5xx, done")), f"{tool} write", turn) for turn in (1, 2, 3)]
    return _with(plan, [*lost, Fault("outage", tool, won.at + dice.uniform(1.5, 9.0), dice.uniform(260.0, 330.0))])


def _seen_first(plan: Plan) -> Plan:
    """A tool's records carry no marker, and it shows what the hub drafted before it answers."""
    dice = Random(f"seen first {plan.seed}")
    if plan.characters[TOOLS.index("books")].once != "never" or dice.random() >= 0.2:
        return plan
    return _with(plan, [Fault("slow", "books write", 2, 8.0) for _ in range(3)])


def _apart(plan: Plan) -> Plan | None:
    """One tool is dead from the beginning to the end of the chaos, and else nothing goes wrong: it stands in no other's way."""
    dice = Random(f"apart {plan.seed}")
    if dice.random() >= 0.06:
        return None
    dead = dice.choice(MAY_DIE)
    acts = tuple(act for act in plan.acts if act.what in ("inquire", "win", "ticket", "close"))
    fault = Fault(dice.choice(APART), dead, 0.2, CHAOS_S)
    return replace(plan, acts=acts, faults=(fault,), crashes=(), dead=dead)


_ADDED: Final = (
    _two_hubs,
    _rotating_grant,
    _restored,
    _new_key,
    _drift,
    _erased,
    _told_to_wait,
    _copied,
    _long_in_doubt,
    _seen_first,
)
