"""What step 5 settles: a record as we saw it, mapped, with what came along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One record as seen at `seen_at` (when our fetch began). `values` are canonical, by full path (`deal.status`).

    `answered_at`: when our fetch ended, None for what was not fetched.

    `hub_owned`: paths whose word is ours: they are watched, not taken over. `fetched` is False for a payload's own
    document. `created_at` is the record's own, None when unknown. `merged`: records that were merged into it.
    `rewrites`: how its tool shows otherwise what we wrote. `unannounced`: only a sweep told of it, where a webhook should have.
    `erased`: it is of a person who was erased, so nothing of it is taken in. `erasures`: by whom it was looked through.
    """

    connection: str
    kind: str
    record_id: str
    fills: str | None
    order: Literal["version", "time", "none"] = "none"
    resolution_s: float = 0.0
    version: str | None = None
    changed_at: datetime | None = None
    created_at: datetime | None = None
    seen_at: datetime
    answered_at: datetime | None = None
    fetched: bool = True
    values: Mapping[str, Any] = field(default_factory=dict)
    hub_owned: frozenset[str] = frozenset()
    rewrites: frozenset[str] = frozenset()
    marker: str | None = None
    url: str | None = None
    document: Any = None
    mapping_version: str = ""
    opens_client: bool = False
    change: Literal["changed", "deleted", "merged"] = "changed"
    into: str | None = None
    merged: tuple[str, ...] = ()
    related: tuple[Observation, ...] = ()
    notices: tuple[str, ...] = ()
    unannounced: bool = False
    erased: bool = False
    erasures: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """The record's name: connection, kind, record id."""
        return (self.connection, self.kind, self.record_id)


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling an observation came to: how its notices ended, and what is to be done next.

    `look_again`: a tie that only a fresh fetch can decide. `ready`: effects to be performed now. `snapshot`: what
    was seen, as it is kept. `found`: receipts of effects that this record shows to be done.
    """

    state: Literal["processed", "ignored", "held", "parked", "look again"]
    reason: str | None = None
    detail: str | None = None
    ready: tuple[Any, ...] = ()
    snapshot: str | None = None
    found: tuple[Any, ...] = ()
