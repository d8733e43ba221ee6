"""Leases: who has something in hand, for so long as they say so again. A hub's own lease says that it lives.

Their time is the database's where several processes share it, so that clocks that differ end nobody's lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, delete, func, select, text, update

from lifecyclehub.store import tables
from lifecyclehub.store.sql import Insert, Query
from lifecyclehub.store.upsert import insert_into

HUB_S: Final = 30.0
"""How long a hub counts as living after it last said so."""

_ALONE_S: Final = 100 * 365 * 86_400.0  # nobody else looks: the file's lock says whether it lives
HUB_PREFIX: Final = "hub_"
_lease = tables.lease


@dataclass(frozen=True, slots=True)
class Hold:
    """Ask for a lease, or keep it, for so many seconds from now. `now` counts only where the database has no clock."""

    name: str
    holder: str
    seconds: float
    now: datetime


@dataclass(frozen=True, slots=True)
class LetGo:
    """Give a lease back."""

    name: str
    holder: str
    now: datetime


def database_time(conn: Connection, now: datetime) -> datetime:
    """Give the database's time where it is a server with a clock of its own, else ours."""
    if conn.dialect.name == "sqlite":
        return now
    told: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    return told.astimezone(UTC)


def hold(conn: Connection, items: Sequence[Hold]) -> list[bool]:
    """Take leases that nobody else has. False where somebody else has it."""
    if not items:
        return []
    now = database_time(conn, items[0].now)
    return [_held(conn, one, now) for one in items]


def _held(conn: Connection, one: Hold, now: datetime) -> bool:
    until = now + timedelta(seconds=one.seconds)
    return _TAKE.count(conn, name=one.name, holder=one.holder, until=until, epoch=1, now=now) > 0


def _taking(database: str, _columns: tuple[str, ...]) -> Any:
    insert = insert_into(_lease, database)
    return insert.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": insert.excluded.holder, "until": insert.excluded.until, "epoch": _lease.c.epoch + 1},
        where=(_lease.c.holder == insert.excluded.holder) | (_lease.c.until <= bindparam("now")),
    )


_TAKE = Insert(_taking)


def let_go(conn: Connection, items: Sequence[LetGo]) -> list[None]:
    """Give leases back, so that somebody else need not wait. What another one holds by now stays theirs."""
    for one in items:
        now = database_time(conn, one.now)
        mine = (_lease.c.name == one.name) & (_lease.c.holder == one.holder)
        conn.execute(update(_lease).where(mine).values(until=now))
    return [None] * len(items)


# --- hubs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beat:
    """A hub says that it lives. `alone`: it has the store for itself, so every other one is dead.

    `home` is where it runs: it has that for itself too, so others that ran there are dead.
    """

    hub: str
    home: str
    now: datetime
    alone: bool
    starting: bool = False


def beat(conn: Connection, items: Sequence[Beat]) -> list[list[str]]:
    """Keep the leases of hubs, and give those of others that are over: what they had in hand is to be taken over."""
    over = []
    for one in items:
        now = database_time(conn, one.now)
        if one.starting:
            dead = _HUBS & (_lease.c.name != one.hub)
            if not one.alone:
                dead &= _lease.c.holder == one.home
            conn.execute(update(_lease).where(dead).values(until=now))
        _held(conn, Hold(one.hub, one.home, _ALONE_S if one.alone else HUB_S, now), now)
        over.append(sorted(row["name"] for row in _OVER.all(conn, me=one.hub, now=now)))
    return over


_HUBS = _lease.c.name.startswith(HUB_PREFIX, autoescape=True)
_OVER = Query(select(_lease.c.name).where(_HUBS, _lease.c.name != bindparam("me"), _lease.c.until <= bindparam("now")))


def forget(conn: Connection, items: Sequence[tuple[str, datetime]]) -> list[None]:
    """Drop the leases of hubs whose work was taken over, unless they live again."""
    for name, now in items:
        conn.execute(delete(_lease).where(_lease.c.name == name, _lease.c.until <= database_time(conn, now)))
    return [None] * len(items)


def living(conn: Connection, now: datetime) -> Select[tuple[str]]:
    """Give the question which hubs live."""
    return living_at(database_time(conn, now))


def living_at(moment: Any) -> Select[tuple[str]]:
    """Give the question which hubs live at a moment of the database's time, or at one that is bound later."""
    return select(_lease.c.name).where(_HUBS, _lease.c.until > moment)


def working_at(moment: Any) -> Select[tuple[str]]:
    """Give the question which hubs live in homes that may call the tools: others go on with nothing. `moment` as above."""
    return living_at(moment).where(_lease.c.holder.in_(select(tables.host.c.fingerprint)))


def living_hubs(conn: Connection, now: datetime) -> int:
    """Count the hubs that live."""
    return int(conn.execute(select(func.count()).select_from(living(conn, now).subquery())).scalar_one())


def living_elsewhere(conn: Connection, home: str, now: datetime) -> int:
    """Count the hubs that live in other homes; where the database serves one there are none."""
    if conn.dialect.name == "sqlite":
        return 0
    question = living(conn, now).where(_lease.c.holder != home)
    return int(conn.execute(select(func.count()).select_from(question.subquery())).scalar_one())
