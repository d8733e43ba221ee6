"""How a thing's canonical fields lie in its table: some as columns, the others in `fields`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Table

from lifecyclehub.jsonio import dumps
from lifecyclehub.model import field_at
from lifecyclehub.store import tables

Row = dict[str, Any]

TABLES: dict[str, Table] = {
    "client": tables.client,
    "contact": tables.contact,
    "deal": tables.deal,
    "project": tables.project,
    "ticket": tables.ticket,
    "invoice": tables.invoice,
}

# Canonical field -> column. Amounts are minor units.
COLUMNS: dict[str, dict[str, str]] = {
    "client": {name: name for name in ("name", "kind", "standing", "currency", "terms")},
    "contact": {"name": "name", "email": "email"},
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


def _typed(path: str, value: Any) -> Any:
    field = field_at(path)
    if field is None or not isinstance(value, str):
        return value
    if field.type == "instant":
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if field.type == "date" else value


def canonical(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row's canonical values by name within the thing, typed as the model says."""
    values = {name: _typed(f"{kind}.{name}", row[column]) for name, column in COLUMNS[kind].items() if column in row}
    for name, value in (row.get("fields") or {}).items():
        values[name] = _typed(f"{kind}.{name}", value)
    return values


def nested(kind: str, row: Mapping[str, Any], url: str | None = None) -> dict[str, Any]:
    """Give a thing as conditions and mappings see it: nested by the dots of its field names, with `id` and `url`."""
    shape: dict[str, Any] = {"id": row["id"], "url": url}
    for name, value in canonical(kind, row).items():
        here = shape
        *path, last = name.split(".")
        for step in path:
            below = here.setdefault(step, {})
            here = below if isinstance(below, dict) else {}
        here[last] = value
    return shape


def observed(value: Any) -> str:
    """Give a canonical value as the mirror keeps it: the same text for the same meaning."""
    return dumps(value)
