"""Who has what in hand: several hubs share the deliveries and notices of one store, each thing at one hub.

What a hub keeps or splits is in its own hands from the first write. What is nobody's goes to the first who asks. What a
dead hub had in hand is taken over by whoever sees that, and may have been what it died of: so that is counted, and what
was there at several deaths is worked on alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, bindparam, or_, select, update

from lifecyclehub.intake.answered import LAST_LOOK
from lifecyclehub.store import leases, tables
from lifecyclehub.store.sql import Query

_delivery, _notice = tables.delivery, tables.notice
CRASHES: Final = 3
"""So often may a process die while it works on a delivery that it took over, before that is parked."""

CRASHED: Final = "crashed"


@dataclass(frozen=True, slots=True)
class Free:
    """Ask for things that are in nobody's hands."""

    what: str  # delivery | notice
    ids: tuple[str, ...]
    holder: str


def take_free(conn: Connection, items: Sequence[Free]) -> list[frozenset[str]]:
    """Take what is open and nobody's; give, for each, which ids became theirs. Of several who ask one gets it."""
    return [frozenset(_taken(conn, one)) for one in items]


def _taken(conn: Connection, one: Free) -> Sequence[str]:
    table = _TABLES[one.what]
    wanted = table.c.id.in_(one.ids) & (table.c.state == "open") & table.c.holder.is_(None)
    return conn.execute(update(table).where(wanted).values(holder=one.holder).returning(table.c.id)).scalars().all()


_TABLES: Final[dict[str, Table]] = {"delivery": _delivery, "notice": _notice}


def within_reach(table: Table, holder: Any) -> ColumnElement[bool]:
    """Give the condition for what is in a hub's own hands, or in nobody's."""
    return or_(table.c.holder == holder, table.c.holder.is_(None))


@dataclass(frozen=True, slots=True)
class Left:
    """Take over what dead hubs had in hand."""

    holder: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Suspects:
    """Deliveries that were in the hands of hubs that died, more than once: each is worked on alone, the least suspect first."""

    deliveries: tuple[str, ...]


def take_left(conn: Connection, items: Sequence[Left]) -> list[Suspects]:
    """Take over what dead hubs had in hand; park what was alone in hand when they died, too often for chance."""
    found = []
    for one in items:
        open_ones, delivery_of = _left(conn, one)
        counts = _counts(conn, {*open_ones, *delivery_of.values()})
        parked = {delivery for delivery, count in counts.items() if count >= CRASHES}
        _park(conn, parked & set(open_ones), {n for n, d in delivery_of.items() if d in parked}, counts, one.now)
        _own(conn, _delivery, set(open_ones) - parked, one.holder)
        _own(conn, _notice, {n for n, d in delivery_of.items() if d not in parked}, one.holder)
        first = [delivery for delivery, count in counts.items() if count == 0]
        for some in _chunks(first):
            conn.execute(update(_delivery).where(_delivery.c.id.in_(some)).values(crash_count=1))
        again = sorted((count, delivery) for delivery, count in counts.items() if 0 < count < CRASHES)
        found.append(Suspects(tuple(delivery for _, delivery in again)))
    return found


def left_behind(conn: Connection, one: Left) -> bool:
    """Tell whether something is in the hands of a hub that does not live.

    A commit that a hub sent as it died may come after its work was taken over.
    """
    alive_at = leases.database_time(conn, one.now)
    return any(question.all(conn, me=one.holder, alive_at=alive_at) for question in _OF_DEAD)


def _of_dead(table: Table, condition: Any) -> Query:
    alive = leases.living_at(bindparam("alive_at"))
    dead = table.c.holder.is_not(None) & table.c.holder.not_in(alive) & (table.c.holder != bindparam("me"))
    return Query(select(table.c.id).where(condition, dead, table.c.state == "open").limit(1))


_OF_DEAD: Final = (_of_dead(_delivery, tables.OPEN_DELIVERY), _of_dead(_notice, tables.OPEN_NOTICE))


def _left(conn: Connection, one: Left) -> tuple[list[str], dict[str, str]]:
    """Give deliveries, and notices with their deliveries, that dead hubs were at work on."""
    alive = leases.living(conn, one.now)
    dead = _delivery.c.holder.is_not(None) & _delivery.c.holder.not_in(alive) & (_delivery.c.holder != one.holder)
    deliveries = list(conn.execute(_locked(conn, select(_delivery.c.id).where(tables.OPEN_DELIVERY, dead))).scalars())
    dead = _notice.c.holder.is_not(None) & _notice.c.holder.not_in(alive) & (_notice.c.holder != one.holder)
    # What waited for its time was in nobody's way.
    later = dead & (_notice.c.state == "open") & (_notice.c.not_before > one.now)
    conn.execute(update(_notice).where(tables.OPEN_NOTICE, later).values(holder=one.holder))
    at_work = select(_notice.c.id, _notice.c.delivery).where(tables.OPEN_NOTICE, dead, _notice.c.state == "open")
    return deliveries, {row.id: row.delivery for row in conn.execute(_locked(conn, at_work))}


def _locked(conn: Connection, statement: Any) -> Any:
    return statement if conn.dialect.name == "sqlite" else statement.with_for_update(skip_locked=True)


def _counts(conn: Connection, deliveries: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in _chunks(sorted(deliveries)):
        found |= {row.id: row.crash_count for row in conn.execute(_COUNT.where(_delivery.c.id.in_(some)))}
    return found


_COUNT = select(_delivery.c.id, _delivery.c.crash_count)


def _own(conn: Connection, table: Table, ids: set[str], holder: str) -> None:
    for some in _chunks(sorted(ids)):
        conn.execute(update(table).where(table.c.id.in_(some)).values(holder=holder))


def _park(conn: Connection, deliveries: set[str], notices: set[str], counts: dict[str, int], now: datetime) -> None:
    for one in deliveries:
        reason = f"{CRASHED}: the process ended {counts[one]} times while this was worked on"
        conn.execute(update(_delivery).where(_delivery.c.id == one).values(state="parked", reason=reason))
    for some in _chunks(sorted(notices)):
        detail = f"the process ended {CRASHES} times while the record was worked on"
        values = {
            "state": "parked",
            "reason": CRASHED,
            "detail": detail,
            "not_before": None,
            "done_at": now,
            "last_look": LAST_LOOK,
        }
        conn.execute(update(_notice).where(_notice.c.id.in_(some)).values(**values))


def suspect(conn: Connection, deliveries: Sequence[str]) -> list[None]:
    """Count, before a delivery is worked on alone, that the process may die of it."""
    for one in deliveries:
        conn.execute(update(_delivery).where(_delivery.c.id == one).values(crash_count=_delivery.c.crash_count + 1))
    return [None] * len(deliveries)


def let_go_of(conn: Connection, holders: Sequence[str]) -> list[None]:
    """Leave to others what a hub that stops in good order has not begun or finished."""
    for one in holders:
        conn.execute(update(_delivery).where(tables.OPEN_DELIVERY, _delivery.c.holder == one).values(holder=None))
        conn.execute(update(_notice).where(tables.OPEN_NOTICE, _notice.c.holder == one).values(holder=None))
    return [None] * len(holders)


def _chunks(ids: Sequence[str]) -> Sequence[Sequence[str]]:
    return [ids[start : start + 400] for start in range(0, len(ids), 400)]
