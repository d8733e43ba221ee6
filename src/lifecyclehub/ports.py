"""Ports to what is not deterministic: time, randomness, ids. Tests and simulations give their own."""

from __future__ import annotations

import asyncio
import os
import random
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time (aware UTC), monotonic seconds, and waiting."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Randomness(Protocol):
    """Jitter and ids."""

    def uniform(self, low: float, high: float) -> float: ...
    def bytes(self, count: int) -> bytes: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemRandomness:
    """The machine's randomness."""

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(16))  # noqa: S311 (jitter, not secrets; ids take os.urandom)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford: no i, l, o, u


def base32(number: int, length: int) -> str:
    """Write `number` with `length` characters that cannot be misread (Crockford's base 32, lower case)."""
    out = []
    for _ in range(length):
        out.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(out))


class Ids:
    """Makes our own ids: a two- or three-letter prefix, milliseconds, a counter, randomness. They sort by time made.

    Ids made by us let a batch be inserted without asking the database for them (no RETURNING).
    """

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock, self._randomness = clock, randomness
        self._last, self._counter = 0, 0

    def new(self, prefix: str) -> str:
        """Return a new id, greater than every id this object made before, for example `eff_01jd8z0q3k0007m3xk2p`."""
        millis = int(self._clock.now().timestamp() * 1000)
        if millis > self._last:
            self._last, self._counter = millis, 0
        else:
            self._counter += 1  # the clock stood still or went back: stay sorted all the same
        tail = int.from_bytes(self._randomness.bytes(5))
        return f"{prefix}_{base32(self._last, 9)}{base32(self._counter, 4)}{base32(tail, 8)}"
