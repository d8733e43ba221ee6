"""The elements of a scenario: what a plan is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lifecyclehub.torture.tools import Character

TOOLS: Final = ("crm", "projects", "desk", "books")
CHAOS_S: Final = 500.0
APART: Final = ("a tool is down", "a tool fails", "a tool hangs")
RESTORE: Final = "a backup is put back"
ERASE: Final = "a person is erased"
# How an answer to a refresh fares; each is a fault of the network by the name behind it.
REFRESH: Final = {
    "refresh fails": "5xx, not done",
    "refresh unanswered": "no answer, done",
    "refresh reset": "reset, done",
    "refresh slow": "slow",
}


# How a tool's records change their ways; each is a fault by the name before it.
DRIFTS: Final = {"a field is gone": "field gone", "a field has another type": "other type", "a value nobody knows": "unknown"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. `where`: the tool, with `write`, `read` or `hook`; the operation; or "".

    `nth`: at which time it comes by there, counted from one, or at which second. `seconds`: for how long.
    """

    kind: str
    where: str = ""
    nth: float = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Crash:
    """Our process is killed when it comes by a point for the nth time, and starts again so many seconds later."""

    point: str
    hit: int
    down_s: float


@dataclass(frozen=True, slots=True)
class Act:
    """What a person does at a moment; `deal` says with which of the scenario's deals it has to do."""

    at: float
    what: str
    deal: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole scenario. `patience`: how vendors repeat webhooks; `lags`: how long each tool hides what it did.

    `hubs`: how many share the store. `rotates`: the tool whose refresh tokens serve once, if one does so.

    `dead`: the tool that is dead all the time, if one is: nobody else may notice.
    """

    seed: int
    characters: tuple[Character, ...]
    patience: tuple[str, ...]
    lags: tuple[float, ...]
    standing: bool
    acts: tuple[Act, ...]
    faults: tuple[Fault, ...]
    crashes: tuple[Crash, ...]
    shuffled: bool = True
    hubs: int = 1
    rotates: str = ""
    dead: str = ""
