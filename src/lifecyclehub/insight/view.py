"""What conditions and `with` entries see: the engagement in plain nested values, from one subject's point of view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from lifecyclehub.billing import Charge, Invoice, InvoiceLine, due_charges
from lifecyclehub.billing import Subject as BilledSubject
from lifecyclehub.handoffs import Due, Handoff, NotDue
from lifecyclehub.mapping import Undecided
from lifecyclehub.model import Money
from lifecyclehub.rules import Rules
from lifecyclehub.store.state import State
from lifecyclehub.store.things import Row, nested

_KINDS = ("client", "deal", "project", "ticket", "invoice")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a handoff is about: one thing of one engagement."""

    kind: str
    thing: Row
    state: State

    @property
    def id(self) -> str:
        """The thing's id."""
        return str(self.thing["id"])

    def others(self) -> dict[str, Row | None]:
        """Give the things of each kind that belong with this one: its own project, its project's deal."""
        state = self.state
        found: dict[str, Row | None] = dict.fromkeys(_KINDS)
        found["client"] = state.client
        found[self.kind] = self.thing
        if self.kind == "ticket":
            found["project"] = _by_id(state.projects, self.thing["project"])
        if found["project"] is not None:
            found["deal"] = _by_id(state.deals, found["project"]["deal"])
        if self.kind != "client":
            found["deal"] = found["deal"] or _first(state.deals)
        if self.kind == "deal":
            found["project"] = _first([one for one in state.projects if one["deal"] == self.id])
        live = [one for one in state.invoices if one["status"] != "void"]
        found["invoice"] = found["invoice"] or (live[-1] if live else None)
        return found


def _first(rows: Sequence[Row]) -> Row | None:
    return rows[0] if rows else None


def _by_id(rows: Sequence[Row], thing: str | None) -> Row | None:
    return next((row for row in rows if row["id"] == thing), None)


class View:
    """One subject's values as they are at one moment, and what each connection adds to them."""

    def __init__(self, rules: Rules, subject: Subject, now: datetime) -> None:
        self.subject, self.now = subject, now
        self._others = subject.others()
        state = subject.state
        self.base: dict[str, Any] = {}
        for kind, thing in self._others.items():
            link = state.linked(kind, thing["id"]) if thing else None
            self.base[kind] = nested(kind, thing, link["address"] if link else None) if thing else None
        if self.base["client"] is not None and state.client is not None:
            self.base["client"]["standing_since"] = state.client["standing_since"]
        engagement = state.engagement
        self.base["engagement"] = {name: engagement[name] for name in ("id", "kind", "billing", "stage", "stage_since")}
        self.base["contact"] = _contact(state, "primary")
        self.base["billing"] = _contact(state, "billing") or self.base["contact"]
        self.base["today"] = today(rules.zone, now)
        self.base["zone"] = rules.zone.key
        self.base["tables"] = rules.handoffs.tables
        self._due: dict[str, Due | NotDue | Undecided] = {}
        self._acting: dict[str | None, dict[str, Any]] = {}

    def due(self, handoff: Handoff, go_live: datetime | None) -> Due | NotDue | Undecided:
        """Say whether a handoff is due; planning asks it, and then each of its effects that waits."""
        verdict = self._due.get(handoff.id)
        if verdict is None:
            verdict = self._due[handoff.id] = handoff.due(self.base, go_live)
        return verdict

    def charges(self) -> list[dict[str, Any]]:
        """Give the lines that a draft for this subject takes up now."""
        return due_lines(self.subject)

    def acting(self, connection: Row | None) -> dict[str, Any]:
        """Give what the acting connection adds: links of the things there, its settings and account, the due charges."""
        key = connection["id"] if connection else None
        known = self._acting.get(key)
        if known is None:
            known = self._acting[key] = self._added_by(connection)
        return known

    def _added_by(self, connection: Row | None) -> dict[str, Any]:
        links: dict[str, str | None] = {}
        for kind, thing in self._others.items():
            link = self.subject.state.linked(kind, thing["id"], connection["id"]) if thing and connection else None
            links[kind] = link["record_id"] if link else None
        return {
            "links": links,
            "settings": {name: value for name, value in connection["settings"].items() if value != ""} if connection else {},
            "account": {"id": connection["account_id"], **connection["account"]} if connection else {},
            "charges": self.charges(),
        }


