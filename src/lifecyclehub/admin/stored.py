"""What every change of the configuration needs: finding rows by name, and telling the running hub."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, or_, select, update

from lifecyclehub.errors import NotThere, nearest
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row


def changed(conn: Connection) -> None:
    """Count a change of the configuration, so that a running hub takes it over within a second."""
    conn.execute(update(tables.installation).values(configured=tables.installation.c.configured + 1))


def list_connections(conn: Connection) -> list[Row]:
    """Give all connections, oldest first."""
    statement = select(tables.connection).where(tables.CONNECTED).order_by(tables.connection.c.id)
    return [dict(row) for row in conn.execute(statement).mappings()]


def find_connection(conn: Connection, named: str, *, removed: bool = False) -> Row:
    """Give the connection with this name or id, with `removed` also one that was. Raises NotThere that names the nearest."""
    table = tables.connection
    asked = select(table).where(or_(table.c.id == named, table.c.name == named))
    row = conn.execute(asked if removed else asked.where(tables.CONNECTED)).mappings().first()
    if row is None:
        names = conn.execute(select(table.c.name).where(tables.CONNECTED)).scalars()
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
