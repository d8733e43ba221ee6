"""With which rules and switches everything was decided last: how far deciding anew has come."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from lifecyclehub.mapping import content_version
from lifecyclehub.store import tables

DECIDED: Final = {"connection": "", "kind": "decided"}
"""How far deciding has come is kept like how far a sweep has come; it belongs to no connection."""


def decided_with(conn: Connection) -> str | None:
    """Give the version of rules and switches that everything was decided with last."""
    table = tables.cursor
    of = (table.c.connection == DECIDED["connection"]) & (table.c.kind == DECIDED["kind"])
    found: str | None = conn.execute(select(table.c.value).where(of)).scalar()
    return found


def decided_version(conn: Connection, rules: str) -> str:
    """Give the version that rules make with the switches as they are now."""
    table = tables.handoff
    rows = conn.execute(select(table).order_by(table.c.id)).mappings()
    switches = [[row["id"], row["state"], row["go_live"].isoformat() if row["go_live"] else None] for row in rows]
    return content_version([rules, switches])
