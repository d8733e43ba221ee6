"""I8: the database itself notes whatever must never be written, at the moment of the write. Only SQLite is told to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection

from lifecyclehub.dispatch.moves import MOVES

_KNOWN: Final = " OR ".join(
    f"(OLD.state = '{was}' AND NEW.state IN ({', '.join(map(repr, moves))}))" for was, moves in MOVES.items() if moves
)
_HEARD: Final = (
    "EXISTS (SELECT 1 FROM attempt WHERE attempt.effect = OLD.id AND attempt.epoch = OLD.epoch"
    " AND attempt.revision = OLD.revision AND attempt.outcome {})"
)
_MOVED: Final = "OLD.name || ' of epoch ' || OLD.epoch || ' went from ' || OLD.state || ' to ' || NEW.state || '{}'"

# Which column is written, when that is wrong, and what is said then.
_RULES: Final = (
    ("effect.state", f"OLD.state <> NEW.state AND NOT ({_KNOWN})", _MOVED.format("")),
    (
        "effect.state",
        "OLD.state IN ('in flight', 'in doubt') AND NEW.state = 'ready' AND NOT "
        + _HEARD.format("IN ('Retry', 'Refused', 'Absent')"),
        _MOVED.format(", and nobody told its holder that nothing was done"),
    ),
    (
        "effect.state",
        "OLD.state = 'in flight' AND NEW.state IN ('held', 'parked') AND NOT " + _HEARD.format("<> 'Unknown'"),
        _MOVED.format(", and its holder was told nothing"),
    ),
    (
        "effect.state",
        "OLD.state = 'in flight' AND OLD.handle IS NOT NULL AND NEW.state = 'in doubt' AND NOT " + _HEARD.format("= 'Unknown'"),
        _MOVED.format(", though the tool accepted it and can be asked"),
    ),
    (
        "effect.state",
        "OLD.state = 'ready' AND NEW.state = 'in flight' AND NEW.handle IS NULL AND NEW.epoch <> OLD.epoch + 1",
        "OLD.name || ' was claimed in epoch ' || NEW.epoch || ' after ' || OLD.epoch",
    ),
    (
        "effect.epoch",
        "OLD.epoch <> NEW.epoch AND NOT (OLD.state = 'ready' AND NEW.state = 'in flight' AND NEW.epoch = OLD.epoch + 1)",
        "OLD.name || ' was not claimed, and went from epoch ' || OLD.epoch || ' to ' || NEW.epoch",
    ),
    (
        "effect.record_id",
        "OLD.record_id IS NOT NULL AND NEW.record_id IS NOT OLD.record_id",
        "OLD.name || ' changed its record from ' || OLD.record_id",
    ),
    (
        "effect.body",
        "OLD.body <> NEW.body AND OLD.revision = NEW.revision AND OLD.epoch <> NEW.epoch",
        "OLD.name || ' was rendered twice for one revision'",
    ),
    ("attempt.outcome", "OLD.outcome <> NEW.outcome", "'an attempt was ' || OLD.outcome || ' and became ' || NEW.outcome"),
    ("client.version", "NEW.version < OLD.version", "'a client went back to version ' || NEW.version"),
    ("engagement.version", "NEW.version < OLD.version", "'an engagement went back to version ' || NEW.version"),
)


def watch(conn: Connection) -> None:
    """Let the database note what is wrong from now on."""
    conn.exec_driver_sql("CREATE TABLE torture_violation (what TEXT)")
    for number, (column, wrong, said) in enumerate(_RULES):
        table, _, name = column.partition(".")
        when = f"CREATE TRIGGER torture_{number} AFTER UPDATE OF {name} ON {table} WHEN {wrong}"
        conn.exec_driver_sql(f"{when} BEGIN INSERT INTO torture_violation VALUES ({said}); END")  # noqa: S608 (our own words)


def noted(conn: Connection) -> list[str]:
    """Give what the database noted."""
    if conn.dialect.name != "sqlite":
        return []
    return [row.what for row in conn.exec_driver_sql("SELECT what FROM torture_violation")]


def note(conn: Connection, said: Iterable[str]) -> None:
    """Let the database know from now on what was noted, and nothing else: one that is put back knows nothing of it."""
    conn.exec_driver_sql("DELETE FROM torture_violation")
    for what in said:
        conn.exec_driver_sql("INSERT INTO torture_violation VALUES (?)", (what,))
