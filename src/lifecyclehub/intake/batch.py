"""The rows that a batch of observations reads and writes: loaded set by set, changed in memory, written at the end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from zlib import crc32

from sqlalchemy import Connection, bindparam, delete, text, update

from lifecyclehub.errors import LostRace
from lifecyclehub.insight.findings import DRIFT, UNASSIGNED
from lifecyclehub.intake.observation import Observation
from lifecyclehub.ports import Ids
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Write
from lifecyclehub.store.state import State, by, keyed, records, rows
from lifecyclehub.store.things import COLUMNS, TABLES, Row
from lifecyclehub.store.types import as_read
from lifecyclehub.store.upsert import insert_all, insert_new, put_all

RecordKey = tuple[str, str, str]

# Columns that a new row has, so that all rows of a table have the same ones (one executemany).
_EMPTY: dict[str, Row] = {
    "client": {
        "kind": None,
        "name": None,
        "standing": "lead",
        "standing_since": None,
        "currency": None,
        "terms": None,
        "parent": None,
    },
    "engagement": {"undecided": False},
    "contact": {"client": None, "name": None, "email": None},
    "teammate": {"name": None},
    "deal": {
        "engagement": None,
        "title": None,
        "purpose": "new",
        "status": None,
        "won_at": None,
        "value_minor": None,
        "value_currency": None,
    },
    "project": {"engagement": None, "deal": None, "title": None, "status": None, "closed_at": None},
    "ticket": {
        "client": None,
        "engagement": None,
        "project": None,
        "project_ref": None,
        "number": None,
        "subject": None,
        "status": None,
        "created_at": None,
    },
    "invoice": {
        "client": None,
        "engagement": None,
        "number": None,
        "status": "draft",
        "kind": "invoice",
        "total_minor": None,
        "total_currency": None,
        "paid_minor": None,
        "due_on": None,
    },
}
# Columns that the model names so that they hold money have a default when the vendor gives nothing.
_NEVER_NULL = {"client": {"standing": "lead"}, "deal": {"purpose": "new"}, "invoice": {"status": "draft", "kind": "invoice"}}
_ONE_BY_ONE: Final = text("SELECT pg_advisory_xact_lock(1768973678, one) FROM unnest(CAST(:keys AS integer[])) AS one")


class Batch:
    """All rows that some observations may touch. Ids are ours, so nothing has to be asked back from the database."""

    def __init__(self, conn: Connection, ids: Ids, now: datetime, observations: Iterable[Observation]) -> None:
        self.conn, self.ids, self.now = conn, ids, now
        everything = [one for top in observations for one in (top, *top.related)]
        keys = {one.key for one in everything}
        keys |= {(one.connection, one.kind, one.into) for one in everything if one.into}
        keys |= {(one.connection, one.kind, old) for one in everything for old in one.merged}
        self.links: dict[RecordKey, Row] = {_key(row): row for row in records(conn, tables.link, keys, lock=True)}
        self._linked = set(self.links)
        self.mirrors: dict[RecordKey, dict[str, Row]] = {}
        for row in records(conn, tables.mirror, keys):
            self.mirrors.setdefault(_key(row), {})[row["field"]] = row
        self.things: dict[tuple[str, str], Row] = {}
        for kind, linked in by((row for row in self.links.values() if row["thing_kind"]), "thing_kind").items():
            self.load(kind, (row["thing"] for row in linked))
        self.new: dict[str, list[Row]] = {}
        self._new: set[tuple[str, str]] = set()
        self._changed: set[tuple[str, str]] = set()
        self._links: set[RecordKey] = set()
        self._mirrors: dict[tuple[str, str, str, str], Row] = {}
        self.snapshots: list[Row] = []
        self.events: list[Row] = []
        self.findings: list[Row] = []
        self.identities: dict[tuple[str, str], str] = {}
        self.new_identities: dict[tuple[str, str], str] = {}
        self._strangers: list[Row] = []
        self.addresses: dict[str, str] = {}  # of teammates
        self._new_addresses: dict[str, str] = {}
        self._assignable: set[tuple[str, str]] = set()
        self.touched: set[str] = set()  # engagements to be decided on
        self.touched_clients: set[str] = set()
        self.early: set[str] = set()  # engagements that something came before

    def load_links(self, keys: Iterable[RecordKey]) -> None:
        """Read links again that were not there, or nobody's, a moment ago."""
        for row in records(self.conn, tables.link, set(keys), lock=True):
            self.links[_key(row)] = row

    # --- things -------------------------------------------------------------------------------------------------------

    def load(self, kind: str, ids: Iterable[str]) -> None:
        """Read things that are not here yet."""
        missing = {one for one in ids if one and (kind, one) not in self.things}
        for row in rows(self.conn, _table(kind), "id", missing, lock=True):
            self.things[kind, row["id"]] = row

    def thing(self, kind: str, thing: str | None) -> Row | None:
        """Give a thing that may have to be read first."""
        if thing is None:
            return None
        self.load(kind, (thing,))
        return self.things.get((kind, thing))

    def make(self, what: str, /, **columns: Any) -> Row:
        """Make a new thing; it is written with the batch."""
        row: Row = {"id": self.ids.new(_PREFIX[what]), **_EMPTY.get(what, {}), **columns}
        if what in COLUMNS:
            row.setdefault("fields", {})
        if what in ("client", "engagement"):
            row |= {"version": 1, "created_at": self.now}
        self.things[what, row["id"]] = row
        self.new.setdefault(what, []).append(row)
        self._new.add((what, row["id"]))
        return row

    def change(self, kind: str, row: Row) -> None:
        """Remember that a thing changed."""
        for column, default in _NEVER_NULL.get(kind, {}).items():
            if row[column] is None:
                row[column] = default
        if (kind, row["id"]) not in self._new:
            self._changed.add((kind, row["id"]))

    def rename(self, column: str, other: str, stays: str) -> None:
        """Let the rows in memory that name a thing in a column name another one, as those in the database do already."""
        for row in (*self.things.values(), *self.events, *(one for many in self.new.values() for one in many)):
            if row.get(column) == other:
                row[column] = stays

    def forget(self, kind: str, thing: str) -> None:
        """Do not write a thing that is none any more."""
        self.things.pop((kind, thing), None)
        self._changed.discard((kind, thing))

    # --- identity keys --------------------------------------------------------------------------------------------------

    def load_identities(self, keys: Iterable[tuple[str, str]]) -> None:
        """Read whose identity keys these are."""
        for row in keyed(self.conn, set(keys)):
            self.identities[row["kind"], row["value"]] = row["client"]

    def owner_of(self, keys: Iterable[tuple[str, str]]) -> Row | None:
        """Give the client that one of these keys belongs to. Raises LostRace when it was merged away since they were read."""
        owner = next((self.identities[key] for key in keys if key in self.identities), None)
        client = self.thing("client", owner)
        if owner is not None and client is None:
            raise LostRace("another worker merged this client into another one at the same moment")
        return client

    def claim_identities(self, keys: Iterable[tuple[str, str]], client: str) -> None:
        """Note that free keys belong to a client from now on; a key never changes hands by itself."""
        for key in keys:
            if key not in self.identities:
                self.identities[key] = self.new_identities[key] = client

    def expect(self, kind: str, thing: Row, keys: Iterable[tuple[str, str]]) -> None:
        """Note by which keys the client of a ticket or invoice will be known."""
        of = {"thing_kind": kind, "thing": thing["id"]}
        self._strangers += [{"kind": key, "value": value, **of} for key, value in keys]

    def _meet(self) -> None:
        """Let workers that write the same keys go one after the other, so that what waits for a client and the client meet."""
        waiting = {(row["kind"], row["value"]) for row in self._strangers}
        keys = sorted({crc32(f"{kind}={value}".encode()) - 2**31 for kind, value in {*waiting, *self.new_identities}})
        if not keys or self.conn.dialect.name == "sqlite":  # which has one writer
            return
        self.conn.execute(_ONE_BY_ONE, {"keys": keys})
        if any((row["kind"], row["value"]) not in self.identities for row in keyed(self.conn, waiting)):
            raise LostRace("another worker met this client at the same moment")

    def _write_identities(self) -> None:
        mine = self.new_identities
        insert_new(self.conn, tables.identity_key, [{"kind": k, "value": v, "client": c} for (k, v), c in sorted(mine.items())])
        if mine and self.conn.dialect.name != "sqlite":
            for row in keyed(self.conn, set(mine)):
                if mine.get((row["kind"], row["value"]), row["client"]) != row["client"]:
                    raise LostRace("another worker met this client at the same moment")

    # --- teammates ------------------------------------------------------------------------------------------------------

    def load_addresses(self, emails: Iterable[str]) -> None:
        """Read whose addresses these are."""
        for row in rows(self.conn, tables.teammate_email, "email", set(emails)):
            self.addresses[row["email"]] = row["teammate"]
        self.load("teammate", self.addresses.values())

    def claim_address(self, email: str, teammate: str) -> None:
        """Note that a free address is a teammate's from now on."""
        if email not in self.addresses:
            self.addresses[email] = self._new_addresses[email] = teammate

    def known_in(self, connection: str, teammate: str) -> None:
        """Note that a tool has this teammate: that they were not to be found there is no finding any more."""
        self._assignable.add((connection, teammate))

    def _write_addresses(self) -> None:
        mine = self._new_addresses
        insert_new(self.conn, tables.teammate_email, [{"email": one, "teammate": whose} for one, whose in sorted(mine.items())])
        if mine and self.conn.dialect.name != "sqlite":
            for row in rows(self.conn, tables.teammate_email, "email", set(mine)):
                if mine[row["email"]] != row["teammate"]:
                    raise LostRace("another worker met this teammate at the same moment")

    def _forget_unassigned(self) -> None:
        finding, addresses = tables.finding, tables.teammate_email
        known = by(rows(self.conn, addresses, "teammate", {whose for _, whose in self._assignable}), "teammate")
        subjects = sorted(f"{tool}/{row['email']}" for tool, whose in self._assignable for row in known.get(whose, ()))
        if subjects:
            of = (finding.c.kind == UNASSIGNED) & (finding.c.subject_kind == "teammate") & finding.c.subject.in_(subjects)
            self.conn.execute(delete(finding).where(of))

    # --- links and mirror -----------------------------------------------------------------------------------------------

    def set_link(self, key: RecordKey, **columns: Any) -> Row:
        """Make or change a link."""
        row = self.links.get(key)
        if row is None:
            empty = dict.fromkeys(
                (
                    "thing_kind",
                    "thing",
                    "address",
                    "version",
                    "changed_at",
                    "fetched_at",
                    "answered_at",
                    "deleted_at",
                    "merged_into",
                )
            )
            row = self.links[key] = {"connection": key[0], "kind": key[1], "record_id": key[2], **empty}
        row.update(columns)
        self._links.add(key)
        return row

    def look_later(self, key: RecordKey) -> None:
        """Let the next sweep look again at what was seen before it showed what we wrote."""
        if key in self.links:
            self.set_link(key, version=None, changed_at=None)

    def set_mirror(self, key: RecordKey, field: str, seen: str | None, sent: str | None) -> None:
        """Note what was last seen, and what was sent and not seen yet."""
        row = {"connection": key[0], "kind": key[1], "record_id": key[2], "field": field, "seen": seen, "sent": sent}
        self.mirrors.setdefault(key, {})[field] = row
        self._mirrors[(*key, field)] = row

    # --- the end ------------------------------------------------------------------------------------------------------

    def _write_links(self) -> None:
        """Write links; a record that another worker linked to something else meanwhile is looked at anew."""
        changed = [self.links[key] for key in sorted(self._links)]
        new = [row for row in changed if _key(row) not in self._linked]
        if new and self.conn.dialect.name != "sqlite":
            insert_new(self.conn, tables.link, new)
            mine = {_key(row): row["thing"] for row in new}
            for row in records(self.conn, tables.link, set(mine)):
                if row["thing"] != mine[_key(row)]:
                    raise LostRace("another worker met this record at the same moment")
        put_all(self.conn, tables.link, changed)

    def met(self) -> dict[str, State]:
        """Give the engagements that were made here with all that is theirs, as it would be read back once it is written."""
        made = [row for row in self.new.get("engagement", ()) if row["id"] not in self.early]
        states = {row["id"]: State(as_read(tables.engagement, row)) for row in made}
        if not states:
            return states
        of: dict[str, State] = {}
        for deal in self.new.get("deal", ()):
            state = of[deal["id"]] = states.get(deal["engagement"]) or State({})
            state.deals.append(as_read(tables.deal, deal))
        for role in self.new.get("role", ()):
            if role["engagement"] in states:
                states[role["engagement"]].roles.append(as_read(tables.role, role))
        for link in self.links.values():
            if link["thing_kind"] == "deal" and link["thing"] in of:
                of[link["thing"]].links.setdefault(("deal", link["thing"]), []).append(as_read(tables.link, link))
        return states

    def write(self) -> None:
        """Write everything, parents before children, one executemany a table."""
        self._meet()
        for kind in ("client", "engagement", "contact", "deal", "project", "ticket", "invoice"):
            insert_all(self.conn, _table(kind), self.new.get(kind, []))
            if kind == "client":
                self._write_identities()
            put_all(self.conn, _table(kind), [self.things[one] for one in sorted(self._changed) if one[0] == kind])
        insert_new(self.conn, tables.teammate, self.new.get("teammate", []))
        self._write_addresses()
        put_all(self.conn, tables.teammate, [self.things[one] for one in sorted(self._changed) if one[0] == "teammate"])
        self._forget_unassigned()
        insert_new(self.conn, tables.stranger, self._strangers)
        insert_new(self.conn, tables.role, self.new.get("role", []))
        insert_new(self.conn, tables.charge, self.new.get("charge", []))
        self._write_links()
        put_all(self.conn, tables.mirror, list(self._mirrors.values()))
        insert_all(self.conn, tables.snapshot, self.snapshots)
        insert_new(self.conn, tables.event, self.events)
        insert_new(self.conn, tables.finding, self.findings)
        again = [{"of": row["subject"], "what": row["about"], "now": row["at"]} for row in self.findings if row["kind"] == DRIFT]
        _AGAIN.run(self.conn, again)


_FINDING = tables.finding
_AGAIN = Write(  # what a person settled was the time before
    update(_FINDING)
    .where(_FINDING.c.kind == DRIFT, _FINDING.c.subject == bindparam("of"), _FINDING.c.about == bindparam("what"))
    .values(at=bindparam("now"), settled_at=None, settled_by=None, settled_why=None)
)
_PREFIX = {
    "client": "cli",
    "engagement": "eng",
    "contact": "con",
    "teammate": "tea",
    "deal": "dea",
    "project": "pro",
    "ticket": "tic",
    "invoice": "inv",
}


def _table(kind: str) -> Any:
    return tables.engagement if kind == "engagement" else TABLES[kind]


def _key(row: Row) -> RecordKey:
    return (row["connection"], row["kind"], row["record_id"])
