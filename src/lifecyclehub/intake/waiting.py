"""What came too early: tickets before their project, tickets and invoices before their client."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select

from lifecyclehub.intake.batch import Batch
from lifecyclehub.intake.match import place_invoice, place_ticket
from lifecyclehub.ports import Ids
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.state import rows
from lifecyclehub.store.tables import NAMING, UNPLACED, UNPLACED_INVOICE
from lifecyclehub.store.things import Row

_WAITING = Query(
    select(tables.ticket.c.id).join(tables.engagement, tables.engagement.c.client == tables.ticket.c.client).where(UNPLACED),
    tables.engagement.c.id,
)
_NAMING = Query(
    select(tables.ticket.c.id)
    .join(tables.link, tables.ticket.c.project_ref.in_([tables.link.c.record_id, tables.link.c.address]))
    .join(tables.project, tables.project.c.id == tables.link.c.thing)
    .where(NAMING, tables.link.c.thing_kind == "project"),
    tables.project.c.engagement,
)

_UNPLACED = Query(select(tables.invoice.c.id).where(UNPLACED_INVOICE), tables.invoice.c.client)
_EARLY = Query(select(tables.stranger).where(tables.stranger.c.kind == bindparam("sort")), tables.stranger.c.value)


def join_waiting_tickets(conn: Connection, ids: Ids, now: datetime, engagements: Collection[str]) -> set[str]:
    """Place the unplaced tickets of the clients of some engagements; give the engagements that were joined.

    So are those that name one of their projects, whoever wrote them.
    """
    if conn.dialect.name != "sqlite":  # which has one writer: nobody else settles a ticket of theirs meanwhile
        rows(conn, tables.engagement, "id", engagements, lock=True)
    waiting = sorted({row["id"] for row in _WAITING.each(conn, engagements)} | tickets_naming(conn, engagements))
    if not waiting:
        return set()
    batch = Batch(conn, ids, now, ())
    batch.load("ticket", waiting)
    for one in waiting:
        place_ticket(batch, batch.things["ticket", one], now, None)
    batch.write()
    return batch.touched


def tickets_naming(conn: Connection, engagements: Collection[str]) -> set[str]:
    """Give the unplaced tickets that name a project of these engagements, by its record id or address."""
    return {row["id"] for row in _NAMING.each(conn, engagements)}


def place_early_ones(met: Batch) -> None:
    """Place what came before its client, or before its engagement, once a batch that just met these is written."""
    early = _of_strangers(met) if met.new_identities else []
    clients = {row["client"] for row in met.new.get("engagement", ()) if row["client"] and row["title"]}
    unplaced = _UNPLACED.each(met.conn, clients) if clients else []
    if not early and not unplaced:
        return
    batch = Batch(met.conn, met.ids, met.now, ())
    for row in early:
        thing = batch.thing(row["thing_kind"], row["thing"])
        if thing is not None and thing["client"] is None:
            thing["client"] = met.new_identities[row["kind"], row["value"]]
            batch.change(row["thing_kind"], thing)
            _place(batch, row["thing_kind"], thing)
    batch.load("invoice", (row["id"] for row in unplaced))
    for row in unplaced:
        _place(batch, "invoice", batch.things["invoice", row["id"]])
    batch.write()
    for one in sorted({row["thing"] for row in early}):
        met.conn.execute(delete(tables.stranger).where(tables.stranger.c.thing == one))
    met.touched |= batch.touched
    met.early |= batch.touched


def _of_strangers(met: Batch) -> list[Row]:
    found: list[Row] = []
    for kind in sorted({kind for kind, _ in met.new_identities}):
        values = {value for sort, value in met.new_identities if sort == kind}
        found += _EARLY.each(met.conn, values, sort=kind)
    return found


def _place(batch: Batch, kind: str, thing: Row) -> None:
    if kind == "ticket":
        place_ticket(batch, thing, batch.now, None)
    else:
        place_invoice(batch, thing, late=True)
        if thing["engagement"]:
            batch.touched.add(thing["engagement"])
