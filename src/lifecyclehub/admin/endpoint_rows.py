"""Endpoints, their secrets and subscriptions as they are stored: the operations, and the questions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, func, select, update

from lifecyclehub.admin.stored import changed
from lifecyclehub.errors import NotThere
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.store.writer import as_operation

SIGNING: Final = "signing"
ENDING: Final = "ending"
"""The state of a subscription that a newer one took the place of."""


def _open_new(conn: Connection, wanted: Row) -> Row:
    """Find the endpoint again, or keep the new one: two at once must not make two of a vendor app's."""
    table = tables.endpoint
    own = table.c.connection.is_(None) if wanted["connection"] is None else table.c.connection == wanted["connection"]
    resource = table.c.resource.is_(None) if wanted["resource"] is None else table.c.resource == wanted["resource"]
    same = select(table).where(
        own, resource, table.c.connector == wanted["connector"], table.c.door == wanted["door"], table.c.state != "closed"
    )
    known = conn.execute(same.order_by(table.c.created_at)).mappings().first()
    if known is not None:
        return dict(known)
    insert_all(conn, table, [wanted])
    changed(conn)
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """A new signing secret; the older ones serve until a moment."""

    endpoint: str
    secret: Row
    now: datetime
    until: datetime


def _set_secret(conn: Connection, item: Signing) -> None:
    _end_older(conn, item.endpoint, item.secret["id"], item.now, item.until)
    insert_all(conn, tables.secret, [item.secret])
    changed(conn)


def _end_older(conn: Connection, endpoint: str, but: str, now: datetime, until: datetime) -> None:
    """Let the older secrets serve until a moment; what was signed with them may still be under way."""
    table = tables.secret
    of = (
        (table.c.owner_kind == "endpoint")
        & (table.c.owner == endpoint)
        & (table.c.field == SIGNING)
        & (table.c.state == "active")
    )
    conn.execute(delete(table).where(of, table.c.valid_until <= now))
    older = of & (table.c.id != but) & (table.c.valid_until.is_(None) | (table.c.valid_until > until))
    conn.execute(update(table).where(older).values(valid_until=until))


def _register(conn: Connection, item: tuple[str, datetime | None]) -> None:
    """Let handshakes be answered until a moment; with None no more, and forget what they offered."""
    endpoint, until = item
    _drop_candidates(conn, endpoint)
    state = "registering" if until else "listening"
    conn.execute(update(tables.endpoint).where(tables.endpoint.c.id == endpoint).values(state=state, registering_until=until))
    changed(conn)


def _drop_candidates(conn: Connection, endpoint: str) -> None:
    table = tables.secret
    conn.execute(delete(table).where(table.c.owner_kind == "endpoint", table.c.owner == endpoint, table.c.state == "candidate"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A subscription that stands: its row, and the secret that the vendor's own reply confirmed or gave.

    `reason`: why an earlier one was made again.
    """

    subscription: Row
    now: datetime
    until: datetime
    reason: str | None = None
    candidate: str | None = None
    given: Row | None = None


def _stand(conn: Connection, item: Standing) -> None:
    endpoint = item.subscription["endpoint"]
    secret = tables.secret
    confirmed = item.candidate or (item.given["id"] if item.given else None)
    if item.candidate:
        conn.execute(update(secret).where(secret.c.id == item.candidate).values(state="active", valid_from=item.now))
    if item.given:
        insert_all(conn, secret, [item.given])
    if confirmed:
        _end_older(conn, endpoint, confirmed, item.now, item.until)
    table = tables.subscription
    same = (table.c.endpoint == endpoint, table.c.connection == item.subscription["connection"])
    before = conn.execute(select(func.max(table.c.renewed)).where(*same)).scalar()
    conn.execute(delete(table).where(*same, table.c.vendor_id == item.subscription["vendor_id"]))
    conn.execute(update(table).where(*same).values(state=ENDING, not_before=None))  # two hooks would ring twice
    renewed = 0 if before is None else before + 1
    insert_all(conn, table, [item.subscription | {"renewed": renewed, "reason": item.reason}])
    _register(conn, (endpoint, None))


def _drop(conn: Connection, subscription: str) -> None:
    conn.execute(delete(tables.subscription).where(tables.subscription.c.id == subscription))


def _end_all(conn: Connection, connection: str) -> list[Row]:
    """Let all subscriptions of a connection be ended. Gives them."""
    table = tables.subscription
    conn.execute(update(table).where(table.c.connection == connection).values(state=ENDING, not_before=None))
    return endings(conn, connection)


def endings(conn: Connection, connection: str) -> list[Row]:
    """Give the subscriptions of a connection that are to be ended."""
    table = tables.subscription
    statement = select(table).where(table.c.connection == connection, table.c.state == ENDING).order_by(table.c.id)
    return [dict(row) for row in conn.execute(statement).mappings()]


opening, signing = as_operation(_open_new), as_operation(_set_secret)
registering, standing, dropping = as_operation(_register), as_operation(_stand), as_operation(_drop)
ending_all = as_operation(_end_all)


# --- questions --------------------------------------------------------------------------------------------------------


def find_endpoint(conn: Connection, endpoint: str) -> Row:
    """Give an endpoint. Raises NotThere."""
    row = conn.execute(select(tables.endpoint).where(tables.endpoint.c.id == endpoint)).mappings().first()
    if row is None:
        raise NotThere(f"there is no endpoint {endpoint!r}.", mend="`lifecyclehub connections list` shows them.")
    return dict(row)


def secrets_of(conn: Connection, endpoint: str, state: str) -> list[Row]:
    """Give the signing secrets of an endpoint that are in a state, oldest first."""
    table = tables.secret
    of = (table.c.owner_kind == "endpoint") & (table.c.owner == endpoint) & (table.c.state == state)
    return [dict(row) for row in conn.execute(select(table).where(of).order_by(table.c.id)).mappings()]
