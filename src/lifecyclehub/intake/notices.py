"""Operations on notices and deliveries besides splitting and settling."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, and_, bindparam, or_, select, update

from lifecyclehub.intake.answered import LAST_LOOK
from lifecyclehub.intake.keep import Arrival
from lifecyclehub.intake.taking import within_reach
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query, Write
from lifecyclehub.store.things import Row

_notice, _delivery = tables.notice, tables.delivery
_FAILED = Write(
    update(_notice)
    .where(_notice.c.id == bindparam("which"), or_(_notice.c.state == "open", _notice.c.state == "held"))
    .values(
        state=bindparam("new_state"),
        reason=bindparam("new_reason"),
        detail=bindparam("new_detail"),
        attempts=_notice.c.attempts + bindparam("tries"),
        first_failed_at=bindparam("since"),
        not_before=bindparam("next"),
        last_look=LAST_LOOK,
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
        _FAILED.run(conn, values)
    return [None] * len(items)


def open_notices(
    conn: Connection, now: datetime, holder: str, after: str, limit: int = 500, *, but: Collection[str] = ()
) -> list[Row]:
    """Give open notices whose time has come, oldest first: in this hub's hands or nobody's, `but` those of some connections."""
    return _all(conn, _BACKLOG, but, now=now, holder=holder, after=after, limit=limit)


def _all(conn: Connection, question: Query, but: Collection[str], **values: Any) -> list[Row]:
    if not but:
        return question.all(conn, **values)
    others = question.statement.where(_notice.c.connection.not_in(sorted(but)))
    return [dict(row) for row in conn.execute(others, values).mappings()]


def due_notices(conn: Connection, now: datetime, holder: str, limit: int = 500, *, but: Collection[str] = ()) -> list[Row]:
    """Give notices that are to be tried again now, and what others left to whoever comes first, `but` of some connections."""
    return _all(conn, _TO_BE_TRIED, but, now=now, holder=holder, limit=limit)


def _notices_that(*wanted: Any) -> Query:
    reach = within_reach(_notice, bindparam("holder"))
    which = select(_notice).where(*wanted, _notice.c.state == "open", reach)
    return Query(which.order_by(_notice.c.id).limit(bindparam("limit", type_=Integer)))


_ITS_TIME = _notice.c.not_before <= bindparam("now")
_NO_TIME = _notice.c.not_before.is_(None)
_BACKLOG = _notices_that(tables.OPEN_NOTICE, or_(_NO_TIME, _ITS_TIME), _notice.c.id > bindparam("after"))
_TO_BE_TRIED = _notices_that(tables.DUE_NOTICE, or_(_ITS_TIME, and_(_notice.c.holder.is_(None), _NO_TIME)))


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
    row = conn.execute(select(_delivery).where(_delivery.c.id == delivery, _delivery.c.state == "open")).mappings().first()
    return arrival_of(dict(row)) if row is not None else None


def open_deliveries(conn: Connection, connectors: Collection[str], holder: str, limit: int = 200) -> list[Arrival]:
    """Give deliveries that are not split yet, in this hub's hands or nobody's, oldest first.

    As many of each of these connectors: none keeps another waiting.
    """
    found = [row for one in sorted(connectors) for row in _UNSPLIT.all(conn, connector=one, holder=holder, limit=limit)]
    return [arrival_of(row) for row in sorted(found, key=lambda row: str(row["id"]))]


_UNSPLIT = Query(
    select(_delivery)
    .where(
        tables.OPEN_DELIVERY,
        _delivery.c.state == "open",
        _delivery.c.connector == bindparam("connector"),
        within_reach(_delivery, bindparam("holder")),
    )
    .order_by(_delivery.c.id)
    .limit(bindparam("limit", type_=Integer))
)


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
    return [_RELEASE.count(conn, of=item.connection) for item in items]


_RELEASE = Write(
    update(_notice)
    .where(tables.HELD_NOTICE, _notice.c.reason == "connection", _notice.c.connection == bindparam("of"))
    .values(state="open", holder=None, reason=None, detail=None, not_before=None)
)
