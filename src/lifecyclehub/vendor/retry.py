"""When to try again: one schedule for everything that failed for a passing reason."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from lifecyclehub.ports import Randomness

SCHEDULE_S: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
"""Seconds after the first, second, ... failure; the last one repeats."""

JITTER: Final = 0.2
GIVE_UP_AFTER: Final = timedelta(hours=72)
LONGEST_WISH_S: Final = 24 * 3600.0


def next_try(
    first_failed_at: datetime,
    attempts: int,
    now: datetime,
    after: float | None,
    rng: Randomness,
) -> datetime | None:
    """Say when to try again, None to give up (72 hours after the first failure).

    `attempts` counts the failures so far, this one included. `after` is the vendor's wish in seconds: never earlier
    than that, at most 24 hours; it is spread by a few per cent upwards, so that waiters do not come all at once.
    """
    usual = SCHEDULE_S[min(max(attempts, 1), len(SCHEDULE_S)) - 1] * rng.uniform(1 - JITTER, 1 + JITTER)
    if after is None:
        wait = usual
    else:
        wished = min(max(after, 0.0), LONGEST_WISH_S)
        wait = min(max(wished * rng.uniform(1.0, 1.05), SCHEDULE_S[0]), LONGEST_WISH_S)
    moment = now + timedelta(seconds=wait)
    return None if moment > first_failed_at + GIVE_UP_AFTER else moment
