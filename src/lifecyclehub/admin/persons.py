"""Finding a person by what an admin knows of them, and all that tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Text, cast, or_, select

from lifecyclehub.admin.redacting import TABLES, Key, look_at
from lifecyclehub.errors import MappingError, NotThere
from lifecyclehub.mapping import Inbound
from lifecyclehub.matching import email_key
from lifecyclehub.redaction import Erased, Mark, record_mark, thing_mark, value_marks, whole_mark, words_of
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.documents import document_from_json
from lifecyclehub.store.state import rows
from lifecyclehub.store.things import Row

RecordKey = tuple[str, str, str]
_TELLING = ("email", "phone", "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as contacts, as a client of their own, and as records in tools; and the values that tell them.

    `shared`: values that stay, because somebody else is called so too.
    """

    contacts: tuple[str, ...]
    clients: tuple[str, ...]
    records: tuple[RecordKey, ...]
    emails: tuple[str, ...]
    phones: tuple[str, ...]
    names: tuple[str, ...]
    shared: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def things(self) -> tuple[str, ...]:
        """Our own names of the person."""
        return (*self.contacts, *self.clients)

    def for_a_look(self) -> Erased:
        """Give what finds the rows that tell of the person, marked with a key of no further use."""
        return Erased(1, b"only for a look", self.marks(b"only for a look"))

    def marks(self, key: bytes) -> list[Mark]:
        """Give the keyed hashes that tell the person."""
        marks = value_marks(key, emails=self.emails, phones=self.phones, names=self.names)
        marks |= {whole_mark(key, words) for words in map(words_of, self.also) if words}
        marks |= {thing_mark(key, one) for one in self.things} | {record_mark(key, *one) for one in self.records}
        return sorted(marks)


def find_person(conn: Connection, rules: Rules, who: str, also: Sequence[str] = ()) -> Person:
    """Give the person with this e-mail address, or of this contact or client. Raises NotThere."""
    contacts, clients = _things(conn, who)
    address = email_key(who)
    if not contacts and not clients and not (address and _is_mentioned(conn, address)):
        raise NotThere(
            f"nobody is called {who!r}.", mend="Name an e-mail address, a contact (con_…) or a client that is a person (cli_…)."
        )
    things = {one["id"] for one in (*contacts, *clients)}
    records = {_record(row) for row in rows(conn, tables.link, "thing", things)}
    values: dict[str, set[str]] = {name: set() for name in _TELLING}
    values["email"] |= {address} if address else set()
    for one in contacts:
        _learn(values, {"email": one["email"], "name": one["name"], **(one["fields"] or {})})
    for one in clients:
        _learn(values, {"name": one["name"], **(one["fields"] or {})})
    for row in rows(conn, tables.identity_key, "client", {one["id"] for one in clients}):
        _learn(values, {row["kind"]: row["value"]})
    records |= _unlinked(conn, rules, values["email"])
    for record in records:
        for said in _said_by(conn, rules, record):
            _learn(values, said)
    shared = _shared(conn, values, things)
    return Person(
        contacts=tuple(sorted(one["id"] for one in contacts)),
        clients=tuple(sorted(one["id"] for one in clients)),
        records=tuple(sorted(records)),
        emails=tuple(sorted(values["email"] - shared)),
        phones=tuple(sorted(values["phone"] - shared)),
        names=tuple(sorted(values["name"] - shared)),
        shared=tuple(sorted(shared)),
        also=tuple(also),
    )


def _record(row: Mapping[str, Any]) -> RecordKey:
    return (row["connection"], row["kind"], row["record_id"])


def _learn(values: dict[str, set[str]], said: Mapping[str, Any]) -> None:
    for name in _TELLING:
        value = said.get(name)
        if isinstance(value, str) and value.strip():
            values["email" if email_key(value) else name].add(email_key(value) or value.strip())


def _things(conn: Connection, who: str) -> tuple[list[Row], list[Row]]:
    """Give the contacts and the clients of kind person that are meant, each with the other where they are one."""
    address = email_key(who)
    contact, client = tables.contact, tables.client
    wanted = or_(contact.c.id == who, contact.c.email == address) if address else contact.c.id == who
    contacts = [dict(row) for row in conn.execute(select(contact).where(wanted)).mappings()]
    ids = {one["client"] for one in contacts} | {who}
    if address:
        ids |= {one["client"] for one in rows(conn, tables.identity_key, "value", {address}) if one["kind"] == "email"}
    found = [one for one in rows(conn, client, "id", ids) if one["kind"] == "person"]
    emails = {one["email"] for one in contacts} | {address}
    clients = [one for one in found if one["id"] == who or _is_one(conn, one, contacts, emails)]
    of_client = rows(conn, contact, "client", {one["id"] for one in clients} - {one["client"] for one in contacts})
    same = {one["id"]: _emails_of(conn, one) for one in clients}
    contacts += [one for one in of_client if one["email"] in same[one["client"]]]
    return contacts, clients


def _is_one(conn: Connection, client: Row, contacts: Sequence[Row], emails: Iterable[str | None]) -> bool:
    named = any(one["client"] == client["id"] and one["name"] == client["name"] for one in contacts)
    return named or not _emails_of(conn, client).isdisjoint({one for one in emails if one})


def _emails_of(conn: Connection, client: Row) -> set[str]:
    return {one["value"] for one in rows(conn, tables.identity_key, "client", {client["id"]}) if one["kind"] == "email"}


