"""All tables in an empty database, as `lifecyclehub init` makes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event

from lifecyclehub.store.setup import upgrade

_LOOKS = ("SELECT", "PRAGMA", "BEGIN")
_made: dict[str, str] = {}  # by kind of database: what its migrations said to the first one


def make_tables(engine: Engine) -> None:
    """Let the migrations make all tables; to every database but the first of its kind their words are said again, in one go."""
    kind = engine.dialect.name
    if (script := _made.get(kind)) is None:
        _made[kind] = _migrated(engine)
        return
    with engine.begin() as conn:
        raw: Any = conn.connection.dbapi_connection
        if kind == "sqlite":
            raw.executescript(f"BEGIN IMMEDIATE; {script}")  # it ends the transaction that was begun
        else:
            raw.execute(script)


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
