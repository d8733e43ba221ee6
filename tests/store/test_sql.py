"""What the driver runs by itself comes out as SQLAlchemy would have it, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from lifecyclehub.store.sql import ROOM, Query, Write
from lifecyclehub.store.types import Instant, Json
from lifecyclehub.store.upsert import insert_all, insert_new, put_all

drawer = Table(
    "drawer",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("label", Text, nullable=False, default="unnamed"),
    Column("count", Integer),
    Column("full", Boolean),
    Column("at", Instant),
    Column("facts", Json),
    Column("bytes", LargeBinary),
)
AT = datetime(2026, 5, 4, 9, 30, 0, 123457, tzinfo=UTC)
WHOLE: dict[str, Any] = {"id": "a", "label": "pens 100%", "count": 3, "full": True, "at": AT}
WHOLE |= {"facts": {"price": Decimal("1.10"), "who": ["Zoë", None]}, "bytes": b"\x00\xff"}
EMPTY: dict[str, Any] = {"id": "b", "label": "", "count": None, "full": None, "at": None, "facts": None, "bytes": None}
ALL = Query(select(drawer).order_by(drawer.c.id))
NAMED = Query(select(drawer).order_by(drawer.c.id), drawer.c.id)


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as opened:
        drawer.create(opened)
    with engine.connect() as opened:
        yield opened


def by_sqlalchemy(conn: Connection) -> list[dict[str, Any]]:
    return [dict(row) for row in conn.execute(select(drawer).order_by(drawer.c.id)).mappings()]


def test_rows_come_back_as_they_went_in(conn: Connection) -> None:
    insert_all(conn, drawer, [WHOLE, EMPTY])

    assert ALL.all(conn) == [WHOLE, EMPTY] == by_sqlalchemy(conn)
    assert {type(value) for row in ALL.all(conn) for value in row.values()} == {
        type(value) for row in by_sqlalchemy(conn) for value in row.values()
    }


def test_what_sqlalchemy_wrote_is_read_alike(conn: Connection) -> None:
    conn.execute(drawer.insert(), [WHOLE, EMPTY])

    assert ALL.all(conn) == [WHOLE, EMPTY]


def test_a_column_that_is_left_out_gets_its_default(conn: Connection) -> None:
    insert_all(conn, drawer, [{"id": "a"}, {"id": "b"}])

    assert {row["label"] for row in ALL.all(conn)} == {"unnamed"}


def test_each_set_of_columns_is_a_statement_of_its_own(conn: Connection) -> None:
    insert_all(conn, drawer, [{"id": "a", "count": 1}])
    insert_all(conn, drawer, [{"id": "b", "full": False}])
    put_all(conn, drawer, [{"id": "a", "label": "new"}])

    assert [(row["id"], row["label"], row["count"], row["full"]) for row in ALL.all(conn)] == [
        ("a", "new", 1, None),
        ("b", "unnamed", None, False),
    ]


def test_what_is_there_already_is_left_as_it_is(conn: Connection) -> None:
    insert_all(conn, drawer, [WHOLE])
    insert_new(conn, drawer, [WHOLE | {"count": 9}, EMPTY])

    assert ALL.all(conn) == [WHOLE, EMPTY]


@pytest.mark.parametrize("count", [0, 1, 2, 31, 33, ROOM[-1], ROOM[-1] + 1, 2 * ROOM[-1] + 5])
def test_a_list_of_any_length_finds_each_row_once(conn: Connection, count: int) -> None:
    names = [f"{number:04}" for number in range(count)]
    insert_all(conn, drawer, [{"id": name} for name in (*names, "other")])

    found = NAMED.each(conn, {*names, "nobody"})

    assert [row["id"] for row in found] == names


def test_a_few_texts_serve_lists_of_all_lengths(conn: Connection) -> None:
    query = Query(select(drawer.c.id), drawer.c.id)
    for count in range(1, 70):
        query.each(conn, [str(number) for number in range(count)])

    assert len(query._compiled) == 4


def test_values_and_constants_meet_in_one_statement(conn: Connection) -> None:
    insert_all(conn, drawer, [WHOLE, EMPTY])
    emptied = Write(
        update(drawer).where(drawer.c.id == bindparam("which")).values(full=False, facts=None, at=bindparam("moment"))
    )
    emptied.run(conn, [{"which": "a", "moment": None}, {"which": "b", "moment": AT}])

    assert [(row["full"], row["facts"], row["at"]) for row in ALL.all(conn)] == [(False, None, None), (False, None, AT)]


def test_what_never_changes_is_written_into_the_text(conn: Connection) -> None:
    label, count, at = drawer.c.label, drawer.c.count, drawer.c.at
    query = Query(select(drawer).where(label == "pens 100%, Zoë's", count > 2, at <= AT, drawer.c.id == bindparam("which")))
    insert_all(conn, drawer, [WHOLE | {"label": "pens 100%, Zoë's"}])

    assert [row["id"] for row in query.all(conn, which="a")] == ["a"]
    assert query.all(conn, which="b") == []
    assert [row["label"] for row in query.all(conn, which="a")] == ["pens 100%, Zoë's"]


def test_it_says_how_many_rows_it_met(conn: Connection) -> None:
    insert_all(conn, drawer, [WHOLE, EMPTY])
    gone = Write(delete(drawer).where(drawer.c.id == bindparam("which")))

    assert [gone.count(conn, which="a"), gone.count(conn, which="a")] == [1, 0]


def test_what_it_writes_belongs_to_the_transaction(engine: Engine, conn: Connection) -> None:
    insert_all(conn, drawer, [WHOLE])
    assert conn.in_transaction()
    conn.rollback()

    with engine.connect() as other:
        assert ALL.all(other) == []


def test_an_error_of_the_database_is_the_one_sqlalchemy_raises_without_values(conn: Connection) -> None:
    insert_all(conn, drawer, [WHOLE])
    with pytest.raises(IntegrityError) as ours:
        insert_all(conn, drawer, [WHOLE | {"label": "a secret"}])
    conn.rollback()
    insert_all(conn, drawer, [WHOLE])
    with pytest.raises(IntegrityError) as theirs:
        conn.execute(drawer.insert(), [WHOLE])

    assert type(ours.value.orig) is type(theirs.value.orig)
    assert ours.value.statement == theirs.value.statement
    assert "a secret" not in repr(ours.value).replace(repr(ours.value.orig), "")
    assert not ours.value.connection_invalidated


@pytest.mark.parametrize("wrong", [{"at": datetime(2026, 5, 4)}, {"full": "perhaps"}])  # noqa: DTZ001
def test_a_value_that_a_column_cannot_hold_is_refused_before_it_is_sent(conn: Connection, wrong: dict[str, Any]) -> None:
    with pytest.raises(StatementError) as ours:
        insert_all(conn, drawer, [WHOLE, EMPTY | wrong])
    with pytest.raises(StatementError):
        conn.execute(drawer.insert(), [WHOLE, EMPTY | wrong])

    assert ours.value.params is None


def test_rows_that_lack_a_column_of_the_first_are_refused(conn: Connection) -> None:
    with pytest.raises(StatementError, match="label"):
        insert_all(conn, drawer, [{"id": "a", "label": "x"}, {"id": "b"}])


def test_a_lost_connection_is_told_and_given_up(postgres_engine: Engine) -> None:
    with postgres_engine.connect() as conn:
        here = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with postgres_engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": here})
        with pytest.raises(DBAPIError) as lost:
            Query(select(text("1"))).all(conn)
        assert lost.value.connection_invalidated
        conn.rollback()
        assert conn.execute(text("SELECT 1")).scalar_one() == 1
