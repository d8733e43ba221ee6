"""No look that the hub takes every second, or for every effect, may walk the finished rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from sqlalchemy import Connection, Engine, event

from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.receipt import held_notices, open_settled
from lifecyclehub.dispatch.upkeep import due_effects, expire, forgotten_effects, have_their_turn, undecided, waiting_effects
from lifecyclehub.intake import match
from lifecyclehub.intake.notices import Release, due_notices, open_deliveries, open_notices, release
from lifecyclehub.intake.waiting import tickets_naming
from lifecyclehub.store import tables as t
from lifecyclehub.store.setup import upgrade
from lifecyclehub.store.state import load_states, records, rows

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def _draft(charge: str) -> Any:
    return SimpleNamespace(prepared=SimpleNamespace(action="create_draft_invoice", input={"lines": [{"charge": charge}]}))


# What is asked -> the index that must serve it.
LOOKS: dict[str, tuple[Callable[[Connection], Any], str]] = {
    "open deliveries": (lambda conn: open_deliveries(conn, ["tool"], "hub_1"), "ix_delivery_open"),
    "open notices": (lambda conn: open_notices(conn, NOW, "hub_1", "ntc_1"), "ix_notice_open"),
    "due notices": (lambda conn: due_notices(conn, NOW, "hub_1"), "ix_notice_due"),
    "notices that wait for a create": (lambda conn: held_notices(conn, ["eff_1"]), "ix_notice_held"),
    "notices that wait for a create that is over": (lambda conn: open_settled(conn, [None]), "ix_notice_held"),
    "notices that wait for a connection": (lambda conn: release(conn, [Release("con_1")]), "ix_notice_held"),
    "due effects": (lambda conn: due_effects(conn, NOW, "hub_1"), "ix_effect_open"),
    "waiting effects": (lambda conn: waiting_effects(conn, "eff_1"), "ix_effect_open"),
    "effects that have their turn": (lambda conn: have_their_turn(conn, ["eff_1"]), "ix_effect_target"),
    "forgotten effects": (forgotten_effects, "ix_effect_open"),
    "engagements that nobody decided on": (undecided, "ix_engagement_undecided"),
    "claims without an answer": (lambda conn: expire(conn, [(NOW, None)]), "ix_effect_open"),
    "claims of another process": (lambda conn: expire(conn, [(NOW, "hub_1")]), "ix_effect_open"),
    "turns on a target record": (lambda conn: TakeClaims._first_on_target(conn, {"con_1/k/1"}), "ix_effect_target"),
    "creates that may have made a record": (lambda conn: match._UNCERTAIN.each(conn, {"tool.project"}), "ix_effect_create"),
    "links of things": (lambda conn: rows(conn, t.link, "thing", {"pro_1"}), "ix_link_thing"),
    "links of records": (lambda conn: records(conn, t.link, {("con_1", "k", "1")}), "link USING PRIMARY KEY"),
    "mirror of records": (lambda conn: records(conn, t.mirror, {("con_1", "k", "1")}), "mirror USING PRIMARY KEY"),
    "an effect by its marker": (lambda conn: rows(conn, t.effect, "marker", {"lh-1"}), "ix_effect_marker"),
    "effects that need another": (lambda conn: rows(conn, t.need, "needed", {"eff_1"}), "ix_need_needed"),
    "tickets that name a project": (lambda conn: tickets_naming(conn, ["eng_1"]), "ix_ticket_naming"),
    "effects of a client": (lambda conn: rows(conn, t.effect, "subject", {"cli_1"}), "ix_effect_subject"),
    "charges on an invoice": (lambda conn: TakeClaims._billed(conn, [_draft("chg_1")]), "uq_invoice_line_charge_live"),
}


class _Noted(sqlite3.Cursor):
    """Notes what it is asked, as it is asked: with its values in it, an index might serve that does not otherwise."""

    asked: ClassVar[list[tuple[str, Any]]] = []

    def execute(self, statement: str, values: Any = (), /) -> Any:
        self.asked.append((statement, values))
        return super().execute(statement, values)

    def executemany(self, statement: str, rows: Any, /) -> Any:
        self.asked.append((statement, rows[0]))
        return super().executemany(statement, rows)


class _Noting(sqlite3.Connection):
    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(_Noted)


@pytest.fixture
def conn(sqlite_engine: Engine) -> Iterator[Connection]:
    def noting(_dialect: Any, _record: Any, _arguments: Any, named: dict[str, Any]) -> None:
        named["factory"] = _Noting

    event.listen(sqlite_engine, "do_connect", noting)
    upgrade(sqlite_engine)
    with sqlite_engine.connect() as opened, opened.begin():
        yield opened


def plans(conn: Connection, look: Callable[[Connection], Any]) -> list[str]:
    """Say how SQLite would find the rows of each statement."""
    _Noted.asked.clear()
    look(conn)
    asked = list(_Noted.asked)
    raw: Any = conn.connection.dbapi_connection
    assert asked
    return [row[3] for statement, values in asked for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


@pytest.mark.parametrize("what", LOOKS)
def test_the_look_for(what: str, conn: Connection) -> None:
    look, index = LOOKS[what]

    found = plans(conn, look)

    assert any(index in step for step in found), found
    scans = [step for step in found if step.startswith("SCAN") and "INDEX" not in step]
    assert not [step for step in scans if step != "SCAN lease"], found  # a handful of rows, one for each hub


@pytest.mark.parametrize("what", LOOKS)
def test_sqlite_prepares_only_once_the_look_for(what: str, conn: Connection) -> None:
    """It plans anew for each value that is bound where the condition of a partial index has one."""
    look, _ = LOOKS[what]
    raw: Any = conn.connection.dbapi_connection
    _Noted.asked.clear()
    look(conn)
    look(conn)
    prepared = dict(raw.execute("SELECT sql, reprep FROM sqlite_stmt").fetchall())

    assert {statement: prepared[statement] for statement, _ in _Noted.asked if prepared[statement]} == {}


def test_the_state_of_an_engagement_is_read_through_indexes(conn: Connection) -> None:
    conn.execute(t.engagement.insert(), [{"id": "eng_1", "created_at": NOW}])

    found = plans(conn, lambda one: load_states(one, {"eng_1"}))

    assert len(found) >= 8
    assert [step for step in found if step.startswith("SCAN")] == []
