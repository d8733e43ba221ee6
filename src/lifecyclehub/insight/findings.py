"""What was found that a person should know: doubles, drifts, and what handoffs left alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from lifecyclehub.store import tables
from lifecyclehub.store.things import Row

FAULTS: Final = ("double", "drift", "missed")
WITHHELD: Final = "withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A double (a record that was made twice), a drift (a field of ours that was changed in a tool), something missed."""

    id: str
    kind: str
    subject_kind: str
    subject: str
    detail: str
    at: datetime


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
