"""What a simulated tool can be told to do wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

Wrong = Literal["slow", "fail", "rate_limit", "lose_answer", "refuse", "html", "garbage"]


@dataclass(slots=True)
class Fault:
    """One wrong to be done to the next `times` requests whose method and path match.

    `slow`: answer after `seconds`. `fail`: 500 before anything is done. `rate_limit`: 429 with Retry-After `seconds`.
    `lose_answer`: do it, then cut the connection without an answer. `refuse`: cut it before doing anything.
    `html`: a log-in page with status 200. `garbage`: a 200 that is not JSON.
    """

    do: Wrong
    method: str = "POST"
    path: str = ".*"
    times: int = 1
    seconds: float = 0.0

    def takes(self, method: str, path: str) -> bool:
        """Tell whether this fault is for the request, and use it up once."""
        if self.times <= 0 or self.method not in ("*", method) or not re.search(self.path, path):
            return False
        self.times -= 1
        return True


@dataclass(slots=True)
class Hooking:
    """How the tool's webhooks misbehave: each is sent `copies` times, `reverse`d within a burst, after `lag_s`; or not at all."""

    copies: int = 1
    reverse: bool = False
    lag_s: float = 0.0
    drop: bool = False


@dataclass(slots=True)
class Misbehaviour:
    """All that is wrong with a tool now. `lag_s`: how long new records stay invisible to look-ups and lists."""

    faults: list[Fault] = field(default_factory=list)
    hooks: Hooking = field(default_factory=Hooking)
    lag_s: float = 0.0

    def next_for(self, method: str, path: str) -> Fault | None:
        """Give the fault that this request meets, None for a good answer."""
        return next((fault for fault in self.faults if fault.takes(method, path)), None)

    def told(self, orders: dict[str, Any]) -> None:
        """Take orders as JSON: {"faults": [...], "hooks": {...}, "lag_s": 0}. What is not named stays."""
        if "faults" in orders:
            self.faults = [Fault(**one) for one in orders["faults"]]
        if "hooks" in orders:
            self.hooks = Hooking(**orders["hooks"])
        if "lag_s" in orders:
            self.lag_s = float(orders["lag_s"])
