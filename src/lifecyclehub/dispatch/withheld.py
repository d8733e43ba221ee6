"""What handoffs leave alone, listed as findings: nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select

from lifecyclehub.handoffs import Handoff
from lifecyclehub.insight.findings import WITHHELD
from lifecyclehub.insight.view import Subject
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query, Write
from lifecyclehub.store.things import Row

_finding = tables.finding
_ABOUT = Query(
    select(_finding.c.id, _finding.c.about).where(_finding.c.kind == WITHHELD, _finding.c.subject_kind == bindparam("sort")),
    _finding.c.subject,
)
_FORGET = Write(delete(_finding).where(_finding.c.id == bindparam("which")))
_CODES = ("before-go-live", "baseline", "undecided", "mapping")


def withheld(identity: str, handoff: Handoff, subject: Subject, code: str, reason: str, now: datetime) -> Row:
    """Give the finding that a handoff left a subject alone, and why."""
    return {
        "id": identity,
        "kind": WITHHELD,
        "subject_kind": subject.kind,
        "subject": subject.id,
        "about": f"{handoff.id}: {code}",
        "detail": reason,
        "facts": {
            "handoff": handoff.id,
            "code": code,
            "title": subject.thing.get("title") or subject.thing.get("subject"),
        },
        "at": now,
    }


def forget_withheld(conn: Connection, acting: Collection[Row]) -> None:
    """Take back the findings about what acts now, which these new effects tell."""
    gone = {f"{row['handoff']}: {code}" for row in acting for code in _CODES}
    subjects: dict[str, set[str]] = {}
    for row in acting:
        subjects.setdefault(row["cause_kind"], set()).add(row["cause"])
    found = [row for kind, wanted in subjects.items() for row in _ABOUT.each(conn, wanted, sort=kind)]
    _FORGET.run(conn, [{"which": row["id"]} for row in found if row["about"] in gone])
