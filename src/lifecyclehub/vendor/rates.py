"""Declared rates, kept exactly: never more than `limit` requests within `per_s` seconds.

Hubs that work side by side have an equal share of each, so that together they keep it too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lifecyclehub.connector import Rate
from lifecyclehub.errors import Spared
from lifecyclehub.ports import Clock

_SHARED_S: Final = 3_600.0
"""A longer rate is a day's budget, which is counted in the store for all hubs together."""

_NO_TIME_S: Final = 0.001
"""What is left of a wait by rounding; sleeping for it would end at the same moment."""


@dataclass(slots=True)
class _Window:
    """The moments of the last `limit` requests; a further one may go `per_s` after the oldest of its share."""

    rate: Rate
    moments: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self.moments = deque(maxlen=self.rate.limit)

    def earliest(self, now: float, hubs: int) -> float:
        limit, per_s = self.rate.limit, self.rate.per_s
        if per_s <= _SHARED_S:  # more hubs than requests: one request each, and so much more seldom
            limit, per_s = max(limit // hubs, 1), per_s * max(hubs / limit, 1.0)
        if len(self.moments) < limit:
            return now
        return max(now, self.moments[-limit] + per_s)


class RateLimits:
    """One window per connection or grant and rate. Waiters go in the order they came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.hubs = 1  # that send side by side
        self._windows: dict[tuple[str, Rate], _Window] = {}
        self._quiet_until: dict[str, float] = {}

    async def wait(self, connection: str, grant: str, rates: Sequence[Rate], deadline: float) -> None:
        """Wait for this request's turn. Raises `Spared` (nothing sent) when that comes only after `deadline`."""
        now = self._clock.monotonic()
        moment = max(now, self._quiet_until.get(connection, now))
        windows = [self._window(rate, connection, grant) for rate in rates]
        for window in windows:
            moment = max(moment, window.earliest(now, self.hubs))
        if moment >= deadline and moment > now:
            reason = f"the rate of connection {connection} leaves no room for {moment - now:.1f} s"
            raise Spared(connection, moment - now, reason)
        for window in windows:
            window.moments.append(moment)
        if moment > now:
            await self._clock.sleep(moment - now)
            if self._quiet_until.get(connection, moment) > moment:  # the vendor wished for longer meanwhile
                await self.wait(connection, grant, rates, deadline)

    async def heed(self, connection: str, deadline: float) -> None:
        """Wait while the vendor wants quiet. Raises `Spared` (nothing sent) when that lasts until `deadline`."""
        while (left := self.quiet_for(connection)) > 0:
            if self._clock.monotonic() + left >= deadline:
                raise Spared(connection, left, f"connection {connection} is left alone for {left:.1f} s, as its vendor asked")
            await self._clock.sleep(left)

    def quiet_for(self, connection: str) -> float:
        """Give the seconds for which the vendor still wants quiet."""
        now = self._clock.monotonic()
        left = self._quiet_until.get(connection, now) - now
        return left if left > _NO_TIME_S else 0.0

    def pause(self, connection: str, seconds: float) -> None:
        """Send nothing for this connection for so long: the vendor said that it has had too much."""
        until = self._clock.monotonic() + seconds
        self._quiet_until[connection] = max(until, self._quiet_until.get(connection, until))

    def _window(self, rate: Rate, connection: str, grant: str) -> _Window:
        key = (f"{rate.scope} {grant if rate.scope == 'grant' else connection}", rate)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(rate)
        return window
