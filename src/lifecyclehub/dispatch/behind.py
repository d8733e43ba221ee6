"""One client gets one record in a tool: what may have made it goes first, also while it waits for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, or_, select

from lifecyclehub.dispatch.moves import Stood, swap, write
from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.things import Row

BEHIND = "unanswered"
"""Why an effect is held that would make for a client what another one may have made."""

_effect = tables.effect
_HELD_COLUMNS = ("state", "reason", "detail", "not_before")
_HELD = swap(*_HELD_COLUMNS)


def _may_be_done(effect: Any) -> ColumnElement[bool]:
    """Give the condition that nothing moves an effect just now, though the tool may have done it."""
    aside = or_(*(effect.c.state == state for state in ("parked", "held", "planned")))
    maybe = or_(effect.c.unsure_since.is_not(None), effect.c.handle.is_not(None), effect.c.record_id.is_not(None))
    return aside & maybe & or_(effect.c.reason.is_(None), effect.c.reason != BEHIND)


_BEFORE = Query(
    select(_effect.c.id, _effect.c.client, _effect.c.connection, _effect.c.creates).where(_may_be_done(_effect)),
    _effect.c.client,
)


def hold_behind(conn: Connection, asked: Iterable[Prepared], effects: Mapping[str, Row]) -> set[str]:
    """Hold what would make a record of a client while another effect may have made that already; give what is held."""
    mine = {one.effect: row for one in asked if (row := effects.get(one.effect)) is not None and _of_client(one, row)}
    if not mine:
        return set()
    before: dict[tuple[str, str, str], list[str]] = {}
    for other in _BEFORE.each(conn, {row["client"] for row in mine.values()}):
        before.setdefault(_what(other), []).append(other["id"])
    moves = []
    for effect, row in mine.items():
        first = next((one for one in before.get(_what(row), ()) if one != effect), None)
        if first is not None and row["state"] == "ready":
            detail = f"{first} may have made this client's record already; this goes on when it is known what came of that"
            held = {"state": "held", "reason": BEHIND, "detail": detail, "not_before": None}
            moves.append((row | held, Stood.of(row)))
    write(conn, _HELD, _HELD_COLUMNS, moves)
    return {row["id"] for row, _ in moves}


def behind_nothing() -> ColumnElement[bool]:
    """Give the condition that an effect is still held so, though it is known by now what came of those before it."""
    other = _effect.alias()
    same = (other.c.connection == _effect.c.connection) & (other.c.creates == _effect.c.creates) & (other.c.id != _effect.c.id)
    before = exists().where(other.c.client == _effect.c.client, same, _may_be_done(other))
    return (_effect.c.state == "held") & (_effect.c.reason == BEHIND) & ~before


def _of_client(prepared: Prepared, row: Row) -> bool:
    return row["client"] is not None and prepared.target == f"{prepared.connection}/{row['creates']}/of {row['client']}"


def _what(row: Row) -> tuple[str, str, str]:
    return (row["client"], row["connection"], row["creates"])
