"""Step 4, first half, split: a delivery becomes notices, each with a state of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, or_, select, update

from lifecyclehub.intake.erased import taken_out
from lifecyclehub.intake.keep import Arrival, body_hash
from lifecyclehub.redaction import Erased
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.documents import document_from_json, whole_document_as_json
from lifecyclehub.store.sql import Query, Write
from lifecyclehub.store.state import by, rows
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_new

# The closed list of reasons for which a notice may be ignored.
IGNORED = frozenset(
    {"unknown kind", "not mapped", "unknown account", "same as another", "older", "deleted", "unlinked", "erased"}
)


_delivery = tables.delivery
_OPEN = Query(
    select(_delivery.c.id, _delivery.c.holder)
    .where(or_(_delivery.c.state == "open", _delivery.c.state == "held"))
    .with_for_update(),  # which SQLite, with its one writer, leaves out
    _delivery.c.id,
)
_CLOSE = Write(
    update(_delivery).where(_delivery.c.id == bindparam("which")).values(state=bindparam("new_state"), reason=bindparam("why"))
)
_REDACT = Write(
    update(_delivery).where(_delivery.c.id == bindparam("which")).values(body=bindparam("left"), body_hash=bindparam("hash"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What reading a delivery brought: its notices as rows, or why it is parked."""

    delivery: str
    at: datetime
    holder: str | None = None
    notices: tuple[Row, ...] = field(default=())
    parked: str | None = None
    detail: str | None = None
    body: bytes | None = None  # instead of what was kept, which told of somebody who was erased


def split(conn: Connection, items: Sequence[Split]) -> list[list[Row]]:
    """Write the notices of open deliveries and close these; give each delivery's notices that are to be worked on.

    A delivery that another worker split, that another hub took over, or that was folded into another one, gives none.
    """
    still_open = {row["id"]: row["holder"] for row in _OPEN.each(conn, {item.delivery for item in items})}
    mine = [item for item in items if item.delivery in still_open and still_open[item.delivery] in (None, item.holder)]
    insert_new(conn, tables.notice, [notice for item in mine for notice in item.notices])
    whole = [item.delivery for item in mine if item.parked is None]
    ends = [("parked", f"{one.parked}: {one.detail}") if one.parked is not None else ("split", None) for one in mine]
    closed = [{"which": item.delivery, "new_state": state, "why": why} for item, (state, why) in zip(mine, ends, strict=True)]
    _CLOSE.run(conn, closed)
    _REDACT.run(conn, [{"which": one.delivery, "left": one.body, "hash": body_hash(one.body)} for one in mine if one.body])
    kept = by(rows(conn, tables.notice, "delivery", whole), "delivery")
    _note_folded(conn, [item for item in mine if len(kept.get(item.delivery, ())) < len(item.notices)], kept)
    return [[row for row in kept.get(item.delivery, ()) if row["state"] == "open"] for item in items]


def without_erased(item: Split, arrival: Arrival, erased: Erased, rules: Rules) -> Split:
    """Give what a delivery brought without those who were erased: entries of their records are ignored, and say so."""
    if not erased:
        return item
    records = {row["record_id"] for row in item.notices if erased.is_record(row["connection"], row["kind"], row["record_id"])}
    notices = tuple(_without(row, erased, rules) for row in item.notices)
    return replace(
        item, notices=notices, body=erased.body(arrival.body, records) if arrival.way == "webhook" and records else None
    )


def _without(row: Row, erased: Erased, rules: Rules) -> Row:
    if erased.is_record(row["connection"], row["kind"], row["record_id"]):
        ended = {"state": "ignored", "reason": "erased"} if row["state"] in ("open", "held") else {}
        return row | ended | {"document": None, "actor": None}
    if row["document"] is None:
        return row
    left = taken_out(erased, rules.mappings[row["connector"]], row["connection"], document_from_json(row["document"]))
    return row | {"document": whole_document_as_json(left)}


def _note_folded(conn: Connection, items: Sequence[Split], kept: Mapping[str, Sequence[Row]]) -> None:
    """Keep an entry whose key is known already, without that key, so that it is seen what became of it."""
    folded = []
    for item in items:
        there = {row["position"] for row in kept.get(item.delivery, ())}
        for row in item.notices:
            if row["position"] not in there:
                said = f"an entry with the key {row['key']} came before"
                ended = {"key": None, "document": None, "state": "ignored", "reason": "same as another", "detail": said}
                folded.append({**row, **ended, "done_at": item.at})
    insert_new(conn, tables.notice, folded)
