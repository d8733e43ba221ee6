"""Reading all that concerns some engagements, set by set: one statement a table, however many engagements."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, bindparam, case, select

from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.things import Row

_by_column: dict[tuple[str, str, bool], Query] = {}


def rows(conn: Connection, table: Table, column: str, values: Collection[str], *, lock: bool = False) -> list[Row]:
    """Give the rows whose column is among the values, oldest first where the table has an id.

    `lock` keeps other writers off them until the commit; SQLite has only one writer anyway.
    """
    wanted = {value for value in values if value}
    if not wanted:
        return []
    key = (table.name, column, lock)
    query = _by_column.get(key)
    if query is None:
        statement = select(table).order_by(table.c.id) if "id" in table.c else select(table)
        query = _by_column[key] = Query(statement.with_for_update() if lock else statement, table.c[column])
    return query.each(conn, wanted)


def by(found: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """Group rows by a column."""
    groups: dict[str, list[Row]] = {}
    for row in found:
        groups.setdefault(row[column], []).append(row)
    return groups


_KEPT_IN = {kind: f"{kind}s" for kind in ("deal", "project", "ticket", "invoice", "contact")}


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
        found: list[Row] = getattr(self, _KEPT_IN[kind])
        return found

    def effect(self, effect: str) -> Row | None:
        """Give an effect of this engagement by its id."""
        return next((row for row in self.effects.values() if row["id"] == effect), None)

    def linked(self, kind: str, thing: str, connection: str | None = None) -> Row | None:
        """Give the living link of a thing, on one connection or on any."""
        for one in self.links.get((kind, thing), ()):
            alive = one["deleted_at"] is None and one["merged_into"] is None
            if alive and (connection is None or one["connection"] == connection):
                return one
        return None

    def gone(self, kind: str, thing: str) -> bool:
        """Tell whether a thing was deleted in every tool that knew it."""
        return bool(self.links.get((kind, thing))) and self.linked(kind, thing) is None


_NONE_MET: Mapping[str, State] = {}


def load_states(
    conn: Connection, engagements: Collection[str], *, lock: bool = False, met: Mapping[str, State] = _NONE_MET
) -> dict[str, State]:
    """Give the state of each engagement by its id. `lock` keeps other writers off them until the commit.

    `met`: engagements that this very transaction made, with all that is theirs; only what is their client's is read.
    """
    if not engagements:
        return {}
    older = [one for one in engagements if one not in met]
    states = {row["id"]: State(row) for row in rows(conn, tables.engagement, "id", older, lock=lock)}
    _spread(states, rows(conn, tables.role, "engagement", states), "roles")
    for attribute, table in (
        ("deals", tables.deal),
        ("projects", tables.project),
        ("tickets", tables.ticket),
        ("invoices", tables.invoice),
        ("charges", tables.charge),
    ):
        _spread(states, rows(conn, table, "engagement", states), attribute)
    _spread_effects(conn, states, _EFFECTS.each(conn, states), "engagement")
    lines = by(rows(conn, tables.invoice_line, "invoice", {i["id"] for s in states.values() for i in s.invoices}), "invoice")
    for state in states.values():
        state.lines = [line for one in state.invoices for line in lines.get(one["id"], [])]
    if met:
        states = {one: states.get(one) or met[one] for one in sorted({*states, *met.keys() & set(engagements)})}
    clients = {row["id"]: row for row in rows(conn, tables.client, "id", {s.engagement["client"] for s in states.values()})}
    contacts = by(rows(conn, tables.contact, "client", clients), "client")
    for state in states.values():
        state.client = clients.get(state.engagement["client"])
        state.contacts = contacts.get(state.engagement["client"], [])
    _spread_links(conn, states)
    return states


# The request of what is done was the longest that there is to read, and nobody asks for it any more.
_REQUEST = case((tables.effect.c.state != "done", tables.effect.c.body), else_=None).label("body")
_EFFECTS = Query(
    select(*(_REQUEST if column.name == "body" else column for column in tables.effect.columns)).order_by(tables.effect.c.id),
    tables.effect.c.engagement,
)


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
                if (kind, thing["id"]) not in state.links:
                    owners.setdefault(thing["id"], []).append(state)
    for one in rows(conn, tables.link, "thing", owners):
        for state in owners[one["thing"]]:
            state.links.setdefault((one["thing_kind"], one["thing"]), []).append(one)


def records(conn: Connection, table: Table, keys: Collection[tuple[str, str, str]], *, lock: bool = False) -> list[Row]:
    """Give the rows of records named by (connection, kind, record id), from the table's primary key; `lock` as in `rows`."""
    groups: dict[tuple[str, str], set[str]] = {}
    for connection, kind, record_id in keys:
        groups.setdefault((connection, kind), set()).add(record_id)
    query = _by_record.get((table.name, lock))
    if query is None:
        statement = select(table).where(table.c.connection == bindparam("one"), table.c.kind == bindparam("sort"))
        statement = statement.order_by(table.c.record_id).with_for_update() if lock else statement
        query = _by_record[table.name, lock] = Query(statement, table.c.record_id)
    return [row for (one, sort), wanted in sorted(groups.items()) for row in query.each(conn, wanted, one=one, sort=sort)]


def keyed(conn: Connection, keys: Collection[tuple[str, str]]) -> list[Row]:
    """Give the identity keys named by (kind, value), from their primary key."""
    groups: dict[str, set[str]] = {}
    for kind, value in keys:
        groups.setdefault(kind, set()).add(value)
    return [row for sort, wanted in sorted(groups.items()) for row in _KEYED.each(conn, wanted, sort=sort)]


_KEYED = Query(select(tables.identity_key).where(tables.identity_key.c.kind == bindparam("sort")), tables.identity_key.c.value)
_by_record: dict[tuple[str, bool], Query] = {}
