"""The doctor: checks on a live store that everything is as it must be, and says what is not, where, and how to mend it.

Each check is one question whose answers are faults. It writes nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, make_url, select, text
from sqlalchemy.exc import DatabaseError, OperationalError

from lifecyclehub.admin.hosts import host_fingerprint, is_confirmed
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.intake.split import IGNORED
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import check_schema
from lifecyclehub.store.leases import database_time
from lifecyclehub.store.things import TABLES
from lifecyclehub.vault import Vault

SHOWN: Final = 20  # of one kind: what is wrong with thousands is wrong for one reason
OFFSET_S: Final = 5.0
LATE: Final = timedelta(minutes=2)
ROOM: Final = 100 * 1024 * 1024
_RESTORE: Final = "Stop the hub and put the last backup back: lifecyclehub restore. It keeps what stood there beside it."


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is not as it must be: which check found it, what is wrong, where, and how to mend it."""

    check: str
    what: str
    where: str
    mend: str


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    question: str  # gives (where, detail)
    what: str
    mend: str


def _listed(words: Sequence[str]) -> str:
    return ", ".join(f"'{one}'" for one in words)


_EFFECT_STATES = ("planned", "held", "ready", "in flight", "in doubt", "done", "cancelled", "parked")
_CHECKS: Final = (
    _Check(
        "effect states",
        f"SELECT id, state FROM effect WHERE state NOT IN ({_listed(_EFFECT_STATES)})",  # noqa: S608 (our own words)
        "the effect is in the state {detail!r}, which there is not",
        "The database was edited by hand: restore a backup, or set the state that the attempts of the effect prove.",
    ),
    _Check(
        "effect keys",
        "SELECT min(id), handoff || ' / ' || name || ' / ' || subject || ' / ' || item || ' / ' || round FROM effect"
        " GROUP BY handoff, name, subject_kind, subject, item, round HAVING count(*) > 1",
        "there are several effects for {detail}",
        "Something would be done twice. Cancel all but the one that was done; their attempts tell which that is.",
    ),
    _Check(
        "receipts",
        "SELECT e.id, e.name FROM effect e WHERE e.state = 'done' AND (e.reason IS NULL OR e.reason != 'nothing to bill')"
        " AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.effect = e.id)",
        "the effect {detail} is done, and no receipt says what came of it",
        "The database was edited, or restored in parts. Look in the tool whether it was done.",
    ),
    _Check(
        "links of what was made",
        "SELECT e.id, e.creates || ' ' || e.record_id FROM effect e WHERE e.state = 'done' AND e.creates IS NOT NULL"
        " AND e.record_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM link l WHERE l.connection = e.connection"
        " AND l.kind = e.creates AND l.record_id = e.record_id)",
        "the effect made {detail}, and no link leads there",
        "Its next change would be taken for a stranger's. Restore the link from a backup.",
    ),
    _Check(
        "claims",
        "SELECT id, coalesce(holder, 'nobody') FROM effect WHERE state = 'in flight' AND handle IS NULL AND deadline < :late",
        "the effect was claimed by {detail}, its time is over, and nobody has put it in doubt",
        "A running hub does that within seconds. Start one: lifecyclehub serve",
    ),
    _Check(
        "abandoned work",
        "SELECT id, holder FROM delivery WHERE state IN ('open') AND holder IS NOT NULL AND received_at < :late"
        " AND holder NOT IN (SELECT name FROM lease WHERE until > :now)",
        "the delivery is in the hands of {detail}, which does not live",
        "A running hub takes it over within half a minute. Start one: lifecyclehub serve",
    ),
    _Check(
        "notice states",
        "SELECT id, state FROM notice WHERE state NOT IN ('open', 'held', 'processed', 'ignored', 'parked')",
        "the notice is in the state {detail!r}, which there is not",
        "The database was edited by hand. Replay it: lifecyclehub replay",
    ),
    _Check(
        "ignored notices",
        "SELECT id, coalesce(reason, 'no reason') FROM notice WHERE state = 'ignored' AND (reason IS NULL"  # noqa: S608
        f" OR reason NOT IN ({_listed(sorted(IGNORED))}))",
        "the notice is ignored for {detail!r}, which is no reason to ignore one",
        "Replay it: lifecyclehub replay",
    ),
    _Check(
        "delivery states",
        "SELECT id, state FROM delivery WHERE state NOT IN ('open', 'held', 'split', 'parked')",
        "the delivery is in the state {detail!r}, which there is not",
        "The database was edited by hand. Replay it: lifecyclehub replay",
    ),
    _Check(
        "erasures",
        "SELECT id, who FROM erasure WHERE done_at IS NULL AND at < :late",
        "the erasure that {detail} began is not over: the person is still told of",
        "Go on with it: lifecyclehub erase",
    ),
    _Check(
        "charges",
        "SELECT charge, count(*) FROM invoice_line WHERE live AND charge IS NOT NULL GROUP BY charge HAVING count(*) > 1",
        "the charge stands on {detail} invoices that are not void",
        "The client would pay twice. Void all but one in the invoicing tool.",
    ),
    _Check(
        "mirrors",
        "SELECT DISTINCT m.connection || ' ' || m.kind || ' ' || m.record_id, m.field FROM mirror m WHERE NOT EXISTS"
        " (SELECT 1 FROM link l WHERE l.connection = m.connection AND l.kind = m.kind AND l.record_id = m.record_id)",
        "it is on record what {detail} was seen as, of a record that is not known",
        "The link was removed by hand. Replay a notice of that record, which makes it again.",
    ),
    *(
        _Check(
            "links",
            f"SELECT l.connection || ' ' || l.kind || ' ' || l.record_id, l.thing FROM link l WHERE"  # noqa: S608 (our own)
            f" l.thing_kind = '{kind}'"
            f' AND l.thing IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "{table.name}" t WHERE t.id = l.thing)',
            f"the record is linked to the {kind} {{detail}}, which there is not",
            "The database was edited, or restored in parts. Restore a whole backup.",
        )
        for kind, table in TABLES.items()
    ),
)


