"""The canonical model: which things there are, which fields they have, and of which type.

A field path such as `deal.status` is the same in mappings, handoffs, the mirror, the API and the pages.
`custom.*` takes any field that a business adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

FieldType: TypeAlias = Literal["text", "email", "choice", "instant", "date", "amount", "currency", "number", "flag"]


@dataclass(frozen=True, slots=True)
class Field:
    """A canonical field. `identity`: the kind of identity key that its value is, if any."""

    type: FieldType
    choices: tuple[str, ...] = ()
    identity: str | None = None
    label: str = ""


def _choice(*choices: str) -> Field:
    return Field("choice", choices)


TEXT, INSTANT, DATE, EMAIL = Field("text"), Field("instant"), Field("date"), Field("email")
AMOUNT, CURRENCY, NUMBER = Field("amount"), Field("currency"), Field("number")

STANDINGS: Final = ("lead", "contact", "client", "former")
STAGES: Final = ("intake", "proposal", "onboarding", "delivery", "billing", "finished", "lost")

THINGS: Final[dict[str, dict[str, Field]]] = {
    "client": {
        "name": TEXT,
        "kind": _choice("company", "person"),
        "standing": _choice(*STANDINGS),
        "currency": CURRENCY,
        "terms": NUMBER,  # days until an invoice is due
        "domain": Field("text", identity="domain"),
        "email": Field("email", identity="email"),
        "tax_id": Field("text", identity="tax_id"),
        "phone": TEXT,
        "country": TEXT,
    },
    "contact": {"name": TEXT, "email": Field("email", identity="email"), "phone": TEXT},
    "teammate": {"email": EMAIL, "name": TEXT},
    "deal": {
        "title": TEXT,
        "status": _choice("open", "won", "lost"),
        "purpose": _choice("new", "change", "expansion", "renewal"),
        "created_at": INSTANT,
        "won_at": INSTANT,
        "value.amount": AMOUNT,
        "value.currency": CURRENCY,
        "owner.email": EMAIL,
        "owner.name": TEXT,
        "scope": TEXT,
        "starts_on": DATE,
        "due_on": DATE,
        "billing": _choice("fixed", "milestones", "retainer", "time", "none"),
        "engagement_ref": TEXT,
    },
    "project": {
        "title": TEXT,
        "status": _choice("open", "closed"),
        "created_at": INSTANT,
        "closed_at": INSTANT,
        "owner.email": EMAIL,
        "owner.name": TEXT,
        "due_on": DATE,
    },
    "ticket": {
        "number": TEXT,
        "subject": TEXT,
        "status": _choice("open", "pending", "solved"),
        "created_at": INSTANT,
        "requester.email": EMAIL,
        "requester.name": TEXT,
        "owner.email": EMAIL,
        "project_ref": TEXT,
    },
    "invoice": {
        "number": TEXT,
        "status": _choice("draft", "approved", "paid", "void"),
        "kind": _choice("invoice", "credit"),
        "total.amount": AMOUNT,
        "total.currency": CURRENCY,
        "billed.amount": AMOUNT,  # as charges are: without tax where the lines that we draft are without
        "billed.currency": CURRENCY,
        "paid.amount": AMOUNT,
        "paid.currency": CURRENCY,
        "issued_on": DATE,
        "due_on": DATE,
        "reference": TEXT,
    },
}

# A fact and the field that tells when it became true at the vendor; filled with the time we saw it change where the
# vendor tells nothing.
FACT_TIMES: Final[dict[tuple[str, str], str]] = {
    ("deal.status", "won"): "deal.won_at",
    ("project.status", "closed"): "project.closed_at",
}


def field_at(path: str) -> Field | None:
    """Give the field at a path such as `deal.value.amount`; any `custom.` name is text; None for an unknown one."""
    thing, _, name = path.partition(".")
    fields = THINGS.get(thing)
    if fields is None:
        return None
    if name.startswith("custom.") and len(name) > len("custom."):
        return TEXT
    return fields.get(name)
