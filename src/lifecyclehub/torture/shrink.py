"""Shrinking a failing scenario: leave out what it does not need, until nothing more can be left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from lifecyclehub.torture.plan import Act, Crash, Fault, Plan

T = TypeVar("T")
Fails = Callable[[Plan], bool]


def shrunk(plan: Plan, fails: Fails) -> Plan:
    """Give a smaller plan that fails as well."""
    plan = replace(plan, faults=_fewer(plan.faults, lambda some: fails(replace(plan, faults=some))))
    plan = replace(plan, crashes=_fewer(plan.crashes, lambda some: fails(replace(plan, crashes=some))))
    plan = replace(plan, acts=_fewer(plan.acts, lambda some: fails(replace(plan, acts=some))))
    return replace(plan, faults=_fewer(plan.faults, lambda some: fails(replace(plan, faults=some))))


def _fewer(elements: Sequence[T], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """Leave out ever smaller parts (delta debugging)."""
    kept = tuple(elements)
    size = max(len(kept) // 2, 1)
    while kept:
        start = 0
        while start < len(kept):
            without = kept[:start] + kept[start + size :]
            if fails(without):
                kept = without
            else:
                start += size
        if size == 1:
            return kept
        size //= 2
    return kept


def elements(plan: Plan) -> dict[str, list[int]]:
    """Give which elements of the seed's own plan are left, by their numbers, to write them on a command line."""
    from lifecyclehub.torture.plan import plan_of

    whole = plan_of(plan.seed)
    return {
        "acts": _numbers(whole.acts, plan.acts),
        "faults": _numbers(whole.faults, plan.faults),
        "crashes": _numbers(whole.crashes, plan.crashes),
    }


def _numbers(whole: Sequence[Act] | Sequence[Fault] | Sequence[Crash], left: Sequence[object]) -> list[int]:
    rest = list(left)
    found = []
    for number, one in enumerate(whole):
        if one in rest:
            rest.remove(one)
            found.append(number)
    return found


def only(plan: Plan, text: str) -> Plan:
    """Give the plan with only the elements that are named, written as `acts=0,1;faults=3;crashes=`."""
    named = {part.partition("=")[0]: part.partition("=")[2] for part in text.split(";") if part}
    chosen = {name: [int(one) for one in numbers.split(",") if one] for name, numbers in named.items()}
    return replace(
        plan,
        acts=tuple(plan.acts[number] for number in chosen.get("acts", range(len(plan.acts)))),
        faults=tuple(plan.faults[number] for number in chosen.get("faults", range(len(plan.faults)))),
        crashes=tuple(plan.crashes[number] for number in chosen.get("crashes", range(len(plan.crashes)))),
    )


def written(plan: Plan) -> str:
    """Write what is left of a plan for `only`."""
    return ";".join(f"{name}={','.join(map(str, numbers))}" for name, numbers in elements(plan).items())
