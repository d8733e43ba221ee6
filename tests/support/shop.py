"""A store whose writer can be made to wait, so that a test decides what comes into one batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, select

from lifecyclehub.store.writer import Store

sheet = Table("sheet", MetaData(), Column("line", Integer, primary_key=True), Column("text", Text, nullable=False))


def write(conn: Connection, items: Sequence[tuple[int, str]]) -> list[int]:
    """Write lines, and give their numbers."""
    conn.execute(sheet.insert(), [{"line": line, "text": text} for line, text in items])
    return [line for line, _ in items]


def written(conn: Connection) -> list[tuple[int, str]]:
    """Give all lines."""
    return [(row.line, row.text) for row in conn.execute(select(sheet).order_by(sheet.c.line))]


class Shop:
    """A store, and what its operations did in which order."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.log: list[Any] = []

    @asynccontextmanager
    async def queue(self) -> AsyncIterator[None]:
        """What is asked within goes into one batch, which begins when the block ends."""
        entered, go = threading.Event(), threading.Event()

        def door(_: Connection, items: Sequence[None]) -> list[None]:
            entered.set()
            assert go.wait(10)
            return list(items)

        waiting = asyncio.ensure_future(self.store.run(door, None))
        try:
            await asyncio.to_thread(entered.wait, 10)
            yield
            await asyncio.sleep(0)  # what was asked is in the queue now
        finally:
            go.set()
            await waiting

    async def lines(self) -> list[tuple[int, str]]:
        """Give what is committed."""
        return await self.store.read(written)

    def close(self) -> None:
        """Close the store."""
        self.store.close()
