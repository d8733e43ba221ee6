"""Going through every table, a few rows a commit, for what a person was told by: keyed hashes find it, so no value is kept.

What is looked for is judged beside the writer thread; the operation only writes, after it has seen that the row is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from sqlalchemy import Column, Connection, Table, Text, and_, delete, select, tuple_, update

from lifecyclehub.intake.keep import body_hash
from lifecyclehub.redaction import ERASED, Erased, blanked
from lifecyclehub.store import tables
from lifecyclehub.store.state import by, rows
from lifecyclehub.store.things import Row
from lifecyclehub.store.types import Json

CHUNK: Final = 100
Key: TypeAlias = tuple[Any, ...]

# What is the business's own, or holds nothing that a tool said: connections, keys, switches, teammates, positions.
_LEFT: Final = frozenset(
    """
    installation host grant api_token connection endpoint secret subscription teammate teammate_email handoff handoff_switch
    applied_set lease breaker cursor usage listed erasure tombstone need role period
    """.split()  # noqa: SIM905 (a list that people read)
)
TABLES: Final[tuple[Table, ...]] = tuple(one for one in tables.metadata.sorted_tables if one.name not in _LEFT)

# Columns by which rows find each other, and words of ours. All other texts are looked through.
_ORDER: Final = frozenset(
    """
    action amount_currency applied_set billing body_hash cause cause_kind change client connection connector creates currency
    door endpoint engagement handoff holder into item key kind mapping_version marker merged_into outcome part price_currency
    purpose record_id role snapshot source_id source_kind stage standing state status subject subject_kind target thing
    thing_kind total_currency value_currency vendor_key version way what
    """.split()  # noqa: SIM905
)
_OPEN_NOTICE: Final = ("open", "held", "parked")


@dataclass(frozen=True, slots=True)
class Found:
    """A row that tells of a person: as it was, and what of it becomes otherwise (None: the row goes)."""

    table: str
    key: Key
    row: Row
    after: Row | None


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a table that were looked at: what was found, and where the next ones begin (None: that was all)."""

    found: tuple[Found, ...]
    after: Key | None


def look_at(conn: Connection, table: Table, erased: Erased, after: Key | None, limit: int = CHUNK) -> Part:
    """Look at the next rows of a table."""
    key = tuple(table.primary_key.columns)
    statement = select(table).order_by(*key).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(*key) > tuple_(*after) if len(key) > 1 else key[0] > after[0])
    read = [dict(row) for row in conn.execute(statement).mappings()]
    found = tuple(_judged(conn, table, read, erased))
    return Part(found, _key(table, read[-1]) if len(read) == limit else None)


def _key(table: Table, row: Mapping[str, Any]) -> Key:
    return tuple(row[column.name] for column in table.primary_key.columns)


def _judged(conn: Connection, table: Table, read: Sequence[Row], erased: Erased) -> Iterator[Found]:
    own = _own(conn, table, read, erased)
    more = _deliveries(conn, read, erased) if table is tables.delivery else {}
    for row in read:
        if row_is_dropped(table, row, erased):
            yield Found(table.name, _key(table, row), row, None)
            continue
        left = _after(table, row, erased, own=own(row)) | more.get(_key(table, row)[0], {})
        after = {name: value for name, value in left.items() if value != row[name]}
        if after:
            yield Found(table.name, _key(table, row), row, after)


def row_is_dropped(table: Table, row: Row, erased: Erased) -> bool:
    """Tell whether a row is nothing but what tells a person: their identity keys, and the mirror of their records."""
    if table is tables.identity_key:
        return erased.is_key(row["kind"], row["value"]) or erased.is_thing(row["client"])
    if table is tables.stranger:
        return erased.is_key(row["kind"], row["value"])
    return table is tables.mirror and erased.is_record(row["connection"], row["kind"], row["record_id"])


