"""`lifecycle.toml`: an engagement's stage and a client's standing, derived from facts by the first rule that holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lifecyclehub.errors import MappingError, nearest
from lifecyclehub.handoffs.context import THING_SHAPES
from lifecyclehub.mapping import Condition, Undecided, compile_condition
from lifecyclehub.mapping.entries import read_toml, refuse_unknown, shown
from lifecyclehub.mapping.shape import MONEY, VALUE, Leaf, Many, Members, Shape
from lifecyclehub.model import STAGES, STANDINGS, Field

_FLAG: Final = Leaf(Field("flag"))
_FACTS: Final[dict[str, Shape]] = {
    "stage": Members(
        {
            "deal": THING_SHAPES["deal"],
            "engagement": Members({"id": VALUE, "kind": VALUE, "billing": VALUE}),
            "projects": Many(THING_SHAPES["project"]),
            "tickets": Many(THING_SHAPES["ticket"]),
            "invoices": Many(THING_SHAPES["invoice"]),
            "charges": Many(Members({"id": VALUE, "due": _FLAG, "billed": _FLAG, "amount": MONEY})),
            "today": VALUE,
        }
    ),
    "standing": Members(
        {
            "client": Members({"id": VALUE, "kind": VALUE, "name": VALUE}),
            "engagements": Many(THING_SHAPES["engagement"]),
            "today": VALUE,
        }
    ),
}
FILE: Final = "mappings/lifecycle.toml"
_CHOICES: Final = {"stage": STAGES, "standing": STANDINGS}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; the last one has no condition."""

    value: str
    when: Condition | None


@dataclass(frozen=True, slots=True)
class Derived:
    """A derived value and the condition that gave it."""

    value: str
    because: str


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The ordered rules. Facts are plain dicts; every list may be empty, `deal` may be None."""

    stages: tuple[Rule, ...]
    standings: tuple[Rule, ...]

    def stage(self, facts: Mapping[str, Any]) -> Derived | Undecided:
        """Derive an engagement's stage from `deal`, `engagement`, `projects`, `tickets`, `invoices`, `charges`, `today`."""
        return _first(self.stages, facts)

    def standing(self, facts: Mapping[str, Any]) -> Derived | Undecided:
        """Derive a client's standing from `client`, `engagements` (with their stage) and `today`."""
        return _first(self.standings, facts)


def _first(rules: tuple[Rule, ...], facts: Mapping[str, Any]) -> Derived | Undecided:
    for rule in rules:
        if rule.when is None:
            return Derived(rule.value, "no earlier rule holds")
        decision = rule.when.decide(facts)
        if isinstance(decision, Undecided):
            return decision
        if decision:
            return Derived(rule.value, rule.when.text)
    return Undecided("no rule holds")  # reading makes sure that the last rule always does


def read_lifecycle(text: str, file: str = FILE) -> Lifecycle:
    """Read and check `lifecycle.toml`. Raises MappingError."""
    raw = read_toml(text, file)
    refuse_unknown(raw, {"format", "stage", "standing"}, file, "lifecycle.toml")
    return Lifecycle(_rules(raw.get("stage"), "stage", file), _rules(raw.get("standing"), "standing", file))


def _rules(raw: Any, kind: str, file: str) -> tuple[Rule, ...]:
    if not isinstance(raw, list) or not raw or not all(isinstance(one, dict) for one in raw):
        raise MappingError(f"has no rules for {kind}.", where=file, mend=f"Write them as [[{kind}]] with is and when.")
    rules = []
    for number, one in enumerate(raw, start=1):
        where = f"{file}: {kind} rule {number}"
        refuse_unknown(one, {"is", "when"}, where, "a rule")
        if one.get("is") not in _CHOICES[kind]:
            raise MappingError(f"is = {shown(one.get('is'))}.", where=where, mend=nearest(str(one.get("is")), _CHOICES[kind]))
        if ("when" in one) == (number == len(raw)):
            raise MappingError(
                "has no when." if "when" not in one else "is the last one and has a when.",
                where=where,
                mend="Every rule has a when but the last, which holds for all the rest.",
            )
        condition = compile_condition(one["when"], where, _FACTS[kind]) if "when" in one else None
        rules.append(Rule(one["is"], condition))
    return tuple(rules)
