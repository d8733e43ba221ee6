"""Erasing a person: what stands in its way and what stays is said first; then every table is gone through.

From the first commit on the person's records are ignored and their values taken out of whatever comes. What was there before
goes a few rows a commit; cut off anywhere, it goes on where it was, because the marks that are left find the rest.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, Table, select, update

from lifecyclehub.admin.effects import Answer, AnswerEffects, Aside, ParkEffects
from lifecyclehub.admin.persons import Person, RecordKey, find_person, mentions_of
from lifecyclehub.admin.redacting import TABLES, Found, Key, look_at, write
from lifecyclehub.admin.stored import changed
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.ports import base32
from lifecyclehub.redaction import Erased, mention_mark
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.state import rows
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all, insert_new
from lifecyclehub.store.writer import StoreBusy, StoreClosed, as_operation
from lifecyclehub.vault.erased import key_of, sealed_key, told_anew

if TYPE_CHECKING:
    from lifecyclehub.hub import Hub

_WAITING: Final = ("planned", "held", "ready", "parked")
_UNSURE: Final = ("in flight", "in doubt")
_LATE: Final = timedelta(days=1)  # a hub notices within seconds, but its clock may be put back meanwhile
_OF_PEOPLE: Final = ("contact.", "billing.")
_NEW: Final = {"delivery": "dlv", "notice": "ntc", "snapshot": "snp", "attempt": "att", "event": "evt", "finding": "fin"}
_erasure, _effect = tables.erasure, tables.effect


@dataclass(frozen=True, slots=True, kw_only=True)
class InTheWay:
    """An effect that still needs the person. `state` tells whether it can be cancelled."""

    effect: str
    state: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What erasing would mean. `erased`: rows by table of which something goes; `kept`: facts that stay, without the person."""

    person: Person
    erased: dict[str, int]
    kept: dict[str, int]
    in_the_way: tuple[InTheWay, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasing:
    """What an erasure came to. `rows`: of how many something was taken."""

    erasure: str
    rows: int
    cancelled: tuple[str, ...]


# --- before -------------------------------------------------------------------------------------------------------------


async def foresee_erasure(hub: Hub, who: str, also: Sequence[str] = ()) -> Foreseen:
    """Say what would go, what would stay, and what is in the way. Raises NotThere."""
    person = await hub.store.read(find_person, hub.rules, who, also)
    return await hub.store.read(_foreseen, person, hub.rules)


def _foreseen(conn: Connection, person: Person, rules: Rules) -> Foreseen:
    erased = person.for_a_look()
    counts: Counter[str] = Counter()
    for table in TABLES:
        after: Key | None = None
        while True:
            part = look_at(conn, table, erased, after)
            counts[table.name] += len(part.found)
            after = part.after
            if after is None:
                break
    return Foreseen(
        person=person,
        erased={name: count for name, count in sorted(counts.items()) if count},
        kept=_kept(conn, person),
        in_the_way=tuple(in_the_way(conn, person, rules)),
    )


def _kept(conn: Connection, person: Person) -> dict[str, int]:
    engagements = _engagements(conn, person)
    kept = {"engagements": len(engagements), "links": len(person.records)}
    for name, table in (("deals", tables.deal), ("charges", tables.charge)):
        kept[name] = len(rows(conn, table, "engagement", engagements))
    invoices = {one["id"] for one in rows(conn, tables.invoice, "engagement", engagements)}
    kept["invoices"] = len(invoices | {one["id"] for one in rows(conn, tables.invoice, "client", set(person.clients))})
    return {name: count for name, count in kept.items() if count}


def _engagements(conn: Connection, person: Person) -> set[str]:
    of_client = {one["id"] for one in rows(conn, tables.engagement, "client", set(person.clients))}
    return of_client | {
        one["engagement"] for one in rows(conn, tables.role, "contact", set(person.contacts)) if one["engagement"]
    }


def in_the_way(conn: Connection, person: Person, rules: Rules) -> list[InTheWay]:
    """Give the effects that are not over and need what would be erased: rendered with it already, or still to be."""
    erased, engagements = person.for_a_look(), _engagements(conn, person)
    asks = _asking(rules)
    found = []
    for row in conn.execute(select(_effect).where(_effect.c.state.in_((*_WAITING, *_UNSURE))).order_by(_effect.c.id)).mappings():
        said = [row["input"], row["body"]]
        needs = row["client"] in person.clients or (row["engagement"] in engagements and (row["handoff"], row["name"]) in asks)
        if needs or erased.value(said) != said:
            found.append(InTheWay(effect=row["id"], state=row["state"], action=row["action"]))
    return found


def _asking(rules: Rules) -> set[tuple[str, str]]:
    """Name the effects whose values are taken from people."""
    return {
        (handoff.id, effect.name)
        for handoff in rules.handoffs.handoffs
        for effect in handoff.effects
        for entry in effect.entries
        if any(one in entry.text for one in _OF_PEOPLE)
    }


def refuse_in_the_way(found: Sequence[InTheWay], *, cancel: bool) -> None:
    """Raise ConfigurationError while an effect needs the person: never for one that is done."""
    unsure = [one.effect for one in found if one.state in _UNSURE]
    if unsure:
        raise ConfigurationError(
            f"of {len(unsure)} effects about them it is not known yet what came of them: {', '.join(unsure[:3])}.",
            mend="Wait until the hub has found out, or `lifecyclehub park` them and say it with `lifecyclehub unpark`.",
        )
    waiting = [one.effect for one in found if one.state in _WAITING]
    if waiting and not cancel:
        raise ConfigurationError(
            f"{len(waiting)} effects about them wait to be done: {', '.join(waiting[:3])}.",
            mend="Let them be done, or add --cancel: they are then cancelled for good.",
        )


# --- erasing ------------------------------------------------------------------------------------------------------------


async def erase_person(hub: Hub, person: Person, who: str, *, cancel: bool = False) -> Erasing:
    """Erase a person. `cancel`: also cancel for good what waits to be done about them. Raises ConfigurationError.

    Once it began it ends, also when this is cut off: the hub goes on with it when it starts, or whoever erases next.
    """
    found = await hub.store.read(in_the_way, person, hub.rules)
    refuse_in_the_way(found, cancel=cancel)
    cancelled = [one.effect for one in found]
    if cancelled:
        await _cancel(hub, cancelled, {one.effect for one in found if one.state == "parked"}, who)
    erasure = hub.ids.new("era")
    mentions = await hub.store.read(mentions_of, person)
    await hub.store.run(_beginning, _Begin(hub, person, frozenset(mentions), erasure, who, hub.clock.now()))
    count = await finish_erasures(hub)
    return Erasing(erasure=erasure, rows=count, cancelled=tuple(cancelled))


async def _cancel(hub: Hub, cancelled: Sequence[str], parked: set[str], who: str) -> None:
    aside = [Aside(effect=one, who=who, why="the person is erased") for one in cancelled if one not in parked]
    await hub.store.run_all(ParkEffects(hub.clock), aside)
    words = [Answer(effect=one, verdict="cancel", who=who) for one in cancelled]
    await hub.store.run_all(AnswerEffects(hub.rules, hub.ids, hub.clock, hub.randomness), words)


@dataclass(frozen=True, slots=True)
class _Begin:
    """A person to be erased, by whom and when."""

    hub: Hub
    person: Person
    mentions: frozenset[RecordKey]
    erasure: str
    who: str
    now: datetime


def begin_erasure(conn: Connection, item: _Begin) -> None:
    """Leave marks, and forget what is rendered from: from now on nothing of the person is taken in, nor sent anywhere."""
    left = in_the_way(conn, item.person, item.hub.rules)
    refuse_in_the_way(left, cancel=False)
    vault, person = item.hub.vault, item.person
    key = key_of(conn, vault)
    if key is None:
        key = item.hub.randomness.bytes(32)
        insert_all(conn, tables.secret, [sealed_key(vault, item.hub.installation["id"], key, item.now)])
    insert_new(conn, _erasure, [{"id": item.erasure, "who": item.who, "at": item.now, "redacted": 0}])
    marks = [*person.marks(key), *(mention_mark(key, *one) for one in sorted(item.mentions))]
    left_of = [{"mark": one.mark, "kind": one.sort, "words": one.words, "erasure": item.erasure} for one in marks]
    insert_new(conn, tables.tombstone, left_of)
    contact, client = tables.contact, tables.client
    conn.execute(update(contact).where(contact.c.id.in_(person.contacts)).values(name=None, email=None, fields={}))
    conn.execute(update(client).where(client.c.id.in_(person.clients)).values(name=None, fields={}))
    told_anew(conn)
    changed(conn)


_beginning = as_operation(begin_erasure)


@dataclass(frozen=True, slots=True)
class _Went:
    """What was found in some rows, and where the erasures under way go on."""

    erasures: tuple[str, ...]
    erased: Erased
    found: tuple[Found, ...]
    place: str | None
    after: Key | None
    done_at: datetime | None = None


def take_out(conn: Connection, items: Sequence[_Went]) -> list[int]:
    """Write what was found in some rows, and where to go on. Gives how many rows were changed."""
    return [_went(conn, item) for item in items]


def _went(conn: Connection, item: _Went) -> int:
    count = write(conn, item.found, item.erased)
    values: Row = {"place": item.place, "after": item.after and list(item.after), "redacted": _erasure.c.redacted + count}
    mine = _erasure.c.id.in_(item.erasures)
    conn.execute(update(_erasure).where(mine).values(**values, done_at=item.done_at))
    return count


async def finish_erasures(hub: Hub) -> int:
    """Go through all tables for every erasure that is not over, from where it was. Gives how many rows were changed."""
    open_ones = await hub.store.read(_unfinished)
    if not open_ones:
        return 0
    erased = await hub.store.read(hub.tools.people.look)
    ids = tuple(one["id"] for one in open_ones)
    begun = open_ones[0] if len(open_ones) == 1 else {"place": None, "after": None}
    names = [table.name for table in TABLES]
    first = names.index(begun["place"]) if begun["place"] in names else 0
    count = 0
    for table in TABLES[first:]:
        after = tuple(begun["after"]) if table.name == begun["place"] and begun["after"] else None
        count += await _through(hub, table, erased, after, ids)
    count += await catch_up(hub)
    await hub.store.run(take_out, _Went(ids, erased, (), None, None, hub.clock.now()))
    return count


def _unfinished(conn: Connection) -> list[Row]:
    statement = select(_erasure).where(_erasure.c.done_at.is_(None)).order_by(_erasure.c.id)
    return [dict(row) for row in conn.execute(statement).mappings()]


async def _through(hub: Hub, table: Table, erased: Erased, after: Key | None, ids: tuple[str, ...]) -> int:
    count = 0
    while True:
        part = await hub.store.read(look_at, table, erased, after)
        after = part.after
        if part.found:
            count += await hub.store.run(take_out, _Went(ids, erased, part.found, table.name, after))
        if after is None:
            return count


class Erasures:
    """What a running hub does about erasures: it knows them, and goes on with what was cut off."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._noticed = 0  # settling may know sooner; what was kept before that is looked at only from here
        self._going = False
        self._behind = False  # what this process kept before it knew is still to be looked at

    async def take_up(self) -> None:
        """At a start: know who was erased before anything is taken in, and go on with what is not over."""
        if self._hub.installation["erasures"]:
            await self.notice()

    async def notice(self) -> None:
        """Know who was erased by another process, and look again at what this one kept before it knew."""
        hub = self._hub
        if hub.installation["erasures"] != self._noticed:
            self._noticed = (await hub.store.read(hub.tools.people.look)).version
            self._behind = True
            await self.go_on()

    async def go_on(self) -> None:
        """Go on with what another process left, or a busy store kept this one from."""
        if self._hub.tools.people.known and not self._going:
            self._going = True
            self._hub.intake.flow.start(self._finish(), self._left)

    def _left(self) -> None:
        self._going = False

    async def _finish(self) -> None:
        try:
            with contextlib.suppress(StoreBusy, StoreClosed):
                await finish_erasures(self._hub)
                while self._behind:
                    self._behind = False
                    await self._catch_up()
        finally:
            self._left()

    async def _catch_up(self) -> None:
        try:
            await catch_up(self._hub)
        except BaseException:
            self._behind = True
            raise


async def catch_up(hub: Hub) -> int:
    """Look once more at what came since: a hub that had not noticed yet may have kept it as it was."""
    erased = await hub.store.read(hub.tools.people.look)
    since = await hub.store.read(_last_began)
    if since is None:
        return 0
    begin = base32(max(int((since - _LATE).timestamp() * 1000), 0), 9)
    count = 0
    for table in TABLES:
        if table.name in _NEW:
            count += await _through(hub, table, erased, (f"{_NEW[table.name]}_{begin}",), ())
    return count


def _last_began(conn: Connection) -> datetime | None:
    """Give when the oldest erasure began that is not over, else the newest: not everybody may have noticed it."""
    begun = select(_erasure.c.at).limit(1)
    oldest = conn.execute(begun.where(_erasure.c.done_at.is_(None)).order_by(_erasure.c.id)).scalar()
    return oldest or conn.execute(begun.order_by(_erasure.c.id.desc())).scalar()


# --- the file -----------------------------------------------------------------------------------------------------------


def rewrite_file(engine: Engine) -> bool | None:
    """Write an embedded database anew, without what its freed pages and its log still hold. None for a server's.

    False where others keep it busy, or there is no room: what was erased may then still be read from the bytes of the file.
    """
    if engine.dialect.name != "sqlite":
        return None
    with engine.connect().execution_options(write=False) as conn:
        raw: Any = conn.connection.dbapi_connection
        try:
            raw.execute("VACUUM")
            busy = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            return False
    return not busy
