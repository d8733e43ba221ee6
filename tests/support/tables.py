"""All tables in an empty database, as `lifecyclehub init` makes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event

from lifecyclehub.store.setup import upgrade
from tests.support import schemas

_LOOKS = ("SELECT", "PRAGMA", "BEGIN")
_made: dict[str, str] = {}  # by kind of database: what its migrations said to the first one


def make_tables(engine: Engine) -> None:
    """Let the migrations make all tables; to every database but the first of its kind their words are said again, in one go."""
    kind = engine.dialect.name
    first = kind not in _made
    if first:
        _made[kind] = _migrated(engine)
    with engine.begin() as conn:
        raw: Any = conn.connection.dbapi_connection
        if kind != "sqlite":
            if not first and schemas.take_one(raw):
                return
            raw.execute("" if first else _made[kind])
            schemas.has_all_tables(raw)
        elif not first:
            raw.executescript(f"BEGIN IMMEDIATE; {_made[kind]}")  # it ends the transaction that was begun


def _migrated(engine: Engine) -> str:
    said: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if not statement.lstrip().upper().startswith(_LOOKS):
            assert not parameters
            assert "%" not in statement
            said.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        upgrade(engine)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return ";\n".join(said)
