"""PostgreSQL schemas with all tables, emptied and used again: making and dropping one takes longer than most stories."""

from __future__ import annotations

import itertools
import os
from typing import Any

import psycopg

from tests.support.moves import FORGET_ALL

_numbers = itertools.count(1)
_with_tables: dict[str, str] = {}  # schemas in use that were given all tables, and what they looked like then
_aside: dict[str, str] = {}  # schemas that wait for the next one who wants tables, likewise

_LOOKS_LIKE = """
SELECT md5(string_agg(one, ',' ORDER BY one)) FROM (
    SELECT concat_ws(' ', c.relkind, c.relname, a.attname, a.atttypid, a.attnotnull) AS one
    FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = %(schema)s::regnamespace
    UNION ALL SELECT conname FROM pg_constraint WHERE connamespace = %(schema)s::regnamespace
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace
    UNION ALL SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = %(schema)s::regnamespace AND NOT tgisinternal
) AS all_of_it
"""
_WRITTEN = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'r' AND c.relname <> 'alembic_version'
AND pg_relation_size(c.oid) > 0
"""


def take_one(raw: Any) -> bool:
    """Put a schema that has all tables in the place of the empty one that this connection works in; False: there is none."""
    if not _aside:
        return False
    waiting, looks = _aside.popitem()
    (empty,) = raw.execute("SELECT current_schema()").fetchone()
    raw.execute(f'DROP SCHEMA "{empty}"')
    raw.execute(f'ALTER SCHEMA "{waiting}" RENAME TO "{empty}"')
    _with_tables[empty] = looks
    return True


def has_all_tables(raw: Any) -> None:
    """Remember that the schema this connection works in was just given all tables, and nothing else."""
    (schema,) = raw.execute("SELECT current_schema()").fetchone()
    _with_tables[schema] = _looks(raw, schema)


def put_aside(admin: psycopg.Connection[Any], schema: str) -> bool:
    """Empty a schema and keep it for another test; False: it was not given all tables, or has other things by now."""
    looks = _with_tables.pop(schema, None)
    if looks is None:
        return False
    admin.execute(FORGET_ALL.format(schema=schema))  # type: ignore[call-overload,unused-ignore]
    if _looks(admin, schema) != looks:
        return False
    written = [name for (name,) in admin.execute(_WRITTEN, {"schema": f'"{schema}"'})]
    if written:
        admin.execute(f"TRUNCATE {', '.join(written)} RESTART IDENTITY CASCADE")  # type: ignore[call-overload,unused-ignore]
    waiting = f"lh_aside_{os.getpid()}_{next(_numbers)}"
    admin.execute(f'ALTER SCHEMA "{schema}" RENAME TO "{waiting}"')  # type: ignore[call-overload,unused-ignore]
    _aside[waiting] = looks
    return True


def drop_what_is_aside(admin: psycopg.Connection[Any]) -> None:
    """Drop all schemas that nobody wanted any more."""
    while _aside:
        waiting, _ = _aside.popitem()
        admin.execute(f'DROP SCHEMA "{waiting}" CASCADE')  # type: ignore[call-overload,unused-ignore]


def _looks(raw: Any, schema: str) -> str:
    """Tell what is in a schema, and for which version: the only row that emptying leaves."""
    (found,) = raw.execute(_LOOKS_LIKE, {"schema": f'"{schema}"'}).fetchone()
    (versions,) = raw.execute("SELECT to_regclass(%s)::text", [f'"{schema}".alembic_version']).fetchone()
    return f"{found} {versions and raw.execute(f'SELECT version_num FROM {versions}').fetchall()}"
