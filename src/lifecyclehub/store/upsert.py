"""Inserting what may be there already, alike on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from lifecyclehub.store.things import Row

_cache: dict[tuple[str, str, tuple[str, ...], bool], Any] = {}


def _insert(conn: Connection, table: Table) -> Any:
    return (sqlite if conn.dialect.name == "sqlite" else postgresql).insert(table)


def insert_all(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows with one executemany. All must have the same columns."""
    if rows:
        key = ("", table.name, (), False)  # the same on both databases
        if key not in _cache:
            _cache[key] = table.insert()
        conn.execute(_cache[key], list(rows))


def insert_new(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert the rows that hurt no unique key, and leave the others out."""
    if not rows:
        return
    key = (conn.dialect.name, table.name, (), False)
    statement = _cache.get(key)
    if statement is None:
        statement = _cache[key] = _insert(conn, table).on_conflict_do_nothing()
    conn.execute(statement, list(rows))


def put_all(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, or bring those with the same primary key up to date. All must have the same columns."""
    if not rows:
        return
    columns = tuple(rows[0])
    key = (conn.dialect.name, table.name, columns, True)
    statement = _cache.get(key)
    if statement is None:
        insert = _insert(conn, table)
        primary = [column.name for column in table.primary_key.columns]
        news = {name: insert.excluded[name] for name in columns if name not in primary}
        statement = _cache[key] = insert.on_conflict_do_update(index_elements=primary, set_=news)
    conn.execute(statement, list(rows))
