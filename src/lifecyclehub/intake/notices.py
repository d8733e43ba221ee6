"""Operations on notices and deliveries besides splitting and settling."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from lifecyclehub.intake.keep import Arrival
from lifecyclehub.intake.taking import within_reach
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row

_notice = tables.notice
_FAILED = (
    update(_notice)
    .where(_notice.c.id == bindparam("which"), or_(_notice.c.state == "open", _notice.c.state == "held"))
    .values(
        state=bindparam("new_state"),
        reason=bindparam("new_reason"),
        detail=bindparam("new_detail"),
        attempts=_notice.c.attempts + bindparam("tries"),
        first_failed_at=bindparam("since"),
        not_before=bindparam("next"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Notices that could not be worked on now: why, and when again (None: parked, or held until something changes)."""

    notices: tuple[str, ...]
    state: str
    reason: str
    detail: str
    since: datetime | None = None
    next: datetime | None = None
    tries: int = 1


def fail(conn: Connection, items: Sequence[Failed]) -> list[None]:
    """Write why notices wait, or park them; only they are touched, not their neighbours."""
    values = [
        {
            "which": notice,
            "new_state": item.state,
            "new_reason": item.reason,
            "new_detail": item.detail[:2000],
            "since": item.since,
            "next": item.next,
            "tries": item.tries,
        }
        for item in items
        for notice in item.notices
    ]
    if values:
        conn.execute(_FAILED, values)
    return [None] * len(items)


def open_notices(
    conn: Connection, now: datetime, holder: str, after: str, limit: int = 500, *, but: Collection[str] = ()
) -> list[Row]:
    """Give open notices whose time has come, oldest first: in this hub's hands or nobody's, `but` those of some connections."""
    statement = (
        select(_notice)
        .where(
            tables.OPEN_NOTICE,
            _notice.c.state == "open",
            or_(_notice.c.not_before.is_(None), _notice.c.not_before <= now),
            within_reach(_notice, holder),
            _notice.c.id > after,
            *_not_of(but),
        )
        .order_by(_notice.c.id)
        .limit(limit)
    )
    return [dict(row) for row in conn.execute(statement).mappings()]


def _not_of(connections: Collection[str]) -> tuple[Any, ...]:
    return (_notice.c.connection.not_in(sorted(connections)),) if connections else ()


def due_notices(conn: Connection, now: datetime, holder: str, limit: int = 500, *, but: Collection[str] = ()) -> list[Row]:
    """Give notices that are to be tried again now, and what others left to whoever comes first, `but` of some connections."""
    its_time = or_(_notice.c.not_before <= now, and_(_notice.c.holder.is_(None), _notice.c.not_before.is_(None)))
    due = (_notice.c.state == "open") & its_time & within_reach(_notice, holder)
    statement = select(_notice).where(tables.DUE_NOTICE, due, *_not_of(but)).order_by(_notice.c.id).limit(limit)
    return [dict(row) for row in conn.execute(statement).mappings()]


def notices_by_id(conn: Connection, ids: Sequence[str]) -> list[Row]:
    """Give these notices where they are open."""
    return [
        dict(row)
        for row in conn.execute(select(_notice).where(_notice.c.id.in_(list(ids)), _notice.c.state == "open")).mappings()
    ]


def notices_of(conn: Connection, delivery: str, now: datetime) -> list[Row]:
    """Give a delivery's open notices whose time has come."""
    due = or_(_notice.c.not_before.is_(None), _notice.c.not_before <= now)
    statement = select(_notice).where(_notice.c.delivery == delivery, _notice.c.state == "open", due)
    return [dict(row) for row in conn.execute(statement.order_by(_notice.c.position)).mappings()]


def open_delivery(conn: Connection, delivery: str) -> Arrival | None:
    """Give a delivery where it is not split yet."""
    table = tables.delivery
    row = conn.execute(select(table).where(table.c.id == delivery, table.c.state == "open")).mappings().first()
    return arrival_of(dict(row)) if row is not None else None


def open_deliveries(conn: Connection, connectors: Collection[str], holder: str, limit: int = 200) -> list[Arrival]:
    """Give deliveries that are not split yet, in this hub's hands or nobody's, oldest first.

    As many of each of these connectors: none keeps another waiting.
    """
    delivery = tables.delivery
    found: list[Row] = []
    for one in sorted(connectors):
        wanted = (delivery.c.state == "open") & (delivery.c.connector == one) & within_reach(delivery, holder)
        statement = select(delivery).where(tables.OPEN_DELIVERY, wanted).order_by(delivery.c.id)
        found += [dict(row) for row in conn.execute(statement.limit(limit)).mappings()]
    return [arrival_of(row) for row in sorted(found, key=lambda row: str(row["id"]))]


def arrival_of(row: Row) -> Arrival:
    """Give a kept delivery as it arrived."""
    return Arrival(
        id=row["id"],
        endpoint=row["endpoint"],
        connection=row["connection"],
        connector=row["connector"],
        way=row["way"],
        door=row["door"],
        vendor_key=row["vendor_key"],
        headers=row["headers"],
        body=row["body"],
        received_at=row["received_at"],
        secret=row["secret"],
        holder=row["holder"],
    )


@dataclass(frozen=True, slots=True)
class Release:
    """What held notices wait for came: a connection works again."""

    connection: str


def release(conn: Connection, items: Sequence[Release]) -> list[int]:
    """Open the notices that waited for a connection."""
    return [
        conn.execute(
            update(_notice)
            .where(
                tables.HELD_NOTICE,
                _notice.c.reason == "connection",
                _notice.c.connection == item.connection,
            )
            .values(state="open", holder=None, reason=None, detail=None, not_before=None)
        ).rowcount
        for item in items
    ]
