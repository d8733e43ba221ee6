"""How long ago a sending began, whatever the wall clock did since.

What is stored is UTC, so that it outlives this process. While the process lives, its monotonic clock is the judge: a
wall clock that is put forward must not make a vendor's time look over, nor one that is put back a key look young. Of
what another process sent, all that is surely over is the time since this one met it.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from lifecyclehub.ports import Clock

_REMEMBERED = 20_000  # effects; beyond that the oldest are judged as what another process sent


class _Sending(NamedTuple):
    """By how much the monotonic clock was ahead of the wall clock, when it was sent or first met."""

    epoch: int
    first: float  # at its first sending that may have done it
    last: float
    met: float | None  # by the monotonic clock, where another process sent it


class Stopwatch:
    """Remembers, per effect, when this process sent it, or first met what another one sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sendings: dict[str, _Sending] = {}

    def start(self, effect: str, epoch: int, *, first: bool = False) -> None:
        """Note that the sending of this epoch begins now; `first`: no earlier one may have done it."""
        self._note(effect, epoch, None, first=first)

    def stop(self, effect: str) -> None:
        """Forget an effect whose outcome is known."""
        self._sendings.pop(effect, None)

    def since(self, effect: str, epoch: int, at: datetime) -> float:
        """Give the seconds since a moment of the last sending; negative while that moment is still to come."""
        return self._elapsed(self._met(effect, epoch).last, at)

    def since_first(self, effect: str, epoch: int, at: datetime) -> float:
        """Give the seconds since a moment of the first sending that may have done it; negative: the clock was put back."""
        return self._elapsed(self._met(effect, epoch).first, at)

    def surely_since(self, effect: str, epoch: int, at: datetime) -> float:
        """Give the seconds since a moment of the last sending; of another process' never more than since it was met."""
        sending = self._met(effect, epoch)
        since = self._elapsed(sending.last, at)
        return since if sending.met is None else min(since, self._clock.monotonic() - sending.met)

    def _met(self, effect: str, epoch: int) -> _Sending:
        """Give what is known of the last sending; one by another process is watched from now on."""
        known = self._sendings.get(effect)
        if known is None or known.epoch != epoch:
            return self._note(effect, epoch, self._clock.monotonic())
        return known

    def _note(self, effect: str, epoch: int, met: float | None, *, first: bool = False) -> _Sending:
        now = self._clock.monotonic() - self._clock.now().timestamp()
        before = self._sendings.pop(effect, None)
        noted = self._sendings[effect] = _Sending(epoch, now if first or before is None else before.first, now, met)
        if len(self._sendings) > _REMEMBERED:
            del self._sendings[next(iter(self._sendings))]
        return noted

    def _elapsed(self, ahead: float, at: datetime) -> float:
        return self._clock.monotonic() - (at.timestamp() + ahead)
