"""Found by a sweep, missed by webhooks: counted for each connection and kind, once a late webhook had its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, or_, select, update

from lifecyclehub.dispatch.tools import Tools
from lifecyclehub.insight.clocks import CHANGES
from lifecyclehub.intake.known import SKEW
from lifecyclehub.ports import Ids
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_new

FOUND: Final = "found"
MISSED: Final = "missed"
GRACE: Final = timedelta(minutes=5)
"""How late a webhook may be."""

_LIMIT: Final = 500
_notice = tables.notice


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sweep found that webhooks had their time for. `by_hand`: connectors whose hooks a person sets up."""

    notices: tuple[Row, ...]
    now: datetime
    by_hand: frozenset[str]


class Judge:
    """Looks now and then at what sweeps found."""

    def __init__(self, tools: Tools) -> None:
        self._tools, self._judging = tools, Judging(tools.ids)

    async def tick(self, now: datetime) -> None:
        """Judge what was found long enough ago."""
        found = await self._tools.store.read(found_before, now - GRACE)
        if found:
            connectors = self._tools.registry.connectors.values()
            by_hand = {one.about.id for one in connectors if any(door.setup == "by_hand" for door in one.about.doors)}
            await self._tools.store.run(self._judging, Verdict(tuple(found), now, frozenset(by_hand)))


def found_before(conn: Connection, moment: datetime) -> list[Row]:
    """Give what sweeps found before a moment and nobody judged yet."""
    return _FOUND_BEFORE.all(conn, moment=moment)


_FOUND_BEFORE = Query(
    select(_notice).where(tables.FOUND_NOTICE, _notice.c.kept_at <= bindparam("moment")).order_by(_notice.c.id).limit(_LIMIT)
)


class Judging:
    """The operation."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def __call__(self, conn: Connection, items: Sequence[Verdict]) -> list[int]:
        """Note for each notice whether a webhook announced the change too; gives how many were missed."""
        return [self._one(conn, item) for item in items]

    def _one(self, conn: Connection, item: Verdict) -> int:
        missed: dict[tuple[str, str], list[Row]] = {}
        for row in item.notices:
            announced = _announced(conn, row)
            mine = update(_notice).where(_notice.c.id == row["id"], _notice.c.reason == FOUND)
            judged = conn.execute(mine.values(reason=None if announced else MISSED)).rowcount
            if judged and not announced:
                missed.setdefault((row["connection"], row["kind"]), []).append(row)
        for (connection, kind), rows in missed.items():
            self._count(conn, connection, kind, rows, item)
        return sum(len(rows) for rows in missed.values())

    def _count(self, conn: Connection, connection: str, kind: str, rows: Sequence[Row], item: Verdict) -> None:
        cursor, finding = tables.cursor, tables.finding
        place = {"connection": connection, "kind": kind, "way": CHANGES}
        insert_new(conn, cursor, [place])
        mine = (cursor.c.connection == connection) & (cursor.c.kind == kind) & (cursor.c.way == CHANGES)
        conn.execute(update(cursor).where(mine).values(missed=cursor.c.missed + len(rows)))
        day = f"{item.now:%Y-%m-%d}"
        key: Row = {"kind": MISSED, "subject_kind": kind, "subject": connection, "about": day}
        facts: dict[str, Any] = {"count": 0, "records": []}
        new = {"id": self._ids.new("fin"), **key, "detail": "", "facts": facts, "at": item.now}
        insert_new(conn, finding, [new])
        same = [finding.c[name] == value for name, value in key.items()]
        known = conn.execute(select(finding).where(*same)).mappings().one()
        count = known["facts"]["count"] + len(rows)
        records = [*known["facts"]["records"], *(row["record_id"] for row in rows)][-5:]
        detail = f"{count} of {kind} changed on {day}, were found by a sweep, and no webhook announced them (last {records[-1]})."
        detail += _silence(conn, connection, rows, item)
        news = dict.fromkeys(("settled_at", "settled_by", "settled_why"))  # what a person settled was another count
        values = {"facts": {"count": count, "records": records}, "detail": detail, "at": item.now, **news}
        conn.execute(update(finding).where(finding.c.id == known["id"]).values(**values))


def _announced(conn: Connection, row: Row) -> bool:
    """Tell whether a webhook named the record since it changed, whatever became of that notice."""
    since = (row["at"] or row["kept_at"] - GRACE) - SKEW
    statement = select(_notice.c.id).where(
        _notice.c.connection == row["connection"],
        _notice.c.kind == row["kind"],
        _notice.c.record_id == row["record_id"],
        _notice.c.way == "webhook",
        _notice.c.kept_at >= since,
    )
    return conn.execute(statement.limit(1)).first() is not None


def _silence(conn: Connection, connection: str, rows: Sequence[Row], item: Verdict) -> str:
    """Say so when nothing at all came through the connection's webhooks since: they may be stopped."""
    table = tables.endpoint
    connector = rows[-1]["connector"]
    own = or_(table.c.connection == connection, table.c.connection.is_(None) & (table.c.connector == connector))
    asked = select(func.count(), func.max(table.c.last_heard, type_=table.c.last_heard.type)).where(
        own, table.c.state != "closed"
    )
    count, heard = conn.execute(asked).one()
    changed_at = min(row["at"] or row["kept_at"] for row in rows)
    if not count:
        return " It has no webhook yet: subscribe it."
    if heard is not None and heard >= changed_at:
        return ""
    since = f"since {heard:%Y-%m-%d %H:%M} UTC" if heard else "ever"
    if connector in item.by_hand:
        return f" Nothing came through its webhook {since}. The tool may have stopped it; only a person can start it there again."
    return f" Nothing came through its webhook {since}. The tool is asked after it, and it is made again if it is gone."
