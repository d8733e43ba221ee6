"""What a changed rule or switch would do: everything is decided with it, looked at, and rolled back again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine, Table, or_, select

from lifecyclehub.dispatch.advance import WAITING
from lifecyclehub.errors import LostRace
from lifecyclehub.intake.decide import Decide
from lifecyclehub.ports import Clock, Ids
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.state import by, rows
from lifecyclehub.store.things import TABLES, Row

_CHUNK: Final = 50
_RACES: Final = 10
Sort = Literal["added", "goes on", "held", "cancelled", "parked"]
_ORDER: Final[tuple[Sort, ...]] = ("added", "goes on", "held", "parked", "cancelled")
_BECOMES: Final[dict[str, Sort]] = {"held": "held", "parked": "parked", "cancelled": "cancelled"}
_COLUMNS: Final = (
    "key handoff name item role action subject_kind subject state reason detail".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would become of one effect. `key` names it, whether it exists already or not; `title` names its subject."""

    change: Sort
    key: str
    handoff: str
    name: str
    item: str
    do: str
    subject_kind: str
    subject: str
    title: str | None
    state: str
    reason: str | None
    detail: str | None


class Preview:
    """Decides for everything in transactions that are rolled back. `first` is done at the beginning of each of them."""

    def __init__(
        self, engine: Engine, rules: Rules, ids: Ids, clock: Clock, first: Callable[[Connection], None] | None = None
    ) -> None:
        self._engine, self._first = engine, first
        self._decide = Decide(rules, ids, clock)
        self._clients = bool(rules.handoffs.per("client"))

    def changes(self, progress: Callable[[int], None] | None = None) -> list[Change]:
        """Give every effect that would be added, go on, be held, parked or cancelled. Nothing is kept of it."""
        found: dict[str, Change] = {}
        for table in (tables.engagement, tables.client) if self._clients else (tables.engagement,):
            count = 0
            for ids in self._chunks(table):
                found |= {one.key: one for one in self._again(table, ids)}
                count += len(ids)
                if progress is not None:
                    progress(count)
        return sorted(found.values(), key=lambda one: (_ORDER.index(one.change), one.handoff, one.key))

    def _chunks(self, table: Table) -> Iterator[list[str]]:
        after = ""
        while True:
            statement = select(table.c.id).where(table.c.id > after).order_by(table.c.id).limit(_CHUNK)
            with self._engine.connect().execution_options(write=False) as conn, conn.begin():
                ids = list(conn.execute(statement).scalars())
            if not ids:
                return
            yield ids
            after = ids[-1]

    def _again(self, table: Table, ids: Sequence[str]) -> list[Change]:
        """Look once more where the running hub moved something at the same moment."""
        for _ in range(_RACES):
            with contextlib.suppress(LostRace):
                return self._of(table, ids)
        return self._of(table, ids)

    def _of(self, table: Table, ids: Sequence[str]) -> list[Change]:
        with self._engine.connect() as conn:
            undone = conn.begin()
            try:
                if self._first is not None:
                    self._first(conn)
                before = _effects(conn, table, ids)
                self._decide(conn, [(ids, ()) if table is tables.engagement else ((), ids)])
                after = _effects(conn, table, ids)
                changed = [(sort, row) for key, row in after.items() if (sort := _sort(before.get(key), row)) is not None]
                return _told(conn, changed)
            finally:
                undone.rollback()


def _effects(conn: Connection, table: Table, ids: Sequence[str]) -> dict[str, Row]:
    """Give the effects of engagements, and of their clients, by key."""
    effect = tables.effect
    if table is tables.engagement:
        mine = select(tables.engagement.c.client).where(tables.engagement.c.id.in_(ids))
        of = or_(effect.c.engagement.in_(ids), effect.c.subject.in_(mine))
    else:
        of = effect.c.subject.in_(ids)
    statement = select(*(effect.c[name] for name in _COLUMNS)).where(of)
    return {row["key"]: dict(row) for row in conn.execute(statement).mappings()}


def _sort(before: Row | None, after: Row) -> Sort | None:
    """Say what became of an effect, None where that would have come anyway or is nothing."""
    was, now = before["state"] if before else "cancelled", after["state"]
    if was == now and (before is None or was != "held" or before["reason"] == after["reason"]):
        return None
    if was == "cancelled":
        return "added" if now in (*WAITING, "parked") else None
    return _BECOMES.get(now) or ("goes on" if was == "held" else None)


def _told(conn: Connection, changed: Sequence[tuple[Sort, Row]]) -> list[Change]:
    titles: dict[str, Any] = {}
    for kind, subjects in by([row for _, row in changed], "subject_kind").items():
        table = TABLES.get(kind)
        if table is not None:
            for row in rows(conn, table, "id", {one["subject"] for one in subjects}):
                titles[row["id"]] = row.get("title") or row.get("subject") or row.get("name")
    return [_change(sort, row, titles.get(row["subject"])) for sort, row in changed]


def _change(sort: Sort, row: Row, title: str | None) -> Change:
    return Change(
        change=sort,
        key=row["key"],
        handoff=row["handoff"],
        name=row["name"],
        item=row["item"],
        do=f"{row['role']}.{row['action']}",
        subject_kind=row["subject_kind"],
        subject=row["subject"],
        title=title,
        state=row["state"],
        reason=row["reason"],
        detail=row["detail"],
    )


def with_edits(in_force: Rules, edited: Rules) -> Rules:
    """Give edited rules as they would count: what waits already stays rendered with the set that planned it."""
    return replace(edited, installation=in_force.installation, earlier={**in_force.earlier, in_force.version: in_force})
