"""Parked notices that are no question any more: their record was taken in since, or found its place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, exists, or_, select, text, update

from lifecyclehub.store import tables

_link, _notice, _ticket = tables.link, tables.notice, tables.ticket
_its_link = (
    _link.c.connection == _notice.c.connection,
    _link.c.kind == _notice.c.kind,
    _link.c.record_id == _notice.c.record_id,
)
LAST_LOOK: Final = select(_link.c.fetched_at).where(*_its_link).scalar_subquery()
"""When the last look at a notice's record began, by the clock of that look: written down when the notice fails."""


def close_answered(conn: Connection, items: Sequence[datetime]) -> list[int]:
    """Close parked notices that are no question any more: their record was taken in since, or found its place.

    One look serves every notice that came before it began. It must be another one than the last before the notice failed:
    that one may seem to have begun later, dated by a clock that was put back since. What only a payload told is no look.
    """
    return [conn.execute(_ANSWERED.values(done_at=now)).rowcount for now in items]


_could_not_look = _notice.c.reason.in_(("mapping", "forbidden", "unsupported", "gave up", "error", "crashed"))
_looked_at_since = exists().where(
    *_its_link,
    _link.c.answered_at.is_not(None),
    _link.c.fetched_at > _notice.c.kept_at,
    _link.c.fetched_at.is_distinct_from(_notice.c.last_look),
)
_has_its_place = exists().where(*_its_link, _ticket.c.id == _link.c.thing, _ticket.c.project.is_not(None))
_ANSWERED = (
    update(_notice)
    .where(
        text("state = 'parked'"),  # as its index has it
        or_(_could_not_look & _looked_at_since, (_notice.c.reason == "several projects") & _has_its_place),
    )
    .values(state="processed", reason="seen since", detail="its record was taken in later")
)
