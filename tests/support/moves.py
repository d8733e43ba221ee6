"""Every change of an effect's state, noted by the database itself, whoever writes it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine, text

from lifecyclehub.dispatch.moves import MOVES


class Move(NamedTuple):
    """One change of a state. `claimed`: by how much the epoch grew with it."""

    effect: str
    was: str
    now: str
    claimed: int


_TABLE = "CREATE TABLE effect_moved (effect TEXT, was TEXT, now TEXT, claimed INTEGER)"
_NOTE = "INSERT INTO effect_moved VALUES (NEW.id, OLD.state, NEW.state, NEW.epoch - OLD.epoch);"
_WHEN = "WHEN (OLD.state <> NEW.state OR OLD.epoch <> NEW.epoch)"
_SQLITE = (f"CREATE TRIGGER effect_moves AFTER UPDATE ON effect {_WHEN} BEGIN {_NOTE} END",)
_POSTGRES = (
    f"CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_NOTE} RETURN NULL; END $$",
    f"CREATE TRIGGER effect_moves AFTER UPDATE ON effect FOR EACH ROW {_WHEN} EXECUTE FUNCTION note_move()",
)

FORGET_ALL = 'DROP TABLE IF EXISTS "{schema}".effect_moved; DROP FUNCTION IF EXISTS "{schema}".note_move CASCADE'


def watch_moves(engine: Engine) -> None:
    """Let the database note every move from now on."""
    with engine.begin() as conn:
        for statement in (_TABLE, *(_SQLITE if engine.dialect.name == "sqlite" else _POSTGRES)):
            conn.exec_driver_sql(statement)


def moves(engine: Engine) -> list[Move]:
    """Give the moves so far."""
    with engine.connect() as conn:
        return [Move(*row) for row in conn.execute(text("SELECT effect, was, now, claimed FROM effect_moved"))]


def forget_moves(engine: Engine) -> None:
    """Note from here."""
    with engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM effect_moved")


def not_allowed(engine: Engine) -> list[Move]:
    """Give the moves that are not in the table, and those whose epoch did not grow by one exactly with a claim."""
    wrong = []
    for one in moves(engine):
        claims = (one.was, one.now) == ("ready", "in flight")
        if (one.now != one.was and one.now not in MOVES[one.was]) or one.claimed not in ((0, 1) if claims else (0,)):
            wrong.append(one)
    return wrong
