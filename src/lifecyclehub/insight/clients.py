"""Clients: a list, and one page per client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from lifecyclehub.insight.filters import not_there, refuse_unknown
from lifecyclehub.insight.lists import FIRST, Asked, LinkItem, Listed, columns_of, listed
from lifecyclehub.insight.money import Amount, amounts, paid_of
from lifecyclehub.store import tables
from lifecyclehub.store.state import by, rows
from lifecyclehub.store.things import Row

OPEN_TICKETS = ("open", "pending")
SHOWN_TICKETS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientItem:
    """A client in a list. `standing` is lead, contact, client or former; `kind` is company or person."""

    id: str
    name: str | None
    kind: str | None
    standing: str
    standing_since: datetime | None
    currency: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactItem:
    """A person at the client, with the roles that they have in its engagements (primary, decision maker, billing)."""

    id: str
    name: str | None
    email: str | None
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonItem:
    """A person in the list of all contacts."""

    id: str
    name: str | None
    email: str | None
    client: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityKey:
    """What the client is recognised by: a domain, an e-mail address, a tax id."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngagementItem:
    """One piece of work in a list."""

    id: str
    client: str | None
    title: str | None
    kind: str
    billing: str
    follows: str | None
    stage: str
    stage_since: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketItem:
    """A support ticket. `project` is the one that it joined."""

    id: str
    number: str | None
    subject: str | None
    status: str | None
    created_at: datetime | None
    project: str | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceItem:
    """An invoice or a credit note. Amounts are whole minor units; None where the tool has not told them yet."""

    id: str
    number: str | None
    kind: str
    status: str
    total: Amount | None
    paid: Amount | None
    due_on: str | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPage:
    """All about one client. `tickets`: the last three open ones; `invoices`: those not paid; `links`: its records."""

    client: ClientItem
    contacts: tuple[ContactItem, ...]
    identity_keys: tuple[IdentityKey, ...]
    engagements: tuple[EngagementItem, ...]
    tickets: tuple[TicketItem, ...]
    open_tickets: int
    invoices: tuple[InvoiceItem, ...]
    outstanding: tuple[Amount, ...]
    links: tuple[LinkItem, ...]


def list_clients(conn: Connection, page: Asked = FIRST, *, standing: str | None = None) -> Listed[ClientItem]:
    """Give clients, newest first. Raises UnknownCursor."""
    return listed(conn, tables.client, ClientItem, page, standing=standing)


def client_page(conn: Connection, client: str) -> ClientPage:
    """Give all about one client. Raises NotThere."""
    table = tables.client
    row = conn.execute(columns_of(table, ClientItem).where(table.c.id == client)).mappings().first()
    if row is None:
        raise not_there("client", client)
    engagements = rows(conn, tables.engagement, "client", {client})
    contacts = rows(conn, tables.contact, "client", {client})
    tickets = [one for one in rows(conn, tables.ticket, "client", {client}) if one["status"] in OPEN_TICKETS]
    invoices = _invoices(conn, client, engagements)
    last = tickets[: -SHOWN_TICKETS - 1 : -1]
    links = links_of(conn, (client, *(one["id"] for one in (*contacts, *last, *invoices))))
    unpaid = [one for one in invoices if one["status"] not in ("paid", "void")]
    return ClientPage(
        client=ClientItem(**dict(row)),
        contacts=_contacts(conn, contacts),
        identity_keys=tuple(
            IdentityKey(kind=one["kind"], value=one["value"]) for one in rows(conn, tables.identity_key, "client", {client})
        ),
        engagements=tuple(engagement_item(one) for one in reversed(engagements)),
        tickets=tuple(ticket_item(one, links) for one in last),
        open_tickets=len(tickets),
        invoices=tuple(invoice_item(one, links) for one in unpaid),
        outstanding=amounts((one["total_currency"], _owed(one)) for one in unpaid if one["status"] != "drafting"),
        links=tuple(link for one in (client, *(contact["id"] for contact in contacts)) for link in links.get(one, ())),
    )


