"""The breaker: spares a vendor that fails, and us the waiting. Pure; the caller keeps the state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

WINDOW_S: Final = 60
SLOT_S: Final = 10
LEAST_CALLS: Final = 10
FAILING: Final = 0.7
FIRST_PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 900.0
PROBE_PATIENCE: Final = timedelta(seconds=60)

Permit: TypeAlias = Literal["go", "probe", "wait"]
Slot: TypeAlias = tuple[int, int, int]
"""Which ten seconds since 1970, calls in them, failures among these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """One connection's state. Closed while `open_until` is None; `pause_s` is the present or last pause in seconds."""

    slots: tuple[Slot, ...] = ()
    open_until: datetime | None = None
    pause_s: float = 0.0
    probing_since: datetime | None = None


def before_call(breaker: Breaker, now: datetime) -> tuple[Permit, Breaker]:
    """Say whether to call now: `go`; `probe`, the one call that decides after a pause; or `wait`, using no attempt."""
    if breaker.open_until is None:
        return "go", breaker
    if now < breaker.open_until:
        return "wait", breaker
    if breaker.probing_since is not None and now - breaker.probing_since < PROBE_PATIENCE:
        return "wait", breaker
    return "probe", replace(breaker, probing_since=now)


def after_call(breaker: Breaker, now: datetime, *, ok: bool) -> Breaker:
    """Take in how a call went. Failures are network faults and statuses from 500 on, never what we did wrong ourselves."""
    if breaker.open_until is not None:
        return _after_probe(breaker, now, ok=ok)
    slots = _counted(breaker.slots, int(now.timestamp()) // SLOT_S, ok=ok)
    calls = sum(slot[1] for slot in slots)
    failures = sum(slot[2] for slot in slots)
    if calls >= LEAST_CALLS and failures >= FAILING * calls:
        return Breaker(open_until=now + timedelta(seconds=FIRST_PAUSE_S), pause_s=FIRST_PAUSE_S)
    return Breaker(slots=slots)


def _after_probe(breaker: Breaker, now: datetime, *, ok: bool) -> Breaker:
    if breaker.probing_since is None:
        return breaker  # a call from before the pause: what it says is old news
    if ok:
        return Breaker()
    pause = min(breaker.pause_s * 2, LONGEST_PAUSE_S)
    return Breaker(open_until=now + timedelta(seconds=pause), pause_s=pause)


def _counted(slots: tuple[Slot, ...], current: int, *, ok: bool) -> tuple[Slot, ...]:
    kept = [slot for slot in slots if slot[0] > current - WINDOW_S // SLOT_S]
    if kept and kept[-1][0] == current:
        _, calls, failures = kept.pop()
    else:
        calls = failures = 0
    kept.append((current, calls + 1, failures + (not ok)))
    return tuple(kept)