def examine(engine: Engine, settings: Settings, now: datetime) -> list[Wrong]:
    """Check everything; give what is wrong. Raises nothing for what is wrong with the installation itself."""
    found: list[Wrong] = []
    try:
        check_schema(engine)
        with engine.connect().execution_options(write=False) as conn, conn.begin():
            for some in (_durability(conn), _time(conn, now), _database(conn), *(_ask(conn, check, now) for check in _CHECKS)):
                found += some
            found += [*_secrets(conn, settings), *_host(conn, settings)]
    except ConfigurationError as error:
        return [Wrong("schema", error.what, settings.home.name, error.mend or "")]
    except DatabaseError as error:
        if engine.dialect.name != "sqlite" or isinstance(error, OperationalError):  # it is not there, busy, or has no room
            raise
        found.append(Wrong("database file", f"it cannot be read: {error.orig}.", "SQLite", _RESTORE))
    return [*found, *_readers(settings), *_room(settings)]


def _ask(conn: Connection, check: _Check, now: datetime) -> Iterator[Wrong]:
    moment = database_time(conn, now)
    values = {name: _micros(at) for name, at in (("now", moment), ("late", moment - LATE)) if f":{name}" in check.question}
    for where, detail in conn.execute(text(f"{check.question} LIMIT {SHOWN}"), values):
        yield Wrong(check.name, f"{check.what.format(detail=detail)}.", str(where), check.mend.replace("{id}", str(where)))


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


# --- the database and what surrounds it ---------------------------------------------------------------------------------


def _durability(conn: Connection) -> Iterator[Wrong]:
    """What was answered must survive a power cut."""
    if conn.dialect.name == "sqlite":
        for name, wanted, word in (("synchronous", 2, "FULL"), ("journal_mode", "wal", "WAL")):
            if (is_ := conn.exec_driver_sql(f"PRAGMA {name}").scalar()) != wanted:
                yield Wrong("durability", f"{name} is {is_!r}, not {word}.", "SQLite", "The hub sets it itself; upgrade it.")
        return
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if (is_ := conn.exec_driver_sql(f"SHOW {name}").scalar()) == "off":
            mend = f"Run: ALTER SYSTEM SET {name} = on; then SELECT pg_reload_conf();"
            yield Wrong("durability", f"{name} is {is_}: a power cut may lose what was answered.", "PostgreSQL", mend)


def _time(conn: Connection, now: datetime) -> Iterator[Wrong]:
    offset = (database_time(conn, now) - now).total_seconds()
    if abs(offset) > OFFSET_S:
        mend = "Let both machines keep their time (chrony, systemd-timesyncd): absence in a tool is judged by it."
        yield Wrong("clocks", f"the database's clock differs from this machine's by {offset:.0f} s.", "clock", mend)


def _database(conn: Connection) -> Iterator[Wrong]:
    if conn.dialect.name != "sqlite":
        return
    said = [row[0] for row in conn.exec_driver_sql("PRAGMA quick_check(5)")]
    for one in said if said != ["ok"] else ():
        yield Wrong("database file", f"the file is damaged: {one}.", "SQLite", _RESTORE)
    for table, row, parent, _ in conn.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(SHOWN):
        yield Wrong("references", f"a row of {table} refers to a row of {parent} that there is not.", f"{table} {row}", _RESTORE)


def _secrets(conn: Connection, settings: Settings) -> Iterator[Wrong]:
    try:
        vault = Vault.open(settings.home, settings.env)
    except ConfigurationError as error:
        yield Wrong("key", error.what, error.where or "key", error.mend or "")
        return
    for row in conn.execute(select(tables.secret)).mappings():
        try:
            vault.unseal("secret", row["id"], row["field"], row["sealed"])
        except ConfigurationError as error:
            yield Wrong("secrets", error.what, f"{row['owner_kind']} {row['owner']}", error.mend or "")


def _host(conn: Connection, settings: Settings) -> Iterator[Wrong]:
    if not is_confirmed(conn, host_fingerprint(settings)):
        mend = "If no other hub works for this business any more, or this one shall work beside it: lifecyclehub confirm"
        yield Wrong("home", "this home is a copy that nobody confirmed: it sends nothing.", str(settings.home), mend)


def _readers(settings: Settings) -> Iterator[Wrong]:
    file = make_url(settings.database).database
    if settings.database.startswith("sqlite") and file and (mode := Path(file).stat().st_mode) & 0o077:
        mend = f"Run: lifecyclehub init, or chmod 600 {file}"
        yield Wrong("database file", f"others on this machine may read it (mode {mode & 0o777:o}).", file, mend)


def _room(settings: Settings) -> Iterator[Wrong]:
    file = make_url(settings.database).database
    place = Path(file).parent if settings.database.startswith("sqlite") and file else settings.home
    free = shutil.disk_usage(place).free
    if free < ROOM:
        mend = "Make room: while the disk is full, deliveries are refused with 503, and vendors give up in the end."
        yield Wrong("room", f"only {free // (1024 * 1024)} MB are left on the disk.", str(place), mend)
