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
        self._pools: dict[int, list[bytes]] = {}

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def bytes(self, count: int) -> bytes:
        if count > _SHORT:
            return os.urandom(count)
        pool = self._pools.setdefault(count, [])  # the system is asked for many at once; each is given away once
        try:
            return pool.pop()
        except IndexError:
            block = os.urandom(count * _POOLED)
            pool.extend(block[start : start + count] for start in range(0, len(block), count))
            return os.urandom(count)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORT = 8  # what is longer may be a secret, and is not kept waiting in memory
_POOLED = 512
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford: no i, l, o, u
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


def base32(number: int, length: int) -> str:
    """Write `number` with `length` characters that cannot be misread (Crockford's base 32, lower case)."""
    out = []
    for _ in range(length // 2):
        out.append(_PAIRS[number & 1023])
        number >>= 10
    if length % 2:
        out.append(_ALPHABET[number & 31])
    return "".join(reversed(out))


class Ids:
    """Makes our own ids: a two- or three-letter prefix, milliseconds, a counter, randomness. They sort by time made.

    Ids made by us let a batch be inserted without asking the database for them (no RETURNING).
    """

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock, self._randomness = clock, randomness
        self._last, self._counter = 0, 0
        self._written = base32(0, 9)

    def new(self, prefix: str) -> str:
        """Return a new id, greater than every id this object made before, for example `eff_01jd8z0q3k0007m3xk2p`."""
        since = self._clock.now() - _EPOCH
        millis = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
        if millis > self._last:
            self._last, self._counter, self._written = millis, 0, base32(millis, 9)
        else:
            self._counter += 1  # the clock stood still or went back: stay sorted all the same
        count, tail = self._counter, int.from_bytes(self._randomness.bytes(5))
        written = _PAIRS[count >> 10 & 1023] + _PAIRS[count & 1023]  # as base32 would, for the one thing that is made most
        written += _PAIRS[tail >> 30] + _PAIRS[tail >> 20 & 1023] + _PAIRS[tail >> 10 & 1023] + _PAIRS[tail & 1023]
        return f"{prefix}_{self._written}{written}"
