"""How far sweeps have come: a row for each connection, kind and way, which also says who is sweeping.

The row outlives restarts and edited rules. A pass that nobody goes on with is taken over once its hold has run out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from lifecyclehub.insight.clocks import FULL
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query, Write
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_new
from lifecyclehub.store.writer import as_operation

_cursor = tables.cursor


class Place(NamedTuple):
    """Which sweep: of what kind on which connection, and in which way."""

    connection: str
    kind: str
    way: str


@dataclass(frozen=True, slots=True)
class Take:
    """Somebody wants to sweep, until a moment unless it says so again."""

    place: Place
    holder: str
    now: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """A page was kept: where to go on, what it listed, and whether it was the last one."""

    place: Place
    holder: str
    value: str | None
    now: datetime
    until: datetime
    listed: tuple[str, ...] = ()
    found: int = 0
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A pass stopped before its end: why, and when to go on. `failed`: it counts as a failure in a row."""

    place: Place
    holder: str
    reason: str | None
    not_before: datetime | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """A person asks for a pass, from the beginning unless one is under way."""

    place: Place
    now: datetime


def _is(place: Place) -> tuple[Any, ...]:
    return (_cursor.c.connection == place.connection, _cursor.c.kind == place.kind, _cursor.c.way == place.way)


_HERE: Final = _is(Place(*(bindparam(name) for name in ("of", "sort", "in_way"))))  # type: ignore[arg-type]


def _at(place: Place) -> dict[str, str]:
    return {"of": place.connection, "sort": place.kind, "in_way": place.way}


def _take(conn: Connection, item: Take) -> Row | None:
    """Take a sweep that nobody else holds; gives its row as it was left, None when another worker is at it.

    What this worker holds itself it could not let go of: the database was busy.
    """
    insert_new(conn, _cursor, [item.place._asdict()])
    if not _TAKE.count(conn, me=item.holder, now=item.now, until=item.until, **_at(item.place)):
        return None
    return _ROW.all(conn, **_at(item.place))[0]


_FREE = or_(
    _cursor.c.holder.is_(None),
    _cursor.c.holder == bindparam("me"),
    _cursor.c.held_until.is_(None),
    _cursor.c.held_until < bindparam("now"),
)
_TAKE = Write(
    update(_cursor)
    .where(*_HERE, _FREE)
    .values(
        holder=bindparam("me"),
        held_until=bindparam("until"),
        began_at=func.coalesce(_cursor.c.began_at, bindparam("now", type_=_cursor.c.began_at.type)),
    )
)
_ROW = Query(select(_cursor).where(*_HERE))


def _came_to(conn: Connection, item: Came) -> bool:
    """Note how far a sweep came; False when another worker has taken it over meanwhile."""
    came = {"me": item.holder, "new_value": item.value, "more": item.found, **_at(item.place)}
    if item.last:
        moved = _ENDED.count(conn, at=item.now, **came)
    else:
        moved = _WENT_ON.count(conn, until=item.until, on_page=len(item.listed), **came)
    if moved and item.place.way == FULL:
        _note_listed(conn, item)
    return bool(moved)


def _came(**more: Any) -> Write:
    came = {"value": bindparam("new_value"), "found": _cursor.c.found + bindparam("more")}
    nothing = {"failures": 0, "reason": None, "not_before": None}
    return Write(update(_cursor).where(*_HERE, _cursor.c.holder == bindparam("me")).values(**came, **nothing, **more))


_ENDED = _came(began_at=None, swept_at=bindparam("at"), listed=0, holder=None, held_until=None)
_WENT_ON = _came(listed=_cursor.c.listed + bindparam("on_page"), held_until=bindparam("until"))


def _note_listed(conn: Connection, item: Came) -> None:
    if item.last:
        table = tables.listed
        conn.execute(delete(table).where(table.c.connection == item.place.connection, table.c.kind == item.place.kind))
        return
    rows = [{"connection": item.place.connection, "kind": item.place.kind, "record_id": one} for one in item.listed]
    insert_new(conn, tables.listed, rows)


def _stop(conn: Connection, item: Stopped) -> None:
    failures = {"failures": _cursor.c.failures + 1} if item.failed else {}
    conn.execute(
        update(_cursor)
        .where(*_is(item.place), _cursor.c.holder == item.holder)
        .values(holder=None, held_until=None, reason=item.reason, not_before=item.not_before, **failures)
    )


def _ask(conn: Connection, item: Ask) -> bool:
    """Begin a pass unless one is under way; it goes on from where it is then, and at once. True for a new one."""
    insert_new(conn, _cursor, [item.place._asdict()])
    idle = _cursor.c.began_at.is_(None)
    anew = {"began_at": item.now, "value": None, "listed": 0, "found": 0, "swept_at": None}
    new = conn.execute(update(_cursor).where(*_is(item.place), idle).values(**anew)).rowcount
    conn.execute(update(_cursor).where(*_is(item.place)).values(not_before=None, failures=0, reason=None))
    return bool(new)


take, came_to, stop, ask = as_operation(_take), as_operation(_came_to), as_operation(_stop), as_operation(_ask)


def free_all(conn: Connection, _: Sequence[None]) -> list[None]:
    """Let go of every sweep: whoever held one on a store of its own has ended."""
    conn.execute(update(_cursor).where(_cursor.c.holder.is_not(None)).values(holder=None, held_until=None))
    return [None]


def read_passes(conn: Connection) -> dict[Place, Row]:
    """Give how far every sweep has come."""
    return {Place(row["connection"], row["kind"], row["way"]): row for row in _ALL.all(conn)}


_ALL = Query(select(_cursor))
