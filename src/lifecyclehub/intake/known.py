"""What a sweep need not look at: records that are known as they are listed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, func, or_, select

from lifecyclehub.connector import Kind
from lifecyclehub.messages import Notice
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.state import records
from lifecyclehub.store.things import Row

SKEW: Final = timedelta(minutes=2)
"""By how much a vendor's clock and ours may differ."""


def to_look_at(conn: Connection, connection: str, kind: Kind, notices: Sequence[Notice], since: datetime | None) -> list[Notice]:
    """Give the listed records that must be looked at: not those that are known as they are listed, or wait to be looked at.

    `since`: records that were never met and did not change since then are history, which only an import takes in.
    """
    keys = {(connection, kind.id, one.record_id) for one in notices}
    links = {row["record_id"]: row for row in records(conn, tables.link, keys)}
    waiting = _waiting_since(conn, connection, kind.id, [one.record_id for one in notices])
    return [one for one in notices if _wanted(kind, one, links.get(one.record_id), waiting.get(one.record_id), since)]


def _wanted(kind: Kind, one: Notice, link: Row | None, waits: datetime | None, since: datetime | None) -> bool:
    if waits is not None and one.at is not None and waits > one.at + SKEW:
        return False
    if link is None or link["fetched_at"] is None:
        history = since is not None and one.at is not None and one.at < since - SKEW
        return link is not None or not history
    if one.change == "merged":
        return bool(link["merged_into"] != one.into)
    if one.change == "deleted" or link["deleted_at"] is not None:
        return (one.change == "deleted") != (link["deleted_at"] is not None)
    return not _as_listed(kind, one, link)


def _as_listed(kind: Kind, one: Notice, link: Row) -> bool:
    """Tell whether our look at a record was later than the change that the list shows."""
    if kind.order == "version" and one.version is not None:
        return bool(one.version == link["version"])
    if kind.order != "time" or one.at is None or link["changed_at"] is None:
        return False
    long_over = one.at + timedelta(seconds=kind.resolution_s) + SKEW  # nothing more may have happened within that tick
    return bool(one.at <= link["changed_at"] and link["fetched_at"] > long_over)


def _waiting_since(conn: Connection, connection: str, kind: str, ids: Sequence[str]) -> dict[str, datetime]:
    """Give when the newest notice of each record came that still waits: looking in vain again tells nothing new."""
    return {row["record_id"]: row["newest"] for row in _NEWEST.each(conn, ids, connection=connection, kind=kind)}


_notice = tables.notice
_NEWEST: Final = Query(
    select(_notice.c.record_id, func.max(_notice.c.kept_at, type_=_notice.c.kept_at.type).label("newest"))
    .where(
        _notice.c.connection == bindparam("connection"),
        _notice.c.kind == bindparam("kind"),
        or_(*(_notice.c.state == one for one in ("open", "held", "parked"))),
    )
    .group_by(_notice.c.record_id),
    _notice.c.record_id,
)
