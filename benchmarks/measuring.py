"""The phases of a measurement, and what comes out of them."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ledger import Ledger, percentile
from load import Load
from server import Server, own_cpu_s

CONNECTIONS = 32
Figures = dict[str, float | None]


@dataclass(slots=True)
class Tally:
    """What came out of one repetition."""

    figures: Figures = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    refused: int = 0
    acknowledged: int = 0


@contextmanager
def no_collecting() -> Iterator[None]:
    """Keep this process's garbage collector from adding its own pauses to what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Measurement:
    """One server under measurement: its phases, one after the other, with pieces numbered through."""

    def __init__(self, server: Server, load: Load, ledger: Ledger, first: int = 1) -> None:
        self._server, self._load, self._ledger = server, load, ledger
        self.next = first
        self.tally = Tally()

    def pieces(self, count: int) -> range:
        """Give so many new pieces."""
        first, self.next = self.next, self.next + count
        return range(first, self.next)

    async def warm_up(self, count: int) -> None:
        """Let caches fill and code be loaded; only loss and doubling count here."""
        pieces = self.pieces(count)
        await self._load.closed(pieces, min(CONNECTIONS, count))
        await self._arrived(pieces)

    async def most(self, count: int) -> None:
        """As fast as it takes them: rates and CPU."""
        pieces = self.pieces(count)
        cpu, own, began = self._server.cpu_s(), own_cpu_s(), time.monotonic_ns()
        with no_collecting():
            await self._load.closed(pieces, CONNECTIONS)
            await self._arrived(pieces)
        used = None if cpu is None else (self._server.cpu_s() or 0.0) - cpu
        acknowledged = [self._ledger.acknowledged[one] for one in pieces if one in self._ledger.acknowledged]
        ends = self._ledger.ends(pieces)
        elapsed = (max(ends, default=began) - began) / 1e9 or float("nan")
        self.tally.figures |= {
            "acks_per_s": len(acknowledged) / ((max(acknowledged, default=began) - began) / 1e9 or float("nan")),
            "handoffs_per_s": len(ends) / elapsed,
            "cpu_s_per_1000": None if used is None else used / count * 1000,
            "rig_cpu_share": (own_cpu_s() - own) / elapsed,
        }

    async def paced(self, rate: float, seconds: float, suffix: str) -> None:
        """At a given rate: waiting times."""
        pieces = self.pieces(max(int(rate * seconds), 5))
        with no_collecting():
            await self._load.paced(pieces, rate, seed=len(pieces))
            await self._arrived(pieces)
        acks, arrivals = self._ledger.waits_ms(pieces)
        for name, values in (("ack", acks), ("e2e", arrivals)):
            self.tally.figures |= {f"{name}_p{share}_ms{suffix}": percentile(values, share / 100) for share in (50, 99)}

    async def _arrived(self, pieces: range) -> None:
        self.tally.lost += len(await self._ledger.all_arrived(pieces))
        await asyncio.sleep(0.3)  # for the receipts

    def end(self) -> Tally:
        """Count what nobody may lose or do twice."""
        self.tally.doubled, self.tally.refused = self._ledger.doubled, len(self._ledger.refused)
        self.tally.acknowledged = len(self._ledger.acknowledged)
        return self.tally
