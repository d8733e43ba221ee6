"""With which rules and switches everything was decided last: how far deciding anew has come."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from lifecyclehub.mapping import content_version
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query

DECIDED: Final = {"connection": "", "kind": "decided"}
"""How far deciding has come is kept like how far a sweep has come; it belongs to no connection."""


def decided_with(conn: Connection) -> str | None:
    """Give the version of rules and switches that everything was decided with last."""
    return next((row["value"] for row in _FAR.all(conn)), None)


_cursor, _handoff = tables.cursor, tables.handoff
_FAR: Final = Query(
    select(_cursor.c.value).where(_cursor.c.connection == DECIDED["connection"], _cursor.c.kind == DECIDED["kind"])
)
_SWITCHES: Final = Query(select(_handoff.c.id, _handoff.c.state, _handoff.c.go_live).order_by(_handoff.c.id))


def decided_version(conn: Connection, rules: str) -> str:
    """Give the version that rules make with the switches as they are now."""
    rows = _SWITCHES.all(conn)
    switches = [[row["id"], row["state"], row["go_live"].isoformat() if row["go_live"] else None] for row in rows]
    return content_version([rules, switches])