def due_lines(subject: Subject) -> list[dict[str, Any]]:
    """Give the due, unbilled lines of a project, or of the whole engagement. Nothing to bill without an engagement."""
    state = subject.state
    engagement = state.engagement["id"]
    if engagement is None or all(charge["due_at"] is None for charge in state.charges):
        return []
    billed = BilledSubject(engagement, subject.id if subject.kind == "project" else None)
    return due_charges(_charges(state), _lines(state), _invoices(state), billed).as_rows()


def stage_facts(rules: Rules, state: State, now: datetime) -> dict[str, Any]:
    """Give what the rules of an engagement's stage see."""
    billed = {line["charge"] for line in state.lines if line["live"]}
    deal = next((one for one in state.deals if one["purpose"] != "change"), None)
    return {
        "deal": nested("deal", deal) if deal else None,
        "engagement": {name: state.engagement[name] for name in ("id", "kind", "billing")},
        "projects": [nested("project", row) for row in state.projects],
        "tickets": [nested("ticket", row) for row in state.tickets],
        "invoices": [nested("invoice", row) for row in state.invoices],
        "charges": [
            {
                "id": row["id"],
                "due": row["due_at"] is not None,
                "billed": row["id"] in billed,
                "amount": Money(row["amount_minor"], row["amount_currency"]).as_input(),
            }
            for row in state.charges
        ],
        "today": today(rules.zone, now),
    }


def standing_facts(rules: Rules, client: Row, engagements: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """Give what the rules of a client's standing see. `engagements` have stage and kind."""
    return {
        "client": {name: client[name] for name in ("id", "kind", "name")},
        "engagements": [{"stage": one["stage"], "kind": one["kind"]} for one in engagements],
        "today": today(rules.zone, now),
    }


@lru_cache(maxsize=16)
def today(zone: ZoneInfo, now: datetime) -> date:
    """Give the calendar day of an instant in the installation's time zone; a batch asks for the same one again and again."""
    return now.astimezone(zone).date()


def _charges(state: State) -> list[Charge]:
    return [
        Charge(
            id=row["id"],
            engagement=row["engagement"],
            project=row["project"],
            source_kind=row["source_kind"],
            description=row["description"],
            amount=Money(row["amount_minor"], row["amount_currency"]),
            due=row["due_at"] is not None,
        )
        for row in state.charges
    ]


def _lines(state: State) -> list[InvoiceLine]:
    return [
        InvoiceLine(invoice=row["invoice"], amount=Money(row["amount_minor"], row["amount_currency"]), charge=row["charge"])
        for row in state.lines
        if row["live"]
    ]


def _invoices(state: State) -> list[Invoice]:
    return [
        Invoice(
            id=row["id"],
            engagement=row["engagement"],
            status=row["status"],
            kind=row["kind"],
            number=row["number"] or "",
            total=_billed(row),
        )
        for row in state.invoices
    ]


def _billed(row: Row) -> Money | None:
    """Give what an invoice bills, measured as our charges are where the tool tells it, else its total."""
    fields = row["fields"] or {}
    if fields.get("billed.amount") is not None:
        return Money(fields["billed.amount"], fields["billed.currency"])
    return None if row["total_minor"] is None else Money(row["total_minor"], row["total_currency"])


def _contact(state: State, role: str) -> Mapping[str, Any] | None:
    ids = [one["contact"] for one in state.roles if one["role"] == role]
    row = next((one for one in state.contacts if one["id"] in ids), None)
    return nested("contact", row) if row else None
