"""How a thing's canonical fields lie in its table: some as columns, the others in `fields`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Table

from lifecyclehub.jsonio import dumps
from lifecyclehub.model import field_at
from lifecyclehub.store import tables

Row = dict[str, Any]

TABLES: dict[str, Table] = {
    "client": tables.client,
    "contact": tables.contact,
    "teammate": tables.teammate,
    "deal": tables.deal,
    "project": tables.project,
    "ticket": tables.ticket,
    "invoice": tables.invoice,
}

# Canonical field -> column. Amounts are minor units.
COLUMNS: dict[str, dict[str, str]] = {
    "client": {name: name for name in ("name", "kind", "standing", "currency", "terms")},
    "contact": {"name": "name", "email": "email"},
    "teammate": {"name": "name", "email": "email"},
    "deal": {
        **{name: name for name in ("title", "purpose", "status", "won_at")},
        "value.amount": "value_minor",
        "value.currency": "value_currency",
    },
    "project": {name: name for name in ("title", "status", "closed_at")},
    "ticket": {name: name for name in ("number", "subject", "status", "created_at", "project_ref")},
    "invoice": {
        **{name: name for name in ("number", "status", "kind", "due_on")},
        "total.amount": "total_minor",
        "total.currency": "total_currency",
        "paid.amount": "paid_minor",
    },
}


def _stored(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def put(kind: str, row: Row, news: Mapping[str, Any]) -> None:
    """Write canonical values (names within the thing, such as `value.amount`) into a row to be stored."""
    columns = COLUMNS[kind]
    fields: dict[str, Any] | None = None
    for name, value in news.items():
        column = columns.get(name)
        if column is None:
            fields = dict(row.get("fields") or {}) if fields is None else fields
            fields[name] = _stored(value)
        else:
            row[column] = value if isinstance(value, datetime) or not isinstance(value, date) else value.isoformat()
    if fields is not None:
        row["fields"] = fields


def _as_instant(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _as_date(value: Any) -> Any:
    return date.fromisoformat(value) if isinstance(value, str) else value


_KEPT_AS_TEXT: dict[str, Callable[[Any], Any]] = {"instant": _as_instant, "date": _as_date}


@cache
def _columns(kind: str) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, Callable[[Any], Any]], ...]]:
    """Give the columns of fields, and those fields whose values are kept as text."""
    read = tuple((name, reader) for name in COLUMNS[kind] if (reader := _reader(kind, name)) is not None)
    return tuple(COLUMNS[kind].items()), read


@lru_cache(maxsize=4096)
def _reader(kind: str, name: str) -> Callable[[Any], Any] | None:
    field = field_at(f"{kind}.{name}")
    return _KEPT_AS_TEXT.get(field.type) if field is not None else None


@lru_cache(maxsize=4096)
def _steps(name: str) -> tuple[str, ...] | None:
    """Give the names from the outside in, None for a name without dots."""
    return tuple(name.split(".")) if "." in name else None


@cache
def _places(kind: str) -> tuple[tuple[str, str, tuple[str, ...] | None, Callable[[Any], Any] | None], ...]:
    """Give the columns of fields, where they are put, and what reads those that are kept as text."""
    return tuple((name, column, _steps(name), _reader(kind, name)) for name, column in COLUMNS[kind].items())


def canonical(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row's canonical values by name within the thing, typed as the model says."""
    columns, kept_as_text = _columns(kind)
    values = {name: row[column] for name, column in columns if column in row}
    for name, read in kept_as_text:
        if name in values:
            values[name] = read(values[name])
    for name, value in (row.get("fields") or {}).items():
        reader = _reader(kind, name)
        values[name] = value if reader is None else reader(value)
    return values


def nested(kind: str, row: Mapping[str, Any], url: str | None = None) -> dict[str, Any]:
    """Give a thing as conditions and mappings see it: nested by the dots of its field names, with `id` and `url`."""
    shape: dict[str, Any] = {"id": row["id"], "url": url}
    for name, column, path, read in _places(kind):
        if column in row:
            value = row[column] if read is None else read(row[column])
            if path is None:
                shape[name] = value
            else:
                _put_below(shape, path, value)
    for name, kept in (row.get("fields") or {}).items():
        read, path = _reader(kind, name), _steps(name)
        value = kept if read is None else read(kept)
        if path is None:
            shape[name] = value
        else:
            _put_below(shape, path, value)
    return shape


def _put_below(shape: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for step in path[:-1]:
        below = shape.setdefault(step, {})
        shape = below if isinstance(below, dict) else {}
    shape[path[-1]] = value


def observed(value: Any) -> str:
    """Give a canonical value as the mirror keeps it: the same text for the same meaning."""
    return dumps(value)