def _is_mentioned(conn: Connection, address: str) -> bool:
    """Tell whether an address is one of whom nobody knows more: who wrote a ticket, whose record is nobody's."""
    stranger, ticket = tables.stranger, tables.ticket
    if conn.execute(select(stranger.c.thing).where(stranger.c.kind == "email", stranger.c.value == address).limit(1)).first():
        return True
    told = cast(ticket.c.fields, Text).contains(address, autoescape=True)
    return conn.execute(select(ticket.c.id).where(told).limit(1)).first() is not None


def _unlinked(conn: Connection, rules: Rules, emails: set[str]) -> set[RecordKey]:
    """Give records that are nobody's and show one of these addresses as their own."""
    link, connection = tables.link, tables.connection
    found = set()
    nobodys = (
        select(link, connection.c.connector).join(connection, connection.c.id == link.c.connection).where(link.c.thing.is_(None))
    )
    for row in map(dict, conn.execute(nobodys).mappings()):
        if _people(rules, row["connector"], row["kind"]) is not None and any(
            email_key(said.get("email")) in emails for said in _said_by(conn, rules, _record(row))
        ):
            found.add(_record(row))
    return found


def _people(rules: Rules, connector: str, kind: str) -> Inbound | None:
    """Give how records of a kind are read, None where they are not of people or clients."""
    mappings = rules.mappings.get(connector)
    inbound = mappings.inbound(kind) if mappings is not None else None
    return inbound if inbound is not None and inbound.thing in ("client", "contact") else None


def _said_by(conn: Connection, rules: Rules, record: RecordKey) -> list[dict[str, Any]]:
    """Give what the record of a person or client says of them, and said before."""
    connector = conn.execute(select(tables.connection.c.connector).where(tables.connection.c.id == record[0])).scalar()
    inbound = _people(rules, connector or "", record[1])
    if inbound is None:
        return []
    table = tables.snapshot
    mine = (table.c.connection == record[0], table.c.kind == record[1], table.c.record_id == record[2])
    account = {"id": record[0], "name": "", "currency": "EUR", "timezone": "UTC"}
    said = []
    for kept in conn.execute(select(table.c.document).where(*mine)).scalars():
        try:
            values = inbound.map(document_from_json(kept), account).values
        except MappingError:
            continue
        said.append({name: values.get(f"{inbound.thing}.{name}") for name in _TELLING})
    return said


def _shared(conn: Connection, values: Mapping[str, set[str]], things: set[str]) -> set[str]:
    """Give the values by which somebody else goes too: a namesake, a teammate, a business that is called like them."""
    found = set()
    for table in (tables.contact, tables.client, tables.teammate):
        for row in conn.execute(select(table).where(table.c.id.not_in(sorted(things)))).mappings():
            email, phone = row.get("email"), (row["fields"] or {}).get("phone") if table is not tables.client else None
            found |= {one for one in (email, phone) if one in values["email"] | values["phone"]}
            theirs = words_of(row["name"] or "")
            found |= {name for name in values["name"] if _within(words_of(name), theirs)}
    return found


def _within(name: tuple[str, ...], words: tuple[str, ...]) -> bool:
    return bool(name) and any(words[at : at + len(name)] == name for at in range(len(words) - len(name) + 1))


def mentions_of(conn: Connection, person: Person) -> set[RecordKey]:
    """Give the records of others that tell of a person."""
    erased = person.for_a_look()
    found = {_record(row) for table in (tables.snapshot, tables.mirror) for row in _told(conn, table, erased)}
    # What we made with their values is a mention before it was ever looked at, as a customer with their address is.
    made = [row for row in _told(conn, tables.effect, erased) if row["creates"] and row["record_id"]]
    found |= {(row["connection"], row["creates"], row["record_id"]) for row in made}
    return found - set(person.records)


# --- all that tells of a person -----------------------------------------------------------------------------------------


def export_person(conn: Connection, person: Person) -> dict[str, Any]:
    """Give all rows that tell of a person, whole, by table: exactly those of which erasing would take something away."""
    erased = person.for_a_look()
    told: dict[str, list[Row]] = {}
    for table in TABLES:
        for row in _told(conn, table, erased):
            told.setdefault(table.name, []).append(row)
    told["role"] = rows(conn, tables.role, "contact", set(person.contacts))
    _add_whole(told, "link", [one for record in person.records for one in _linked(conn, record)])
    _add_whole(told, "contact", rows(conn, tables.contact, "id", set(person.contacts)))
    _add_whole(told, "client", rows(conn, tables.client, "id", set(person.clients)))
    who = {name: getattr(person, name) for name in ("contacts", "clients", "records", "emails", "phones", "names", "shared")}
    return {"person": who, "told": {name: [_readable(one) for one in many] for name, many in sorted(told.items()) if many}}


def _told(conn: Connection, table: Any, erased: Erased) -> Iterable[Row]:
    after: Key | None = None
    while True:
        part = look_at(conn, table, erased, after)
        yield from (one.row for one in part.found)
        if part.after is None:
            return
        after = part.after


def _add_whole(told: dict[str, list[Row]], table: str, more: Iterable[Row]) -> None:
    there = told.setdefault(table, [])
    there += [one for one in more if one not in there]


def _linked(conn: Connection, record: RecordKey) -> list[Row]:
    table = tables.link
    mine = (table.c.connection == record[0], table.c.kind == record[1], table.c.record_id == record[2])
    return [dict(row) for row in conn.execute(select(table).where(*mine)).mappings()]


def _readable(row: Row) -> Row:
    return {
        name: bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else value
        for name, value in row.items()
    }
