"""One engagement on a page: its things, its money, and everything that happened, in time order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select

from lifecyclehub.insight.clients import (
    EngagementItem,
    InvoiceItem,
    TicketItem,
    address_of,
    client_names,
    engagement_item,
    invoice_item,
    links_of,
    ticket_item,
)
from lifecyclehub.insight.filters import not_there
from lifecyclehub.insight.findings import WITHHELD, findings_about, settled_words
from lifecyclehub.insight.lists import LinkItem
from lifecyclehub.insight.money import Amount, MoneyLine, money_line
from lifecyclehub.store import tables
from lifecyclehub.store.state import State, load_states, rows
from lifecyclehub.store.things import Row

_KINDS = ("client", "contact", "deal", "project", "ticket", "invoice")
Links = Mapping[str, tuple[LinkItem, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DealItem:
    """A deal of the engagement."""

    id: str
    title: str | None
    purpose: str
    status: str | None
    won_at: datetime | None
    value: Amount | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectItem:
    """A project of the engagement."""

    id: str
    title: str | None
    status: str | None
    closed_at: datetime | None
    deal: str | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of the timeline. `what`: an event became true in a tool, an effect of ours, or a finding.

    `at`: when it became true, was done or planned, or was found. `address` opens the record in its tool; `id` is for `explain`.
    """

    at: datetime
    what: Literal["event", "effect", "finding"]
    kind: str
    thing: str
    title: str | None
    state: str | None
    detail: str | None
    tool: str | None
    address: str | None
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngagementPage:
    """All about one engagement. `links`: the records of its things in every tool."""

    engagement: EngagementItem
    client_name: str | None
    money: MoneyLine
    deals: tuple[DealItem, ...]
    projects: tuple[ProjectItem, ...]
    tickets: tuple[TicketItem, ...]
    invoices: tuple[InvoiceItem, ...]
    links: tuple[LinkItem, ...]
    timeline: tuple[Moment, ...]


def engagement_page(conn: Connection, engagement: str) -> EngagementPage:
    """Give all about one engagement, its timeline from first to last. Raises NotThere."""
    state = load_states(conn, {engagement}).get(engagement)
    if state is None:
        raise not_there("engagement", engagement)
    row = state.engagement
    links = links_of(conn, _things(state))
    mine = {one for kind in ("deal", "project", "ticket", "invoice") for one in (thing["id"] for thing in state.things(kind))}
    return EngagementPage(
        engagement=engagement_item(row),
        client_name=client_names(conn, {row["client"]}).get(row["client"]) if row["client"] else None,
        money=money_line(state.deals, state.charges, state.invoices, state.lines),
        deals=tuple(_deal(one, links) for one in state.deals),
        projects=tuple(_project(one, links) for one in state.projects),
        tickets=tuple(ticket_item(one, dict(links)) for one in state.tickets),
        invoices=tuple(invoice_item(one, dict(links)) for one in state.invoices),
        links=tuple(link for thing, many in sorted(links.items()) if thing in mine for link in many),
        timeline=tuple(sorted(_moments(conn, state, links), key=lambda one: (one.at, one.id))),
    )


def _things(state: State) -> set[str]:
    return {thing["id"] for kind in _KINDS for thing in state.things(kind)}


def _deal(row: Row, links: Links) -> DealItem:
    valued = row["value_minor"] is not None and row["value_currency"] is not None
    return DealItem(
        **{name: row[name] for name in ("id", "title", "purpose", "status", "won_at")},
        value=Amount.of(row["value_minor"], row["value_currency"]) if valued else None,
        address=address_of(links.get(row["id"], ())),
    )


def _project(row: Row, links: Links) -> ProjectItem:
    shown = {name: row[name] for name in ("id", "title", "status", "closed_at", "deal")}
    return ProjectItem(**shown, address=address_of(links.get(row["id"], ())))


def _moments(conn: Connection, state: State, links: Links) -> Iterator[Moment]:
    tools = {one.id: one.name for one in conn.execute(select(tables.connection.c.id, tables.connection.c.name))}
    engagement = state.engagement["id"]
    for row in rows(conn, tables.event, "engagement", {engagement}):
        yield _event(row, links, tools)
    for row in state.effects.values():
        yield _effect(row, tools)
    yield from _findings(conn, state, links)


def _event(row: Row, links: Links, tools: Mapping[str, str]) -> Moment:
    its = links.get(row["thing"], ())
    tool = next((tools.get(one.connection) for one in its if one.address == address_of(its)), None)
    return Moment(
        at=row["at"],
        what="event",
        kind=row["kind"],
        thing=row["thing"],
        title=row["facts"].get("title"),
        state=None,
        detail=None,
        tool=tool,
        address=address_of(its),
        id=row["notice"] or row["facts"].get("effect") or row["thing"],
    )


def _effect(row: Row, tools: Mapping[str, str]) -> Moment:
    """An effect stands where its receipt came, or where it was planned as long as there is none."""
    item = (row["input"] or {}).get("title") or (row["input"] or {}).get("name") or row["item"]
    return Moment(
        at=row["done_at"] or row["planned_at"],
        what="effect",
        kind=f"{row['role']}.{row['action']}",
        thing=row["subject"],
        title=item or None,
        state=row["state"],
        detail=": ".join(one for one in (row["reason"], row["detail"]) if one) or None,
        tool=tools.get(row["connection"] or ""),
        address=row["address"],
        id=row["id"],
    )


def _findings(conn: Connection, state: State, links: Links) -> Iterator[Moment]:
    """Findings about the engagement's things, its records, and its effects."""
    subjects = {(kind, thing["id"]): thing["id"] for kind in _KINDS for thing in state.things(kind)}
    subjects |= {("effect", row["id"]): row["subject"] for row in state.effects.values()}
    for thing, many in links.items():
        subjects |= {(link.kind, f"{link.connection}/{link.record_id}"): thing for link in many}
    for row in findings_about(conn, subjects):
        thing = subjects[row["subject_kind"], row["subject"]]
        yield Moment(
            at=row["at"],
            what="finding",
            kind=row["kind"],
            thing=thing,
            title=row["facts"].get("title"),
            state="settled" if row["settled_at"] else None,
            detail=(f"{row['about']}: {row['detail']}" if row["kind"] == WITHHELD else row["detail"]) + settled_words(row),
            tool=None,
            address=row["facts"].get("url") or address_of(links.get(thing, ())),
            id=thing,
        )
