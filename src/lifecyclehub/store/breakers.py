"""Open breakers as rows, one for each connection: every hub and every page sees the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.upsert import put_all
from lifecyclehub.store.writer import Store, StoreBusy, StoreClosed

_table = tables.breaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A breaker that is open, as it is kept: until when, how long that pause is, until when a probe is under way, and why."""

    open_until: datetime
    pause_s: int
    probe_until: datetime | None
    since: datetime
    reason: str


def _open(conn: Connection, rows: Sequence[dict[str, Any]]) -> list[None]:
    put_all(conn, _table, rows)
    return [None] * len(rows)


def _close(conn: Connection, connections: Sequence[str]) -> list[None]:
    conn.execute(delete(_table).where(_table.c.connection.in_(list(connections))))
    return [None] * len(connections)


def _probe(conn: Connection, items: Sequence[tuple[str, datetime, datetime]]) -> list[bool]:
    """Let one call through after a pause, whichever hub it comes from."""
    return [_may_probe(conn, *one) for one in items]


def _may_probe(conn: Connection, connection: str, now: datetime, until: datetime) -> bool:
    free = (_table.c.open_until <= now) & (_table.c.probe_until.is_(None) | (_table.c.probe_until <= now))
    mine = conn.execute(update(_table).where(_table.c.connection == connection, free).values(probe_until=until))
    return bool(mine.rowcount)


def read_breakers(conn: Connection) -> Mapping[str, Opened]:
    """Give the open breakers by connection."""
    return {row["connection"]: Opened(**{name: row[name] for name in Opened.__slots__}) for row in _ROWS.all(conn)}


_ROWS = Query(select(_table))


class StoredBreakers:
    """Keeps open breakers. While the store is busy each process goes by what it saw itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def opened(self, connection: str, breaker: Opened) -> bool:
        """Keep one that has opened, or whose pause is longer now. False while the store is busy."""
        row = {"connection": connection, **{name: getattr(breaker, name) for name in Opened.__slots__}}
        with suppress(StoreBusy, StoreClosed):
            await self._store.run(_open, row)
            return True
        return False

    async def closed(self, connection: str) -> None:
        """Forget one that has closed."""
        with suppress(StoreBusy, StoreClosed):
            await self._store.run(_close, connection)

    async def may_probe(self, connection: str, now: datetime, until: datetime) -> bool:
        """Take the one call that is let through after a pause. False where another worker has it."""
        with suppress(StoreBusy, StoreClosed):
            return await self._store.run(_probe, (connection, now, until))
        return True
