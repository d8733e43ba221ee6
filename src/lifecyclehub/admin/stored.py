"""What every change of the configuration needs: finding rows by name, and telling the running hub."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from sqlalchemy import Connection, or_, select, update

from lifecyclehub.errors import NotThere
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row

_LISTED = 24


def changed(conn: Connection) -> None:
    """Count a change of the configuration, so that a running hub takes it over within a second."""
    conn.execute(update(tables.installation).values(configured=tables.installation.c.configured + 1))


def nearest(name: str, names: Iterable[str], *, none: str = "") -> str:
    """Give `Did you mean …?`, else what there is, else the sentence for nothing at all."""
    known = sorted(names)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]}?"
    if not known:
        return none
    return f"There are: {', '.join(known)}." if len(known) <= _LISTED else ""


def list_connections(conn: Connection) -> list[Row]:
    """Give all connections, oldest first."""
    return [dict(row) for row in conn.execute(select(tables.connection).order_by(tables.connection.c.id)).mappings()]


def find_connection(conn: Connection, named: str) -> Row:
    """Give the connection with this name or id. Raises NotThere that names the nearest."""
    table = tables.connection
    row = conn.execute(select(table).where(or_(table.c.id == named, table.c.name == named))).mappings().first()
    if row is None:
        names = conn.execute(select(table.c.name)).scalars()
        mend = nearest(named, names, none="There are none yet: add one with `lifecyclehub connections add`.")
        raise NotThere(f"there is no connection {named!r}.", mend=mend)
    return dict(row)


def endpoints_of(conn: Connection, connection: Row) -> list[Row]:
    """Give the endpoints that serve a connection: its own, and those of its vendor app."""
    table = tables.endpoint
    shared = table.c.connection.is_(None) & (table.c.connector == connection["connector"])
    statement = select(table).where(or_(table.c.connection == connection["id"], shared), table.c.state != "closed")
    return [dict(row) for row in conn.execute(statement.order_by(table.c.created_at)).mappings()]


def refusals_of(conn: Connection, endpoints: Iterable[str], limit: int = 5) -> list[Row]:
    """Give the last refused requests at some endpoints, newest first: facts only."""
    table = tables.refusal
    statement = select(table).where(table.c.endpoint.in_(list(endpoints))).order_by(table.c.id.desc()).limit(limit)
    return [dict(row) for row in conn.execute(statement).mappings()]
