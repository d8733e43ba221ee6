"""When something is due by itself."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection, bindparam, select

from lifecyclehub.connector import About, Kind
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.things import Row

SWEEP_S: Final = 900.0
"""How often a connection that listens is swept; one that polls is swept as often as its kind says."""

NIGHT: Final = time(2)
"""When everything is listed, in the account's own time zone."""

CHANGES: Final = "changes"
FULL: Final = "full"
IMPORT: Final = "import"
"""What a pass looks for: what changed since the last one; all there is, every night; all of history, when a person asks."""

CALLS_PER_DAY: Final = "calls_per_day"
_DAY_S: Final = 86_400.0


def swept_every(connection: Row, kind: Kind) -> timedelta | None:
    """Give how often records of a kind are looked for on a connection, None where they cannot be."""
    if kind.fills is None or kind.poll_s is None:
        return None
    polled = float(connection["settings"].get("poll_s") or kind.poll_s) if connection["polls"] else SWEEP_S
    return timedelta(seconds=polled)


def next_pass(connection: Row, kind: Kind, way: str, last: Row | None) -> datetime | None:
    """Give when a pass is due, None for never by itself. `last`: how far that way has come.

    A pass that was interrupted goes on at once, unless it failed: then by its schedule.
    """
    every = swept_every(connection, kind)
    if every is None:
        return None
    begun: datetime | None = last["began_at"] if last is not None else None
    ended: datetime | None = last["swept_at"] if last is not None else None
    wait: datetime | None = last["not_before"] if last is not None else None
    due: datetime
    if begun is not None:
        due = begun
    elif way == CHANGES:
        due = ended + every if ended is not None else connection["created_at"]
    elif way == FULL:
        due = next_night(ended or connection["created_at"], connection["account"].get("timezone"))
    else:
        return None
    return max(due, wait) if wait is not None else due


def next_night(after: datetime, timezone: str | None) -> datetime:
    """Give the first night's hour after a moment, UTC; in UTC too where the time zone is not known."""
    zone = _zone(timezone)
    night = datetime.combine(after.astimezone(zone).date(), NIGHT, zone)
    if night <= after:
        night = datetime.combine(night.date() + timedelta(days=1), NIGHT, zone)
    return night.astimezone(UTC)


def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


# --- the day's calls --------------------------------------------------------------------------------------------------


def calls_per_day(connection: Row, about: About) -> int | None:
    """Give how many calls a day a connection has: its own setting, else the rate that the connector declares."""
    said = connection["settings"].get(CALLS_PER_DAY)
    if said:
        return int(said)
    return min((rate.limit for rate in about.rates if rate.per_s == _DAY_S), default=None)


def day_of(now: datetime) -> str:
    """Give the day that calls of this moment count for."""
    return now.astimezone(UTC).date().isoformat()


def calls_of_day(conn: Connection, day: str) -> dict[str, int]:
    """Give how many calls were made on a day, by connection, as far as it was noted: every few seconds."""
    return {row["connection"]: row["calls"] for row in _CALLS_OF_DAY.all(conn, day=day)}


_CALLS_OF_DAY = Query(select(tables.usage).where(tables.usage.c.day == bindparam("day")))
