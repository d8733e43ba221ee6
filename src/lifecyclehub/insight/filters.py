"""What a list is narrowed by: a word that can match nothing is an error that names what there is, not an empty list."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, select

from lifecyclehub.errors import NotThere, nearest
from lifecyclehub.store import tables
from lifecyclehub.store.things import TABLES


def refuse_unknown(conn: Connection, **asked: str | None) -> None:
    """Refuse a filter, by its name, that can match nothing. Raises NotThere."""
    for name, value in asked.items():
        if value is not None:
            _CHECKS[name](conn, value)


def there_is(conn: Connection, table: Table, identity: str) -> None:
    """Refuse an id that nothing of that table has. Raises NotThere."""
    if not _any(conn, table.c.id == identity):
        raise not_there(table.name, identity)


def not_there(what: str, identity: str) -> NotThere:
    """Give the error for an id that nothing has."""
    return NotThere(f"there is no {what} {identity!r}.", mend=f"Take the id from {_SHOWN.get(what, _PAGE)}.")


_PAGE: Final = "the page of its client or engagement"
_SHOWN: Final = {
    "client": "the list of clients",
    "engagement": "the list of engagements",
    "effect": "the list of effects",
    "delivery": "the list of deliveries",
    "notice": "the page of its delivery",
    "finding": "the list of findings",
}


def _any(conn: Connection, *conditions: ColumnElement[Any]) -> bool:
    return conn.execute(select(1).where(*conditions).limit(1)).first() is not None


def _handoff(conn: Connection, named: str) -> None:
    known = {*_in_file(conn), *conn.execute(select(tables.handoff.c.id)).scalars()}
    if named not in known and not _any(conn, tables.effect.c.handoff == named):
        raise NotThere(f"there is no handoff {named!r}.", mend=nearest(named, known))


def _in_file(conn: Connection) -> set[str]:
    """Give the handoffs of the set that counts: one that was never switched stands nowhere else."""
    installation, applied = tables.installation, tables.applied_set
    asked = select(applied.c.content).join(installation, installation.c.applied_set == applied.c.id)
    content = conn.execute(asked).scalar() or {}
    found = tomllib.loads(content.get("own", {}).get("handoffs.toml", ""))
    return {one["id"] for one in found.get("handoff", ())}


def _action(conn: Connection, named: str) -> None:
    if not _any(conn, tables.effect.c.action == named):
        known = set(conn.execute(select(tables.effect.c.action).distinct()).scalars())
        raise NotThere(f"no effect does {named!r}.", mend=nearest(named, known, none="There are no effects yet."))


def _kind(conn: Connection, named: str) -> None:
    known = set(conn.execute(select(tables.cursor.c.kind).distinct()).scalars())
    connections = list(conn.execute(select(tables.connection.c.id)).scalars())
    seen = [(table.c.connection.in_(connections), table.c.kind == named) for table in (tables.link, tables.notice)]
    if named not in known and not any(_any(conn, *one) for one in seen):
        raise NotThere(f"nothing of the kind {named!r} ever came.", mend=nearest(named, known))


def _thing(conn: Connection, named: str) -> None:
    things = (*TABLES.values(), tables.engagement, tables.milestone, tables.change, tables.period)
    if not any(_any(conn, table.c.id == named) for table in things):
        raise not_there("thing", named)


def _row_of(table: Table) -> Callable[[Connection, str], None]:
    return lambda conn, identity: there_is(conn, table, identity)


_CHECKS: Final[Mapping[str, Callable[[Connection, str], None]]] = {
    "handoff": _handoff,
    "action": _action,
    "kind": _kind,
    "thing": _thing,
    "client": _row_of(tables.client),
    "engagement": _row_of(tables.engagement),
    "delivery": _row_of(tables.delivery),
}
