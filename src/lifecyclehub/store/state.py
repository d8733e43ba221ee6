"""Reading all that concerns some engagements, set by set: one statement a table, however many engagements."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select

from lifecyclehub.store import tables
from lifecyclehub.store.things import Row

_CHUNK = 400  # stays far below SQLite's limit of bound values


def rows(conn: Connection, table: Table, column: str, values: Collection[str], *, lock: bool = False) -> list[Row]:
    """Give the rows whose column is among the values, oldest first where the table has an id.

    `lock` keeps other writers off them until the commit; SQLite has only one writer anyway.
    """
    wanted = sorted({value for value in values if value})
    found: list[Row] = []
    statement = _statement(table, column, lock=lock and conn.dialect.name != "sqlite")
    for start in range(0, len(wanted), _CHUNK):
        found += _dicts(conn, statement, {"wanted": wanted[start : start + _CHUNK]})
    return found


def _dicts(conn: Connection, statement: Any, values: Row) -> list[Row]:
    """Read all rows at once; a dict of names and values is made faster than one of a row's own mapping."""
    result = conn.execute(statement, values)
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result.all()]


_statements: dict[tuple[str, str, bool], Any] = {}


def _statement(table: Table, column: str, *, lock: bool) -> Any:
    cached = _statements.get((table.name, column, lock))
    if cached is None:
        cached = select(table).where(table.c[column].in_(bindparam("wanted", expanding=True)))
        if "id" in table.c:
            cached = cached.order_by(table.c.id)
        if lock:
            cached = cached.with_for_update()
        _statements[table.name, column, lock] = cached
    return cached


