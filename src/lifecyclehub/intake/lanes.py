"""Records at work: one thing at a time for each record, different ones side by side, and room for every connection."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

from lifecyclehub.dispatch.perform import Flow
from lifecyclehub.store.things import Row

RecordKey = tuple[str, str, str]

LANES: Final = 5_000  # records at work or waiting in memory; what is more stays open in the store
SHARE: Final = LANES // 4  # of one connection: a vendor that does not answer takes no other one's room
BUSY: Final = 250  # beyond which what is due again is not even read: it would stand before that of others
AT_ONCE: Final = 128  # records of one connection that are looked at side by side
ROOM: Final = 32  # waiting records of one connection beyond which sweeps bring no more
_LOOK_S: Final = 1.0


class Lanes:
    """Gives each record's notices to `work`, together where several wait."""

    def __init__(self, flow: Flow, work: Callable[[RecordKey, Sequence[Row]], Awaitable[None]]) -> None:
        self._flow, self._work = flow, work
        self._lanes: dict[RecordKey, dict[str, Row]] = {}
        self._of: Counter[str] = Counter()  # lanes by connection
        self._running: Counter[str] = Counter()
        self._turns: dict[str, deque[RecordKey]] = {}
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self.at_work: set[str] = set()  # notices that a lane is just working on
        self.stranded = False  # something is left open in the store that nobody here will come back to

    def __len__(self) -> int:
        return len(self._lanes)

    def full(self, share: int = SHARE) -> set[str]:
        """Give the connections that have their share of room, or so much of it."""
        return {one for one, count in self._of.items() if count >= share}

    def count(self, connection: str) -> int:
        """Give how many records of a connection are at work or wait."""
        return self._of[connection]

    def take(self, notices: Iterable[Row]) -> None:
        """Put open notices into the lane of their record."""
        for row in notices:
            key = (row["connection"], row["kind"], row["record_id"])
            lane = self._lanes.get(key)
            if lane is not None:
                lane[row["id"]] = row
            elif self._flow.stopping or len(self._lanes) >= LANES or self._of[key[0]] >= SHARE:
                self.stranded = True
            else:
                self._lanes[key] = {row["id"]: row}
                self._of[key[0]] += 1
                self._turns.setdefault(key[0], deque()).append(key)
                self._next(key[0])

    async def fewer(self, connection: str) -> None:
        """Wait until fewer records of a connection wait, a second at most."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(connection, []).append(waiter)
        await asyncio.wait({waiter}, timeout=_LOOK_S)

    async def over(self, key: RecordKey) -> None:
        """Wait until nothing of a record is at work or waits."""
        while key in self._lanes:
            await self.fewer(key[0])

    def _next(self, connection: str) -> None:
        turns = self._turns.get(connection)
        while turns and self._running[connection] < AT_ONCE:
            self._running[connection] += 1
            key = turns.popleft()
            self._flow.start(self._lane(key), partial(self._end, key))

    async def _lane(self, key: RecordKey) -> None:
        try:
            while waiting := self._lanes[key]:
                self._lanes[key] = {}
                self.at_work |= waiting.keys()
                try:
                    await self._work(key, list(waiting.values()))
                finally:
                    self.at_work -= waiting.keys()
        except Exception:
            self.stranded = True  # whatever it was: the notices are open, and are taken up again
            raise
        finally:
            self._end(key)

    def _end(self, key: RecordKey) -> None:
        connection = key[0]
        if self._lanes.pop(key):
            self.stranded = True  # what came while this lane broke off, or was not begun
        for counter in (self._of, self._running):
            counter[connection] -= 1
            if not counter[connection]:
                del counter[connection]
        for waiter in self._waiters.pop(connection, ()):
            if not waiter.done():
                waiter.set_result(None)
        self._next(connection)
        if not self._of[connection]:
            self._turns.pop(connection, None)
