"""Who sent what when, and what arrived where: the proof that nothing was lost or done twice, and all waiting times.

A piece is one deal that was won, known by its number. Times are nanoseconds of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PATIENCE_S = 45.0  # longer than the hub's third attempt


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` of all values do not exceed (nearest rank); NaN without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else float("nan")


@dataclass(slots=True)
class Ledger:
    """`wanted`: what must arrive once for every piece, the first being what the waiting time is counted to."""

    wanted: tuple[str, ...]
    sent: dict[int, int] = field(default_factory=dict)
    acknowledged: dict[int, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    arrived: dict[str, dict[int, int]] = field(default_factory=dict)
    doubled: int = 0
    last_arrival: int = 0

    def __post_init__(self) -> None:
        self.arrived = {what: {} for what in self.wanted}

    def answer(self, piece: int, status: int) -> None:
        """Note how a delivery was answered; 0 is not at all."""
        if 200 <= status < 300:
            self.acknowledged[piece] = time.monotonic_ns()
        else:
            self.refused[piece] = status

    def arrive(self, what: str, piece: int) -> None:
        """Note that something was made in a tool."""
        self.last_arrival = time.monotonic_ns()
        if piece in self.arrived[what]:
            self.doubled += 1
        else:
            self.arrived[what][piece] = self.last_arrival

    def missing(self, pieces: Iterable[int]) -> set[int]:
        """Give the acknowledged pieces of which something did not arrive."""
        return {one for one in pieces if one in self.acknowledged and any(one not in made for made in self.arrived.values())}

    async def all_arrived(self, pieces: Sequence[int]) -> set[int]:
        """Wait until everything arrived, or nothing has come for a long time; give what is missing."""
        missing = self.missing(pieces)
        self.last_arrival = max(self.last_arrival, time.monotonic_ns())
        while missing and time.monotonic_ns() - self.last_arrival < PATIENCE_S * 1e9:
            await asyncio.sleep(0.02)
            missing = self.missing(missing)
        return missing

    def ends(self, pieces: Iterable[int]) -> list[int]:
        """Give when each piece was complete."""
        whole = (one for one in pieces if all(one in made for made in self.arrived.values()))
        return [max(made[one] for made in self.arrived.values()) for one in whole]

    def waits_ms(self, pieces: Iterable[int]) -> tuple[list[float], list[float]]:
        """Give the milliseconds from sending to the acknowledgement, and to the first tool."""
        first = self.arrived[self.wanted[0]]
        acks = [(self.acknowledged[one] - self.sent[one]) / 1e6 for one in pieces if one in self.acknowledged]
        arrivals = [(first[one] - self.sent[one]) / 1e6 for one in pieces if one in first]
        return acks, arrivals


def median(values: Iterable[float | None]) -> float | None:
    """Give the median of what was measured, None when nothing was."""
    known = [value for value in values if value is not None and value == value]  # noqa: PLR0124 (NaN)
    return statistics.median(known) if known else None
