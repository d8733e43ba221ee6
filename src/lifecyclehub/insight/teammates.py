"""Who a teammate is in which tool: owners are given by e-mail address, tools assign by ids of their own."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, select

from lifecyclehub.connector import About
from lifecyclehub.insight.clocks import CHANGES
from lifecyclehub.store import tables
from lifecyclehub.store.state import records
from lifecyclehub.store.things import Row, observed

_LIVING = (
    select(tables.teammate_email.c.email, tables.link.c.connection, tables.link.c.kind, tables.link.c.record_id)
    .join(tables.link, tables.link.c.thing == tables.teammate_email.c.teammate)
    .where(
        tables.teammate_email.c.email.in_(bindparam("wanted", expanding=True)),
        tables.link.c.thing_kind == "teammate",
        tables.link.c.deleted_at.is_(None),
        tables.link.c.merged_into.is_(None),
    )
    .order_by(tables.link.c.record_id)
)

_LISTED = select(tables.cursor.c.kind).where(
    tables.cursor.c.connection == bindparam("of"), tables.cursor.c.way == CHANGES, tables.cursor.c.swept_at.is_not(None)
)


def assigns(about: About | None) -> bool:
    """Tell whether a tool assigns by ids of its own people, and shows them to us."""
    return about is not None and any(kind.fills == "teammate" for kind in about.kinds)


class Teammates:
    """Finds teammates' records, for one operation: nothing is read before it is asked for, then all that is expected at once."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._expected: set[str] = set()
        self._known: dict[tuple[str, str], list[Row]] = {}
        self._read: set[str] = set()

    def expect(self, things: Iterable[Row]) -> None:
        """Note the owners of things, so that they are read together with the first one who is asked for."""
        for thing in things:
            email = (thing.get("fields") or {}).get("owner.email")
            if email:
                self._expected.add(email)

    def record(self, email: str, connection: str) -> str | None:
        """Give the id of the record that a teammate is in a tool, None where the tool does not know the address."""
        if email not in self._read:
            self._load({email, *self._expected} - self._read)
        found = self._known.get((connection, email), [])
        return str(found[0]["record_id"]) if len(found) == 1 else self._shown_now(email, found)

    def listed(self, about: About, connection: str) -> bool:
        """Tell whether a tool's people were listed to the end once, so that somebody unknown is nobody there."""
        swept = set(self._conn.execute(_LISTED, {"of": connection}).scalars())
        return all(kind.id in swept for kind in about.kinds if kind.fills == "teammate")

    def _load(self, emails: set[str]) -> None:
        self._read |= emails
        for row in self._conn.execute(_LIVING, {"wanted": sorted(emails)}).mappings():
            self._known.setdefault((row["connection"], row["email"]), []).append(dict(row))

    def _shown_now(self, email: str, found: list[Row]) -> str | None:
        """Of several records of one teammate, take the one that has this address now: the others had it once."""
        keys = {(row["connection"], row["kind"], row["record_id"]) for row in found}
        shown = observed(email)
        now = [
            row for row in records(self._conn, tables.mirror, keys) if (row["field"], row["seen"]) == ("teammate.email", shown)
        ]
        return str(now[0]["record_id"]) if len(now) == 1 else None
