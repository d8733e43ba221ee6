"""What a handoff's expressions may look at. The caller builds it as plain nested dicts and lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from lifecyclehub.mapping.shape import ACCOUNT, MONEY, OPEN, VALUE, Leaf, Many, Members, Shape, thing_shape
from lifecyclehub.model import STAGES, Field

_ENGAGEMENT: Final = Members(
    {
        "id": VALUE,
        "url": VALUE,
        "kind": Leaf(Field("choice", ("project", "retainer"))),
        "billing": Leaf(Field("choice", ("fixed", "milestones", "retainer", "time", "none"))),
        "stage": Leaf(Field("choice", STAGES)),
        "stage_since": VALUE,
    }
)
THING_SHAPES: Final[dict[str, Shape]] = {
    "client": Members({**thing_shape("client").of, "standing_since": VALUE}),
    "contact": thing_shape("contact"),
    "billing": thing_shape("contact"),
    "deal": thing_shape("deal"),
    "engagement": _ENGAGEMENT,
    "project": thing_shape("project"),
    "invoice": thing_shape("invoice"),
    "ticket": thing_shape("ticket"),
}
_PEOPLE: Final = ("client", "contact", "billing")
VISIBLE: Final[dict[str, tuple[str, ...]]] = {
    "client": _PEOPLE,
    "deal": (*_PEOPLE, "deal", "engagement", "project", "invoice"),
    "project": (*_PEOPLE, "deal", "engagement", "project", "invoice"),
    "ticket": (*_PEOPLE, "deal", "engagement", "project", "ticket"),
}
"""Which things a handoff sees, by what it is per."""

CHARGE: Final = Members({"description": VALUE, "amount": MONEY, "charge": VALUE})
LINKS: Final = Members(dict.fromkeys(("client", "contact", "deal", "engagement", "project", "ticket", "invoice"), VALUE))
MADE: Final = Members({"record": VALUE, "url": VALUE})
_CALENDAR: Final[dict[str, Shape]] = {"today": VALUE, "zone": VALUE}


def subject_shape(per: str) -> dict[str, Shape]:
    """Give what a handoff's own condition sees: the things around its subject, `today` and `zone`."""
    return {name: THING_SHAPES[name] for name in VISIBLE[per]} | _CALENDAR


def effect_shape(per: str, tables: Mapping[str, Shape]) -> dict[str, Shape]:
    """Give what an effect's `each` and `when` see: also the connection it acts through, tables and due charges."""
    own: dict[str, Shape] = {
        "links": LINKS,
        "settings": OPEN,
        "account": ACCOUNT,
        "charges": Many(CHARGE),
        "tables": Members(dict(tables)),
    }
    return subject_shape(per) | own


def made_shape(names: Iterable[str]) -> Shape:
    """Give `made`: the record and address of each effect that is needed."""
    return Members(dict.fromkeys(names, MADE), hint="Name the effect in needs to use what it made.")


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nest canonical values by path: `{"deal.value.amount": 5}` becomes `{"deal": {"value": {"amount": 5}}}`."""
    made: dict[str, Any] = {}
    for path, value in values.items():
        parts = path.split(".")
        if "custom" in parts[1:2]:
            parts = [*parts[:2], ".".join(parts[2:])]
        here = made
        for name in parts[:-1]:
            here = here.setdefault(name, {})
        here[parts[-1]] = value
    return made
