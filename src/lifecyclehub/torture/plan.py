"""What a scenario is made of, drawn from its seed: tools' characters, what persons do, and what goes wrong.

Everything that goes wrong is one element of a list, so that a failing scenario can be shrunk by leaving elements out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from lifecyclehub.torture.elements import CHAOS_S, ERASE, TOOLS, Act, Crash, Fault, Plan
from lifecyclehub.torture.tools import ONCE, Character
from lifecyclehub.torture.worlds import ERASE_POINTS, FURTHER, FURTHER_POINTS, further

# What goes wrong with a request to a vendor: (kind, whether writes or reads meet it).
OUT: Final[dict[str, tuple[str, ...]]] = {
    "refused": ("write", "read"),
    "reset before": ("write", "read"),
    "no answer, not done": ("write", "read"),
    "no answer, done": ("write",),
    "reset, done": ("write",),
    "late": ("write",),
    "5xx, not done": ("write", "read"),
    "5xx, done": ("write",),
    "5xx kept": ("write",),
    "429": ("write", "read"),
    "429 in seconds": ("write", "read"),
    "429 until a date": ("write", "read"),
    "401": ("write", "read"),
    "403": ("read",),
    "garbage, done": ("write",),
    "page instead": ("write", "read"),
    "error in 200": ("write",),
    "redirect": ("write", "read"),
    "slow": ("write", "read"),
    "nothing done, 200": ("write",),
    "half a look-up": ("read",),
}
# What goes wrong with a webhook.
IN: Final = ("twice", "lost once", "lost for ever", "late hook", "forged", "damaged", "said again", "old again")
# What goes wrong in the database.
STORE: Final = ("busy", "lost race", "unknown commit", "slow commit")
# What goes wrong with our own process and clock.
PROCESS: Final = ("kill", "stall", "restart", "clock ahead", "clock back")
# What goes wrong at a vendor for a while.
VENDOR: Final = ("outage", "down", "access lost")
_FIRST: Final = (*OUT, *IN, *STORE, *PROCESS, *VENDOR)
KINDS: Final = (*_FIRST, *FURTHER)


# Each set of characters is one set of rules to be read, so there are only so many.
_HOWS: Final = tuple(ONCE)
_ORDERS: Final = (("version", True), ("version", False), ("time", True), ("time", False), ("none", False))
CASTS: Final = tuple(
    tuple(
        Character(_HOWS[(number + 3 * place) % len(_HOWS)], *_ORDERS[(number + place) % len(_ORDERS)])
        for place in range(len(TOOLS))
    )
    for number in range(10)
)
PATIENCE: Final = ("stubborn", "three times", "once")

_POINTS: Final = (
    *(
        f"{operation} {when}"
        for operation in (
            "keep",
            "split",
            "SettleAndDecide",
            "TakeClaims",
            "WriteReceipts",
            "open_held",
            "Advance",
            "_later",
            "_came_to",
            "expire",
            "fail",
        )
        for when in ("before", "inside", "after")
    ),
    *(f"{tool} {sort} {when}" for tool in TOOLS for sort in ("write", "read") for when in ("leaves", "acted", "answered")),
)
_SELDOM: Final = tuple(one for one in _POINTS if one.startswith(("_later", "fail", "desk write", "books write")))
POINTS: Final = (*_POINTS, *FURTHER_POINTS, *ERASE_POINTS)


def plan_of(seed: int) -> Plan:
    """Draw the scenario of a seed, with what further worlds hold, and deaths at each point often enough.

    Where one tool is dead and the rest must not notice, nobody dies: a point that only its failures lead to would not be
    passed in the world that it is compared with.
    """
    plan = further(plain(seed))
    if plan.dead:
        return plan
    dice = random.Random(f"deaths {seed}")
    if dice.random() >= 0.6:
        return plan
    deaths = tuple(
        Crash(dice.choice((*_POINTS, *_SELDOM, *_SELDOM)), 1, dice.choice((0.2, 2.0, 30.0))) for _ in range(dice.randint(1, 3))
    )
    return replace(plan, crashes=(*plan.crashes, *deaths))


def plain(seed: int) -> Plan:
    """Draw the scenario of a seed in the first of all worlds: one hub, tools that keep their ways, no restore."""
    dice = random.Random(f"plan {seed}")
    cast = CASTS[seed % len(CASTS)]
    deals = dice.choice((1, 1, 1, 2, 2, 3))
    kinds = [kind for kind in _FIRST if dice.random() < dice.choice((0.1, 0.3, 0.5))]
    return Plan(
        seed=seed,
        characters=cast,
        patience=tuple(dice.choice(PATIENCE) for _ in TOOLS),
        lags=tuple(dice.choice((0.0, 0.0, 3.0, 14.0)) for _ in TOOLS),
        standing=dice.random() < 0.4,
        acts=tuple(sorted((act for deal in range(deals) for act in _acts(dice, deal)), key=lambda act: act.at)),
        faults=tuple(fault for kind in kinds for fault in _faults(dice, kind)),
        crashes=_crashes(dice) if "kill" in kinds else (),
    )


def _acts(dice: random.Random, deal: int) -> list[Act]:
    """What happens to one deal: it is won for certain, the rest by chance."""
    at = dice.uniform(1, 120)
    acts = [Act(at, "inquire", deal)]
    at += dice.uniform(0, 60)
    acts.append(Act(at, "win", deal))
    for what, chance in (
        ("rename deal", 0.2),
        ("lose", 0.15),
        ("edit project", 0.2),
        ("ticket", 0.5),
        ("ticket early", 0.15),
        ("copy project", 0.06),
        ("merge company", 0.1),
        ("pause", 0.08),
        ("delete ticket", 0.05),
        ("double click", 0.1),
        ("edit rules", 0.08),
        ("foreign standing", 0.1),
    ):
        if dice.random() < chance:
            acts.append(Act(at + dice.uniform(0, 250), what, deal, dice.choice((5.0, 60.0, 200.0))))
    if dice.random() < 0.7:
        closed = at + dice.uniform(30, 200)
        acts.append(Act(closed, "close", deal))
        if dice.random() < 0.15:
            acts.append(Act(closed + dice.uniform(1, 120), "reopen", deal))
    return acts


def _faults(dice: random.Random, kind: str) -> list[Fault]:
    return [_fault(dice, kind) for _ in range(dice.choice((1, 1, 2, 4)))]


def _fault(dice: random.Random, kind: str) -> Fault:
    if kind in OUT:
        sort = dice.choice(OUT[kind])
        return Fault(kind, f"{dice.choice(TOOLS)} {sort}", _early(dice), dice.choice((0.5, 3.0, 8.0, 30.0)))
    if kind in IN:
        return Fault(kind, f"{dice.choice(TOOLS)} hook", _early(dice), dice.choice((0.1, 5.0, 60.0, 300.0)))
    if kind in STORE:
        return Fault(kind, "", dice.randint(3, 120), dice.choice((0.5, 5.0, 20.0, 60.0)))
    if kind in VENDOR:
        long = dice.choice((30.0, 100.0, 400.0))
        return Fault(kind, dice.choice(TOOLS), dice.uniform(1, CHAOS_S), long)
    return Fault(kind, "", dice.uniform(5, CHAOS_S), dice.choice((2.0, 40.0, 200.0, 3600.0)))


def _early(dice: random.Random) -> int:
    return dice.choice((1, 1, 2, 3, 4, 5, 7, 10))


def _crashes(dice: random.Random) -> tuple[Crash, ...]:
    count = dice.choice((1, 1, 2, 3, 6))
    return tuple(
        Crash(dice.choice(_POINTS), dice.choice((1, 1, 2, 3, 5)), dice.choice((0.2, 2.0, 30.0, 120.0))) for _ in range(count)
    )


def matrix() -> Iterator[Plan]:
    """Give a plan for each crash point and a few quiet scenarios, killed when the point is first passed."""
    acts = (
        Act(2.0, "inquire", 0),
        Act(8.0, "win", 0),
        Act(120.0, "ticket", 0),
        Act(200.0, "close", 0),
    )
    for point in POINTS:
        for cast in (0, 6):
            quiet = plain(cast) if point not in FURTHER_POINTS else replace(plain(cast), rotates="projects")
            faults = (Fault(ERASE, "", 250.0, 20.0),) if point in ERASE_POINTS else ()
            yield replace(quiet, acts=acts, faults=faults, crashes=(Crash(point, 1, 2.0),))


__all__ = ["CHAOS_S", "IN", "KINDS", "OUT", "POINTS", "TOOLS", "Act", "Crash", "Fault", "Plan", "matrix", "plain", "plan_of"]
