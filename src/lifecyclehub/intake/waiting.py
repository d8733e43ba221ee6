"""Tickets that came before their project: they join it as soon as it is there."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select

from lifecyclehub.intake.batch import Batch
from lifecyclehub.intake.match import place_ticket
from lifecyclehub.ports import Ids
from lifecyclehub.store import tables
from lifecyclehub.store.tables import UNPLACED


def join_waiting_tickets(conn: Connection, ids: Ids, now: datetime, engagements: Collection[str]) -> set[str]:
    """Place the unplaced tickets of the clients of some engagements; give the engagements that were joined."""
    ticket, engagement = tables.ticket, tables.engagement
    if not engagements:
        return set()
    clients = select(engagement.c.client).where(engagement.c.id.in_(sorted(engagements)), engagement.c.client.is_not(None))
    waiting = list(conn.execute(select(ticket.c.id).where(UNPLACED, ticket.c.client.in_(clients))).scalars())
    if not waiting:
        return set()
    batch = Batch(conn, ids, now, ())
    batch.load("ticket", waiting)
    for one in waiting:
        place_ticket(batch, batch.things["ticket", one], now, None)
    batch.write()
    return batch.touched
