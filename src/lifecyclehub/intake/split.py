"""Step 4, first half, split: a delivery becomes notices, each with a state of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select, update

from lifecyclehub.store import tables
from lifecyclehub.store.state import by, rows
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_new

# The closed list of reasons for which a notice may be ignored.
IGNORED = frozenset({"unknown kind", "not mapped", "unknown account", "same as another", "older", "deleted", "unlinked"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What reading a delivery brought: its notices as rows, or why it is parked."""

    delivery: str
    at: datetime
    notices: tuple[Row, ...] = field(default=())
    parked: str | None = None
    detail: str | None = None


def split(conn: Connection, items: Sequence[Split]) -> list[list[Row]]:
    """Write the notices of open deliveries and close these; give each delivery's notices that are to be worked on.

    A delivery that another worker split, or that was folded into another one, gives none.
    """
    delivery = tables.delivery
    ids = [item.delivery for item in items]
    still_open = {
        row.id
        for row in conn.execute(select(delivery.c.id).where(delivery.c.id.in_(ids), delivery.c.state.in_(("open", "held"))))
    }
    mine = [item for item in items if item.delivery in still_open]
    insert_new(conn, tables.notice, [notice for item in mine for notice in item.notices])
    whole = [item.delivery for item in mine if item.parked is None]
    if whole:
        conn.execute(update(delivery).where(delivery.c.id.in_(whole)).values(state="split", reason=None))
    for item in mine:
        if item.parked is not None:
            reason = {"state": "parked", "reason": f"{item.parked}: {item.detail}"}
            conn.execute(update(delivery).where(delivery.c.id == item.delivery).values(**reason))
    kept = by([row for row in rows(conn, tables.notice, "delivery", whole) if row["state"] == "open"], "delivery")
    return [kept.get(item.delivery, []) for item in items]
