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
from lifecyclehub.store.upsert import insert_new

HEARD_TO = timedelta(minutes=1)
_HEARD = (
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
    parsed: Json = None


def body_hash(body: bytes) -> str:
    """Give the SHA-256 of a body in hex."""
    return hashlib.sha256(body).hexdigest()


def keep(conn: Connection, arrivals: Sequence[Arrival]) -> list[None]:
    """Keep deliveries. One with a known vendor key, or equal bytes still unsplit at its endpoint, is kept already."""
    rows: list[dict[str, Any]] = [
        {
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
        }
        for one in arrivals
    ]
    insert_new(conn, tables.delivery, rows)
    _note_heard(conn, arrivals)
    return [None] * len(rows)


def _note_heard(conn: Connection, arrivals: Sequence[Arrival]) -> None:
    """Note when endpoints were last heard, to the minute: a write for each delivery would be one too many."""
    last = {one.endpoint: one.received_at for one in arrivals if one.endpoint is not None}
    if last:
        conn.execute(_HEARD, [{"which": one, "at": at, "before": at - HEARD_TO} for one, at in sorted(last.items())])
