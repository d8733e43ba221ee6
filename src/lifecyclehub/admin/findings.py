"""A person's word on findings: one that was looked at, and why nothing more is to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, update

from lifecyclehub.admin.effects import CannotAnswer
from lifecyclehub.insight.findings import BRAKE, Finding, finding
from lifecyclehub.model.times import told
from lifecyclehub.ports import Clock
from lifecyclehub.store import tables
from lifecyclehub.store.state import rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """Who settles a finding, and why nothing more is to be done about it."""

    finding: str
    who: str
    why: str


class SettleFindings:
    """The operation: settles open findings, which stay where they belong with who, when and why. Gives them as they are now.

    Raises NotThere and CannotAnswer; then nothing at all was changed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, conn: Connection, items: Sequence[Settling]) -> list[Finding]:
        """Settle all items, or none."""
        rows(conn, tables.finding, "id", {item.finding for item in items}, lock=True)
        for item in items:
            _refuse(finding(conn, item.finding), item)
        for item in items:
            values = {"settled_at": self._clock.now(), "settled_by": item.who, "settled_why": item.why.strip()}
            conn.execute(update(tables.finding).where(tables.finding.c.id == item.finding).values(**values))
        return [finding(conn, item.finding) for item in items]


def _refuse(one: Finding, item: Settling) -> None:
    if not item.why.strip():
        raise CannotAnswer("nobody could tell later why it was settled.", where="settle --why", mend="Say it in a few words.")
    if one.settled_at is not None:
        raise CannotAnswer(f"{one.id} was settled by {one.settled_by}, {told(one.settled_at)}: {one.settled_why}.")
    if one.kind == BRAKE:
        mend = "Answer that effect: `lifecyclehub status` shows what is parked, `lifecyclehub unpark` answers it."
        raise CannotAnswer(f"{one.id} is a brake: it stands until its parked effect is answered.", mend=mend)
