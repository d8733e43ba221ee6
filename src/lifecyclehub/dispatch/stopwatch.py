"""How long ago a sending began, whatever the wall clock did since.

What is stored is UTC, so that it outlives this process. While the process lives, its monotonic clock is the judge: a
wall clock that is put forward must not make a vendor's time look over, nor one that is put back a key look young.
"""

from __future__ import annotations

from datetime import datetime

from lifecyclehub.ports import Clock

_REMEMBERED = 20_000  # effects; beyond that the oldest are judged by the wall clock, as after a restart


class Stopwatch:
    """Remembers, per effect, by how much the monotonic clock was ahead of the wall clock when it was sent or first met."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead: dict[str, tuple[float, float]] = {}  # at its first sending that may have done it, and at its last one

    def start(self, effect: str, *, first: bool = False) -> None:
        """Note that a sending begins now; `first`: no earlier one may have done it."""
        now = self._now()
        before, _ = self._ahead.pop(effect, (now, now))
        self._ahead[effect] = (now if first else before), now
        if len(self._ahead) > _REMEMBERED:
            del self._ahead[next(iter(self._ahead))]

    def stop(self, effect: str) -> None:
        """Forget an effect whose outcome is known."""
        self._ahead.pop(effect, None)

    def since(self, effect: str, at: datetime) -> float:
        """Give the seconds since a moment of the last sending; negative while that moment is still to come."""
        return self._elapsed(self._met(effect)[1], at)

    def since_first(self, effect: str, at: datetime) -> float:
        """Give the seconds since a moment of the first sending that may have done it; negative: the clock was put back."""
        return self._elapsed(self._met(effect)[0], at)

    def _met(self, effect: str) -> tuple[float, float]:
        """Give what is known of an effect; one that another process sent is watched from now on."""
        if effect not in self._ahead:
            self.start(effect)
        return self._ahead[effect]

    def _elapsed(self, ahead: float, at: datetime) -> float:
        return self._clock.monotonic() - (at.timestamp() + ahead)

    def _now(self) -> float:
        return self._clock.monotonic() - self._clock.now().timestamp()
