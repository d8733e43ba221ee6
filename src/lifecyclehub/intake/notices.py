"""Operations on notices and deliveries besides splitting and settling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, or_, select, update

from lifecyclehub.intake.keep import Arrival
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
        attempts=_notice.c.attempts + 1,
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
        }
        for item in items
        for notice in item.notices
    ]
    if values:
        conn.execute(_FAILED, values)
    return [None] * len(items)


def open_notices(conn: Connection, now: datetime, after: str, limit: int = 500) -> list[Row]:
    """Give open notices whose time has come, oldest first."""
    statement = (
        select(_notice)
        .where(
            tables.OPEN_NOTICE,
            _notice.c.state == "open",
            or_(_notice.c.not_before.is_(None), _notice.c.not_before <= now),
            _notice.c.id > after,
        )
        .order_by(_notice.c.id)
        .limit(limit)
    )
    return [dict(row) for row in conn.execute(statement).mappings()]


def due_notices(conn: Connection, now: datetime, limit: int = 500) -> list[Row]:
    """Give notices that are to be tried again now."""
    due = (_notice.c.state == "open") & (_notice.c.not_before <= now)
    statement = select(_notice).where(tables.OPEN_NOTICE, due).order_by(_notice.c.id).limit(limit)
    return [dict(row) for row in conn.execute(statement).mappings()]


def notices_by_id(conn: Connection, ids: Sequence[str]) -> list[Row]:
    """Give these notices where they are open."""
    return [
        dict(row)
        for row in conn.execute(select(_notice).where(_notice.c.id.in_(list(ids)), _notice.c.state == "open")).mappings()
    ]


def open_deliveries(conn: Connection, after: str, limit: int = 200) -> list[Arrival]:
    """Give deliveries that are not split yet, oldest first."""
    delivery = tables.delivery
    wanted = (delivery.c.state == "open") & (delivery.c.id > after)
    statement = select(delivery).where(tables.OPEN_DELIVERY, wanted).order_by(delivery.c.id).limit(limit)
    return [arrival_of(dict(row)) for row in conn.execute(statement).mappings()]


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
                tables.OPEN_NOTICE,
                _notice.c.state == "held",
                _notice.c.reason == "connection",
                _notice.c.connection == item.connection,
            )
            .values(state="open", reason=None, detail=None, not_before=None)
        ).rowcount
        for item in items
    ]
