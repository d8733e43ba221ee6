"""The load: sends requests over kept connections, either as fast as they are answered or at a rate of its own.

A bare HTTP/1.1 client, because it shares two cores with what it measures.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from ledger import Ledger

FRESH_S = 3.0  # servers close idle connections after 5 s
Make = Callable[[int], bytes]
"""Makes the whole request of a piece, signed for this moment."""


class _Connection(asyncio.Protocol):
    """One connection: one request at a time, `done` is told the status, 0 when the connection broke."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.done: Callable[[int], None] | None = None
        self.used = time.monotonic()
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._finish(0)

    @property
    def usable(self) -> bool:
        return self.transport is not None and not self.transport.is_closing() and time.monotonic() - self.used < FRESH_S

    def send(self, request: bytes, done: Callable[[int], None]) -> None:
        assert self.transport is not None
        self.done, self._seen = done, b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) >= length:
            self._finish(int(head[9:12]))

    def _finish(self, status: int) -> None:
        self.used = time.monotonic()
        done, self.done = self.done, None
        if done is not None:
            done(status)


class Load:
    """Sends pieces to one server and notes in the ledger how they were answered."""

    def __init__(self, port: int, ledger: Ledger, make: Make) -> None:
        self._port, self._ledger, self._make = port, ledger, make
        self._free: list[_Connection] = []

    async def _open(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
        return connection

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if connection.usable:
                return connection
            if connection.transport is not None:
                connection.transport.close()
        return await self._open()

    async def one(self, piece: int) -> None:
        """Send one piece and wait for its answer."""
        connection = await self._connection()
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        request = self._make(piece)
        self._ledger.sent[piece] = time.monotonic_ns()
        connection.send(request, answered.set_result)
        self._ledger.answer(piece, await answered)
        self._free.append(connection)

    async def closed(self, pieces: Sequence[int], connections: int) -> None:
        """Send all pieces; each connection sends its next one as soon as it has an answer."""
        left = iter(pieces)

        async def go() -> None:
            for piece in left:
                await self.one(piece)

        await asyncio.gather(*(go() for _ in range(connections)))

    async def paced(self, pieces: Sequence[int], rate: float, seed: int) -> None:
        """Send pieces at random moments, `rate` a second on average, whether or not the earlier ones were answered."""
        chance = random.Random(seed)
        moment = time.monotonic()
        sending = set()
        for piece in pieces:
            moment += chance.expovariate(rate)
            if (pause := moment - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            runner = asyncio.ensure_future(self.one(piece))
            sending.add(runner)
            runner.add_done_callback(sending.discard)
        await asyncio.gather(*sending)

    def close(self) -> None:
        """Close what is open."""
        for connection in self._free:
            if connection.transport is not None:
                connection.transport.close()
        self._free.clear()
