"""What was found that a person should know: doubles, drifts, owners nobody knows, and what handoffs left alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import ColumnElement, Connection, select

from lifecyclehub.insight.filters import not_there
from lifecyclehub.insight.lists import FIRST, Asked, Listed, columns_of, listed
from lifecyclehub.model.times import told
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row

UNASSIGNED: Final = "unassigned"
INVITE: Final = "Invite them there, or correct the address where it comes from; what is made from then on is theirs."
BRAKE: Final = "brake"
DRIFT: Final = "drift"
WITHHELD: Final = "withheld"
FindingKind = Literal["double", "drift", "missed", "unassigned", "brake", "withheld"]
FindingState = Literal["open", "settled"]
FAULTS: Final = tuple(one for one in get_args(FindingKind) if one != WITHHELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A double (made twice), a drift (a field of ours changed in a tool), something missed, an owner nobody knows there.

    `settled_by`: a person has looked at it, and said why nothing more is to be done; None for one that is open.
    """

    id: str
    kind: str
    subject_kind: str
    subject: str
    detail: str
    at: datetime
    settled_at: datetime | None = None
    settled_by: str | None = None
    settled_why: str | None = None


def unassigned_detail(email: str, tool: str) -> str:
    """Say that a tool does not know an owner, and what becomes of what is theirs."""
    return f"{email} is nobody in {tool}: what is theirs is made there without an assignee and names them in its text."


def latest_findings(conn: Connection, limit: int = 50) -> tuple[Finding, ...]:
    """Give the latest open faults, newest first."""
    table = tables.finding
    shown = columns_of(table, Finding).where(table.c.kind.in_(FAULTS), table.c.settled_at.is_(None))
    found = conn.execute(shown.order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)).mappings()
    return tuple(Finding(**dict(row)) for row in found)


def list_findings(
    conn: Connection, page: Asked = FIRST, *, state: FindingState | None = None, kind: FindingKind | None = None
) -> Listed[Finding]:
    """Give findings, newest first; what was withheld only where that kind is asked for. Raises UnknownCursor."""
    settled_at = tables.finding.c.settled_at
    where: list[ColumnElement[Any]] = [tables.finding.c.kind.in_([kind] if kind else FAULTS)]
    if state is not None:
        where.append(settled_at.is_(None) if state == "open" else settled_at.is_not(None))
    return listed(conn, tables.finding, Finding, page, *where)


def finding(conn: Connection, identity: str) -> Finding:
    """Give one. Raises NotThere."""
    row = conn.execute(columns_of(tables.finding, Finding).where(tables.finding.c.id == identity)).mappings().first()
    if row is None:
        raise not_there("finding", identity)
    return Finding(**dict(row))


def settled_words(row: Row) -> str:
    """Say who has settled a finding, when and why; nothing for an open one."""
    return f" (settled by {row['settled_by']}, {told(row['settled_at'])}: {row['settled_why']})" if row["settled_at"] else ""


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
