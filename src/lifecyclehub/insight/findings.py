"""What was found that a person should know: doubles, drifts, owners nobody knows, and what handoffs left alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from lifecyclehub.store import tables
from lifecyclehub.store.things import Row

UNASSIGNED: Final = "unassigned"
INVITE: Final = "Invite them there, or correct the address where it comes from; what is made from then on is theirs."
BRAKE: Final = "brake"
FAULTS: Final = ("double", "drift", "missed", UNASSIGNED, BRAKE)
WITHHELD: Final = "withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A double (made twice), a drift (a field of ours changed in a tool), something missed, an owner nobody knows there."""

    id: str
    kind: str
    subject_kind: str
    subject: str
    detail: str
    at: datetime


def unassigned_detail(email: str, tool: str) -> str:
    """Say that a tool does not know an owner, and what becomes of what is theirs."""
    return f"{email} is nobody in {tool}: what is theirs is made there without an assignee and names them in its text."


def latest_findings(conn: Connection, limit: int = 50) -> tuple[Finding, ...]:
    """Give the latest faults, newest first."""
    table = tables.finding
    columns = [table.c[name] for name in Finding.__slots__]
    shown = select(*columns).where(table.c.kind.in_(FAULTS)).order_by(table.c.at.desc(), table.c.id.desc())
    return tuple(Finding(**dict(row)) for row in conn.execute(shown.limit(limit)).mappings())


def findings_about(conn: Connection, subjects: Collection[tuple[str, str]]) -> list[Row]:
    """Give all findings about subjects by (kind, id), what was withheld too, oldest first."""
    table = tables.finding
    groups: dict[str, set[str]] = {}
    for kind, subject in subjects:
        groups.setdefault(kind, set()).add(subject)
    found: list[Row] = []
    for kind, wanted in groups.items():  # the leading columns of the unique key, so that its index serves
        statement = select(table).where(
            table.c.kind.in_((*FAULTS, WITHHELD)), table.c.subject_kind == kind, table.c.subject.in_(sorted(wanted))
        )
        found += [dict(row) for row in conn.execute(statement).mappings()]
    return sorted(found, key=lambda one: (one["at"], one["id"]))
