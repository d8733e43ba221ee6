"""Handoffs that would call for each other without end: what the effects of one write, the conditions of another read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lifecyclehub.errors import MappingError, nearest
from lifecyclehub.handoffs.handoff import Effect, Handoff
from lifecyclehub.handoffs.lifecycle import Lifecycle
from lifecyclehub.mapping import Expression
from lifecyclehub.mapping.syntax import Path
from lifecyclehub.model import THINGS, field_at

DERIVED: Final = {"engagement.stage": "stages", "client.standing": "standings"}
"""Fields of ours that follow from others by lifecycle.toml. No tool can answer by changing them."""
CREATES: Final = {"create_project": "project", "create_draft_invoice": "invoice"}
_WRITES: Final = {"rename_project": ("project.title",)}
_PLURALS: Final = {f"{thing}s": thing for thing in (*THINGS, "engagement")}


@dataclass(frozen=True, slots=True)
class _Step:
    """One handoff calls for another: its effect writes `field` (or creates a thing), which that one reads."""

    caller: Handoff
    effect: Effect
    field: str
    called: Handoff

    def told(self) -> str:
        what = f"creates a {self.field}" if "." not in self.field else f"writes {self.field}"
        reads = "acts for each" if "." not in self.field else "reads"
        return f'{self.caller.id} (effect "{self.effect.name}") {what}, which {self.called.id} {reads}'


def refuse_circles(handoffs: Sequence[Handoff], lifecycle: Lifecycle, file: str) -> None:
    """Raise MappingError that names the handoffs of a circle, and which field leads from each to the next."""
    steps = {one.id: list(_steps(one, handoffs, lifecycle)) for one in handoffs}
    for one in handoffs:
        circle = _circle(one.id, steps)
        if circle:
            names = " → ".join([*(step.caller.id for step in circle), circle[-1].called.id])
            raise MappingError(
                f"handoffs call for each other without end: {names}. {'; '.join(step.told() for step in circle)}.",
                where=f'{file}: handoff "{circle[0].caller.id}"',
                mend="Write another field, or let one of the conditions ask for another one.",
            )


def _circle(start: str, steps: Mapping[str, Sequence[_Step]]) -> list[_Step]:
    """Give the shortest way from a handoff back to itself; nothing when there is none."""
    ways: list[list[_Step]] = [[step] for step in steps[start]]
    met: set[str] = set()
    while ways:
        way = ways.pop(0)
        here = way[-1].called.id
        if here == start:
            return way
        if here not in met:
            met.add(here)
            ways += [[*way, step] for step in steps[here]]
    return []


def _steps(caller: Handoff, handoffs: Sequence[Handoff], lifecycle: Lifecycle) -> Iterator[_Step]:
    for effect in caller.effects:
        created, fields = CREATES.get(effect.action), written(effect)
        for called in handoffs:
            if created is not None and called.per == created:
                yield _Step(caller, effect, created, called)
            for field in sorted(fields & _read(called, lifecycle)):
                yield _Step(caller, effect, field, called)


def written(effect: Effect) -> frozenset[str]:
    """Give the fields that an effect writes and that a tool may show us as news. Raises MappingError.

    Which fields `set_fields` writes must stand in the file, or nobody could say what they set off.
    """
    fields = set(_WRITES.get(effect.action, ()))
    if effect.action == "set_fields":
        fields |= _set(effect)
    return frozenset(fields) - DERIVED.keys()


def _set(effect: Effect) -> set[str]:
    found: set[str] = set()
    for entry in effect.entries:
        if entry.path != "with.values":
            continue
        names = _members(entry.expression) if entry.expression is not None else entry.default
        if names is None or isinstance(names, str):
            raise MappingError(
                "with.values must name its fields.",
                where=effect.where,
                mend='Write values = { from = "{\\"deal.custom.<name>\\": …}" }.',
            )
        for name in names:
            if field_at(name) is None:
                known = [f"{thing}.{one}" for thing, fields in THINGS.items() for one in fields]
                raise MappingError(f"with.values: there is no field {name}.", where=effect.where, mend=nearest(name, known))
        found |= set(names)
    return found


def _members(expression: Expression) -> list[str] | None:
    tree = expression.tree
    if tree["type"] != "multi_select_dict":
        return None
    return [str(child["value"]) for child in tree["children"]]


def _read(handoff: Handoff, lifecycle: Lifecycle) -> frozenset[str]:
    """Give the fields that make a handoff act, or act again: those that derived fields follow from among them."""
    expressions: list[Any] = [handoff.when, *(effect.when for effect in handoff.effects if effect.when is not None)]
    expressions += [one for effect in handoff.effects for one in (effect.each, effect.item) if one is not None]
    fields = {_field(path) for expression in expressions for path in expression.paths}
    for _ in DERIVED:  # a standing follows from stages, and these from facts
        for name in fields & DERIVED.keys():
            rules = getattr(lifecycle, DERIVED[name])
            fields |= {_field(path) for rule in rules if rule.when is not None for path in rule.when.paths}
    return frozenset(fields)


def _field(path: Path) -> str:
    thing, *names = [name for name in path if name != "[]"]
    return ".".join([_PLURALS.get(thing, thing), *names])