def _owed(invoice: Row) -> int:
    sign = -1 if invoice["kind"] == "credit" else 1
    return sign * ((invoice["total_minor"] or 0) - paid_of(invoice))


def _invoices(conn: Connection, client: str, engagements: Sequence[Row]) -> list[Row]:
    own = rows(conn, tables.invoice, "client", {client})
    through = rows(conn, tables.invoice, "engagement", {one["id"] for one in engagements})
    return sorted({one["id"]: one for one in (*own, *through)}.values(), key=lambda one: str(one["id"]))


def _contacts(conn: Connection, contacts: Sequence[Row]) -> tuple[ContactItem, ...]:
    roles = by(rows(conn, tables.role, "contact", {one["id"] for one in contacts}), "contact")
    return tuple(
        ContactItem(
            id=one["id"],
            name=one["name"],
            email=one["email"],
            roles=tuple(sorted({role["role"] for role in roles.get(one["id"], ())})),
        )
        for one in contacts
    )


def links_of(conn: Connection, things: Iterable[str]) -> dict[str, tuple[LinkItem, ...]]:
    """Give the links of things by thing, the ended ones too."""
    table = tables.link
    found: dict[str, list[LinkItem]] = {}
    for row in rows(conn, table, "thing", set(things)):
        found.setdefault(row["thing"], []).append(LinkItem(**{name: row[name] for name in LinkItem.__slots__}))
    return {thing: tuple(sorted(many, key=_record_of)) for thing, many in found.items()}


def _record_of(link: LinkItem) -> tuple[str, str, str]:
    return (link.connection, link.kind, link.record_id)


def engagement_item(row: Row) -> EngagementItem:
    """Give an engagement as a list shows it."""
    return EngagementItem(**{name: row[name] for name in EngagementItem.__slots__})


def address_of(links: Iterable[LinkItem]) -> str | None:
    """Give the address of the first living record that has one."""
    return next((one.address for one in links if one.address and one.deleted_at is None and one.merged_into is None), None)


def ticket_item(row: Row, links: dict[str, tuple[LinkItem, ...]]) -> TicketItem:
    """Give a ticket with its address in the helpdesk."""
    shown = {name: row[name] for name in ("id", "number", "subject", "status", "created_at", "project")}
    return TicketItem(**shown, address=address_of(links.get(row["id"], ())))


def invoice_item(row: Row, links: dict[str, tuple[LinkItem, ...]]) -> InvoiceItem:
    """Give an invoice with its address in the invoicing tool."""
    currency = row["total_currency"]
    known = currency is not None and row["total_minor"] is not None
    return InvoiceItem(
        id=row["id"],
        number=row["number"],
        kind=row["kind"],
        status=row["status"],
        total=Amount.of(row["total_minor"], currency) if known else None,
        paid=Amount.of(paid_of(row), currency) if known else None,
        due_on=row["due_on"],
        address=address_of(links.get(row["id"], ())),
    )


def list_engagements(
    conn: Connection, page: Asked = FIRST, *, client: str | None = None, stage: str | None = None
) -> Listed[EngagementItem]:
    """Give engagements, newest first. Raises UnknownCursor, and NotThere for a client that there is not."""
    refuse_unknown(conn, client=client)
    found: Listed[EngagementItem] = listed(conn, tables.engagement, EngagementItem, page, client=client, stage=stage)
    return found


def list_contacts(
    conn: Connection, page: Asked = FIRST, *, email: str | None = None, client: str | None = None
) -> Listed[PersonItem]:
    """Give contacts, newest first. Raises UnknownCursor, and NotThere for a client that there is not."""
    refuse_unknown(conn, client=client)
    address = email.strip().lower() if email is not None else None
    found: Listed[PersonItem] = listed(conn, tables.contact, PersonItem, page, email=address, client=client)
    return found


def client_names(conn: Connection, clients: Iterable[str]) -> dict[str, str | None]:
    """Give the names of clients by id."""
    table = tables.client
    wanted = sorted(set(clients))
    return {one.id: one.name for one in conn.execute(select(table.c.id, table.c.name).where(table.c.id.in_(wanted)))}
