"""Step 3, keep: the delivery is committed before anybody hears 2xx."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, or_, update

from lifecyclehub.messages import Json
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Write
from lifecyclehub.store.upsert import insert_new
from lifecyclehub.store.writer import urgent

HEARD_TO = timedelta(minutes=1)
_HEARD = Write(
    update(tables.endpoint)
    .where(
        tables.endpoint.c.id == bindparam("which"),
        or_(tables.endpoint.c.last_heard.is_(None), tables.endpoint.c.last_heard < bindparam("before")),
    )
    .values(last_heard=bindparam("at"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A verified request or a swept page, about to be kept. `parsed` saves the worker from parsing twice."""

    id: str
    endpoint: str | None
    connection: str | None
    connector: str
    way: str
    door: str
    vendor_key: str | None
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    secret: str | None = None
    holder: str | None = None  # the hub that has it in hand; None: whoever comes first
    parsed: Json = None


def body_hash(body: bytes) -> str:
    """Give the SHA-256 of a body in hex."""
    return hashlib.sha256(body).hexdigest()


@urgent
def keep(conn: Connection, arrivals: Sequence[Arrival]) -> list[None]:
    """Keep deliveries. One with a known vendor key, or equal bytes still unsplit at its endpoint, is kept already."""
    insert_new(conn, tables.delivery, [_row(one) for one in arrivals])
    _note_heard(conn, arrivals)
    return [None] * len(arrivals)


def _row(one: Arrival) -> dict[str, Any]:
    return {
        "id": one.id,
        "endpoint": one.endpoint,
        "connection": one.connection,
        "connector": one.connector,
        "way": one.way,
        "door": one.door,
        "vendor_key": one.vendor_key,
        "headers": dict(one.headers),
        "body": one.body,
        "body_hash": body_hash(one.body),
        "received_at": one.received_at,
        "secret": one.secret,
        "state": "open",
        "holder": one.holder,
    }


def keep_for_a_person(conn: Connection, items: Sequence[tuple[Arrival, str]]) -> list[None]:
    """Keep deliveries that are not read before a person says so, and why."""
    insert_new(
        conn, tables.delivery, [_row(one) | {"state": "parked", "reason": reason, "holder": None} for one, reason in items]
    )
    return [None] * len(items)


def _note_heard(conn: Connection, arrivals: Sequence[Arrival]) -> None:
    """Note when endpoints were last heard, to the minute: a write for each delivery would be one too many."""
    last = {one.endpoint: one.received_at for one in arrivals if one.endpoint is not None}
    if last:
        _HEARD.run(conn, [{"which": one, "at": at, "before": at - HEARD_TO} for one, at in sorted(last.items())])