def by(found: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """Group rows by a column."""
    groups: dict[str, list[Row]] = {}
    for row in found:
        groups.setdefault(row[column], []).append(row)
    return groups


@dataclass(slots=True)
class State:
    """All that is known of one engagement. Rows are plain dicts; `links` by (thing kind, thing)."""

    engagement: Row
    client: Row | None = None
    contacts: list[Row] = field(default_factory=list)
    roles: list[Row] = field(default_factory=list)
    deals: list[Row] = field(default_factory=list)
    projects: list[Row] = field(default_factory=list)
    tickets: list[Row] = field(default_factory=list)
    invoices: list[Row] = field(default_factory=list)
    lines: list[Row] = field(default_factory=list)
    charges: list[Row] = field(default_factory=list)
    links: dict[tuple[str, str], list[Row]] = field(default_factory=dict)
    effects: dict[str, Row] = field(default_factory=dict)

    def things(self, kind: str) -> list[Row]:
        """Give the engagement's things of a kind, oldest first."""
        if kind == "client":
            return [self.client] if self.client else []
        found: list[Row] = {
            "deal": self.deals,
            "project": self.projects,
            "ticket": self.tickets,
            "invoice": self.invoices,
            "contact": self.contacts,
        }[kind]
        return found

    def effect(self, effect: str) -> Row | None:
        """Give an effect of this engagement by its id."""
        return next((row for row in self.effects.values() if row["id"] == effect), None)

    def linked(self, kind: str, thing: str, connection: str | None = None) -> Row | None:
        """Give the living link of a thing, on one connection or on any."""
        alive = [one for one in self.links.get((kind, thing), []) if one["deleted_at"] is None and one["merged_into"] is None]
        return next((one for one in alive if connection is None or one["connection"] == connection), None)

    def gone(self, kind: str, thing: str) -> bool:
        """Tell whether a thing was deleted in every tool that knew it."""
        return bool(self.links.get((kind, thing))) and self.linked(kind, thing) is None


def load_states(conn: Connection, engagements: Collection[str], *, lock: bool = False) -> dict[str, State]:
    """Give the state of each engagement by its id. `lock` keeps other writers off them until the commit."""
    if not engagements:
        return {}
    states = {row["id"]: State(row) for row in rows(conn, tables.engagement, "id", engagements, lock=lock)}
    clients = {row["id"]: row for row in rows(conn, tables.client, "id", {s.engagement["client"] for s in states.values()})}
    contacts = by(rows(conn, tables.contact, "client", clients), "client")
    _spread(states, rows(conn, tables.role, "engagement", states), "roles")
    for attribute, table in (
        ("deals", tables.deal),
        ("projects", tables.project),
        ("tickets", tables.ticket),
        ("invoices", tables.invoice),
        ("charges", tables.charge),
    ):
        _spread(states, rows(conn, table, "engagement", states), attribute)
    lines = by(rows(conn, tables.invoice_line, "invoice", {i["id"] for s in states.values() for i in s.invoices}), "invoice")
    for state in states.values():
        state.client = clients.get(state.engagement["client"])
        state.contacts = contacts.get(state.engagement["client"], [])
        state.lines = [line for one in state.invoices for line in lines.get(one["id"], [])]
    _spread_links(conn, states)
    _spread_effects(conn, states, rows(conn, tables.effect, "engagement", states), "engagement")
    return states


def load_client_states(conn: Connection, clients: Collection[str], *, lock: bool = True) -> dict[str, State]:
    """Give the state of each client by its id: what is known of it apart from any one engagement. `lock` as above."""
    nothing = dict.fromkeys(column.name for column in tables.engagement.columns)
    states = {row["id"]: State(dict(nothing), row) for row in rows(conn, tables.client, "id", clients, lock=lock)}
    for contacts in by(rows(conn, tables.contact, "client", states), "client").values():
        states[contacts[0]["client"]].contacts = contacts
    _spread_links(conn, states)
    found = [row for row in rows(conn, tables.effect, "subject", states) if row["subject_kind"] == "client"]
    _spread_effects(conn, states, found, "subject")
    return states


def _spread_effects(conn: Connection, states: Mapping[str, State], found: list[Row], column: str) -> None:
    waiting = {row["id"] for row in found if row["state"] in ("planned", "held", "ready", "cancelled")}
    needed = by(rows(conn, tables.need, "effect", waiting), "effect")
    for row in found:
        row["needed"] = [one["needed"] for one in needed.get(row["id"], ())]
        states[row[column]].effects[row["key"]] = row


def _spread(states: Mapping[str, State], found: Iterable[Row], attribute: str) -> None:
    for row in found:
        getattr(states[row["engagement"]], attribute).append(row)


def _spread_links(conn: Connection, states: Mapping[str, State]) -> None:
    owners: dict[str, list[State]] = {}
    for state in states.values():
        for kind in ("client", "contact", "deal", "project", "ticket", "invoice"):
            for thing in state.things(kind):
                owners.setdefault(thing["id"], []).append(state)
    for one in rows(conn, tables.link, "thing", owners):
        for state in owners[one["thing"]]:
            state.links.setdefault((one["thing_kind"], one["thing"]), []).append(one)


def records(conn: Connection, table: Table, keys: Collection[tuple[str, str, str]], *, lock: bool = False) -> list[Row]:
    """Give the rows of records named by (connection, kind, record id), from the table's primary key; `lock` as in `rows`."""
    groups: dict[tuple[str, str], set[str]] = {}
    for connection, kind, record_id in keys:
        groups.setdefault((connection, kind), set()).add(record_id)
    found: list[Row] = []
    lock = lock and conn.dialect.name != "sqlite"
    statement = _record_statements.get((table.name, lock))
    if statement is None:
        wanted = table.c.record_id.in_(bindparam("wanted", expanding=True))
        statement = select(table).where(table.c.connection == bindparam("one"), table.c.kind == bindparam("sort"), wanted)
        if lock:
            statement = statement.order_by(table.c.record_id).with_for_update()
        _record_statements[table.name, lock] = statement
    for (connection, kind), ids in sorted(groups.items()):
        ordered = sorted(ids)
        for start in range(0, len(ordered), _CHUNK):
            values = {"one": connection, "sort": kind, "wanted": ordered[start : start + _CHUNK]}
            found += _dicts(conn, statement, values)
    return found


def keyed(conn: Connection, keys: Collection[tuple[str, str]]) -> list[Row]:
    """Give the identity keys named by (kind, value), from their primary key."""
    groups: dict[str, set[str]] = {}
    for kind, value in keys:
        groups.setdefault(kind, set()).add(value)
    found: list[Row] = []
    for kind, values in sorted(groups.items()):
        ordered = sorted(values)
        for start in range(0, len(ordered), _CHUNK):
            wanted = {"sort": kind, "wanted": ordered[start : start + _CHUNK]}
            found.extend(dict(row) for row in conn.execute(_KEYED, wanted).mappings())
    return found


_KEYED = select(tables.identity_key).where(
    tables.identity_key.c.kind == bindparam("sort"), tables.identity_key.c.value.in_(bindparam("wanted", expanding=True))
)
_record_statements: dict[tuple[str, bool], Any] = {}
