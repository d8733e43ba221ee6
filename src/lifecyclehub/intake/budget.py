"""How many calls a connection may make in a day, and how many it has made: looking for more leaves room for the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, update

from lifecyclehub.connector import About
from lifecyclehub.insight.clocks import calls_of_day, calls_per_day, day_of
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Write
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_new
from lifecyclehub.store.writer import Store, as_operation

SHARE: Final = 0.8
"""Beyond this share of the day's calls nothing is looked for: the rest is for what is announced, and for effects."""


def next_day(now: datetime) -> datetime:
    """Give the beginning of the next day, in UTC, when calls are counted anew."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)


def _add(conn: Connection, item: Sequence[tuple[str, str, int]]) -> None:
    insert_new(conn, _usage, [{"connection": connection, "day": day, "calls": 0} for connection, day, _ in item])
    _MORE.run(conn, [{"of": connection, "on": day, "more": calls} for connection, day, calls in item])


_usage = tables.usage
_MORE = Write(
    update(_usage)
    .where(_usage.c.connection == bindparam("of"), _usage.c.day == bindparam("on"))
    .values(calls=_usage.c.calls + bindparam("more"))
)


add_calls = as_operation(_add)


class Budget:
    """Counts calls over restarts and processes: what this process made, and what the store knows of all."""

    def __init__(self, store: Store, calls: Counter[str]) -> None:
        """`calls`: how many this process made for each connection since it began; whoever sends counts on."""
        self._store, self._calls = store, calls
        self._noted: Counter[str] = Counter()
        self._known: dict[str, int] = {}

    async def note(self, now: datetime) -> None:
        """Keep what was called since the last time, and read what others called."""
        day = day_of(now)
        new = [(one, day, calls - self._noted[one]) for one, calls in self._calls.items() if calls > self._noted[one]]
        if new:
            await self._store.run(add_calls, new)
            self._noted.update({one: calls for one, _, calls in new})
        self._known = await self._store.read(calls_of_day, day)

    def spent(self, connection: str) -> int:
        """Give how many calls were made today."""
        return self._known.get(connection, 0) + self._calls[connection] - self._noted[connection]

    def left(self, connection: Row, about: About) -> int | None:
        """Give how many more calls looking for more may make today, None for any number."""
        limit = calls_per_day(connection, about)
        return None if limit is None else int(limit * SHARE) - self.spent(connection["id"])
