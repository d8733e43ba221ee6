"""Inserting what may be there already, alike on both databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table

from lifecyclehub.store.sql import Insert, Row

_Make = Callable[[Table], Callable[[str, tuple[str, ...]], Any]]


def insert_into(table: Table, database: str) -> Any:
    """Give an insert as this database knows it: one that may say what is done on a conflict."""
    return import_module(f"sqlalchemy.dialects.{database}").insert(table)


def _plain(table: Table) -> Callable[[str, tuple[str, ...]], Any]:
    return lambda _database, _columns: table.insert()


def _unless_there(table: Table) -> Callable[[str, tuple[str, ...]], Any]:
    return lambda database, _columns: insert_into(table, database).on_conflict_do_nothing()


def _or_change(table: Table) -> Callable[[str, tuple[str, ...]], Any]:
    primary = [column.name for column in table.primary_key.columns]

    def make(database: str, columns: tuple[str, ...]) -> Any:
        insert = insert_into(table, database)
        news = {name: insert.excluded[name] for name in columns if name not in primary}
        return insert.on_conflict_do_update(index_elements=primary, set_=news)

    return make


_inserts: dict[tuple[_Make, str], Insert] = {}


def _made(make: _Make, table: Table) -> Insert:
    found = _inserts.get((make, table.name))
    if found is None:
        found = _inserts[make, table.name] = Insert(make(table))
    return found


def insert_all(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows with one executemany. All must have the same columns."""
    if rows:
        _made(_plain, table).run(conn, rows)


def insert_new(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert the rows that hurt no unique key, and leave the others out."""
    if rows:
        _made(_unless_there, table).run(conn, rows)


def put_all(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, or bring those with the same primary key up to date. All must have the same columns."""
    if rows:
        _made(_or_change, table).run(conn, rows)