def _own(conn: Connection, table: Table, read: Sequence[Row], erased: Erased) -> Callable[[Row], bool]:
    """Tell which rows are about nobody but the person."""
    if table is tables.attempt:
        effects = rows(conn, tables.effect, "id", {row["effect"] for row in read})
        made = {one["id"] for one in effects if _made(one, erased)}
        return lambda row: row["effect"] in made
    if table is tables.effect:
        return lambda row: _made(row, erased)
    if table in (tables.contact, tables.client):
        return lambda row: erased.is_thing(row["id"])
    if table is tables.event:
        return lambda row: erased.is_thing(row["thing"])
    if table in (tables.link, tables.notice, tables.snapshot):
        return lambda row: _of_record(row, erased)
    return lambda _: False


def _of_record(row: Row, erased: Erased) -> bool:
    return erased.is_record(row["connection"], row["kind"], row["record_id"])


def _made(effect: Row, erased: Erased) -> bool:
    return erased.is_record(effect["connection"], effect["creates"], effect["record_id"])


def _after(table: Table, row: Row, erased: Erased, *, own: bool) -> Row:
    after = {column.name: _without(column, row[column.name], erased) for column in _told(table) if row[column.name] is not None}
    if own:
        after |= _OF_THEIRS[table.name](row)
    return after


def _deliveries(conn: Connection, read: Sequence[Row], erased: Erased) -> dict[str, Row]:
    """Give what becomes of deliveries, whose entries tell by their notices whom they are about."""
    notices = by(rows(conn, tables.notice, "delivery", {row["id"] for row in read}), "delivery")
    left = {}
    for row in read:
        records = {one["record_id"] for one in notices.get(row["id"], ()) if _of_record(one, erased)}
        body = erased.body(bytes(row["body"]), records if row["way"] == "webhook" else ())
        if body != row["body"]:
            left[row["id"]] = {"body": body, "body_hash": row["body_hash"] if row["state"] == "open" else body_hash(body)}
    return left


def _notice(row: Row) -> Row:
    ended: Row = {"state": "ignored", "reason": "erased", "holder": None, "not_before": None}
    return {"document": None, "detail": None, "actor": None, **(ended if row["state"] in _OPEN_NOTICE else {})}


_OF_THEIRS: Final[dict[str, Callable[[Row], Row]]] = {
    "contact": lambda _: {"name": None, "email": None, "fields": {}},
    "client": lambda _: {"name": None, "fields": {}},
    "link": lambda _: {"address": None},
    "notice": _notice,
    "snapshot": lambda row: {"document": {**row["document"], "data": {}, "url": None}},
    "event": lambda _: {"facts": {}},
    "effect": lambda row: {"input": blanked(row["input"]), "body": blanked(row["body"]), "address": None},
    "attempt": lambda row: {"reply": row["reply"] and ERASED},
}


@cache
def _told(table: Table) -> tuple[Column[Any], ...]:
    """Give the columns that hold what somebody said."""
    kept = {column.name for column in table.primary_key.columns} | _ORDER
    if table is tables.ticket:  # whose subject is a text; elsewhere that is an id
        kept = kept - {"subject"}
    if table is tables.effect:
        kept |= {"name", "round_by"}
    texts = (Text, Json)
    return tuple(one for one in table.c if one.name not in kept and not one.foreign_keys and isinstance(one.type, texts))


def _without(column: Column[Any], value: Any, erased: Erased) -> Any:
    if isinstance(column.type, Json):
        return erased.value(value)
    left = erased.reply(value) if value[:1] in ('"', "{", "[") else erased.text(value)
    return ERASED if left is None and not column.nullable else left


def write(conn: Connection, found: Sequence[Found], erased: Erased) -> int:
    """Write what was found, judged anew where a row is not as it was. Gives how many rows."""
    for one in found:
        table = tables.metadata.tables[one.table]
        mine = and_(*(column == value for column, value in zip(table.primary_key.columns, one.key, strict=True)))
        now = conn.execute(select(table).where(mine).with_for_update()).mappings().first()
        if now is None:
            continue
        row, after = dict(now), one.after
        if row != one.row:
            again = list(_judged(conn, table, [row], erased))
            if not again:
                continue
            after = again[0].after
        conn.execute(delete(table).where(mine) if after is None else update(table).where(mine).values(**after))
    return len(found)
