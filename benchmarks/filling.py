"""Fills a store with a long history: everything that some real handoffs left in it, again and again under other names.

Ids of ours get an older time, so that they sort before all that comes; ids of the tools get a number behind them.
What lies in SQLite was then written a little faster than a hub writes, and is otherwise the same.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, Table, TextClause, func, inspect, select, text

from lifecyclehub.store import tables
from lifecyclehub.store.database import open_engine

CHUNK = 50_000  # deliveries, with all that they left behind, in one transaction
_AT_ONCE = "filling_"

# Columns that name something of which each copy has its own. A table that is missing here is not copied.
OURS: dict[str, tuple[str, ...]] = {
    "client": ("id",),
    "identity_key": ("client",),
    "engagement": ("id", "client"),
    "deal": ("id", "engagement"),
    "project": ("id", "engagement", "deal"),
    "charge": ("id", "engagement", "project", "source_id"),
    "link": ("thing",),
    "mirror": (),
    "delivery": ("id",),
    "notice": ("id", "delivery", "snapshot"),
    "snapshot": ("id",),
    "event": ("id", "thing", "engagement", "client", "notice"),
    "effect": ("id", "subject", "cause", "engagement", "client", "thing"),
    "attempt": ("id", "effect"),
}
THEIRS: dict[str, tuple[str, ...]] = {
    "identity_key": ("value",),
    "link": ("record_id", "address"),
    "mirror": ("record_id",),
    "delivery": ("vendor_key", "body_hash"),
    "notice": ("key", "record_id"),
    "snapshot": ("record_id",),
    "effect": ("marker", "record_id", "address"),
}


def fill(url: str, handoffs: int) -> int:
    """Copy what is in the store until it holds so many deliveries. Gives how many there are now."""
    engine = open_engine(url)
    try:
        with engine.connect() as conn:
            _hurry(engine, conn)
            there = _count(conn)
            if not there:
                raise RuntimeError("nothing is there that could be copied")
            copies = max(-(-handoffs // there) - 1, 0)
            chosen = [table for table in tables.metadata.sorted_tables if table.name in OURS]
            for table in chosen:
                conn.execute(text(f'CREATE TEMPORARY TABLE "{_AT_ONCE}{table.name}" AS SELECT * FROM "{table.name}"'))
            conn.commit()
            at_once = max(CHUNK // there, 1)
            for start in range(1, copies + 1, at_once):
                for table in chosen:
                    conn.execute(_copying(conn, table), {"first": start, "last": min(start + at_once - 1, copies)})
                conn.commit()
            return _count(conn)
    finally:
        engine.dispose()


def _count(conn: Connection) -> int:
    return int(conn.scalar(select(func.count(tables.delivery.c.id))) or 0)


def unfinished(url: str) -> list[str]:
    """Say what is still to be done: it would be done for every copy of it, while the filled store is measured."""
    open_ones = {
        "deliveries": tables.delivery.c.state == "open",
        "notices": tables.notice.c.state == "open",
        "effects": tables.effect.c.state != "done",
        "engagements": tables.engagement.c.undecided,
    }
    engine = open_engine(url)
    try:
        with engine.connect() as conn:
            counts = {what: conn.scalar(select(func.count()).where(still_open)) for what, still_open in open_ones.items()}
    finally:
        engine.dispose()
    return [f"{count} {what}" for what, count in counts.items() if count]


def _hurry(engine: Engine, conn: Connection) -> None:
    """What is lost by a crash here is made again."""
    raw = conn.connection.dbapi_connection
    if engine.dialect.name == "sqlite" and raw is not None:
        for pragma in ("synchronous=OFF", "foreign_keys=OFF", "cache_size=-400000", "wal_autocheckpoint=20000"):
            raw.cursor().execute(f"PRAGMA {pragma}")


def _copying(conn: Connection, table: Table) -> TextClause:
    names = [f'"{column["name"]}"' for column in inspect(conn).get_columns(table.name)]
    sqlite = conn.dialect.name == "sqlite"
    numbers = (
        "WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last) "
        if sqlite
        else "WITH numbers(n) AS (SELECT generate_series(CAST(:first AS INTEGER), CAST(:last AS INTEGER))) "
    )
    number = "printf('%08d', n)" if sqlite else "lpad(n::text, 8, '0')"
    values = ", ".join(_copied(table, name, number) for name in names)
    into = f'"{table.name}" ({", ".join(names)})'
    return text(f'{numbers}INSERT INTO {into} SELECT {values} FROM numbers, "{_AT_ONCE}{table.name}"')


def _copied(table: Table, quoted: str, number: str) -> str:
    name = quoted.strip('"')
    if name in OURS[table.name]:
        return _older(quoted, number)
    if (table.name, name) == ("effect", "key"):  # it names its subject; deciding anew finds it by that name
        return "replace({}, {}, {})".format(quoted, '"subject"', _older('"subject"', number))
    return f"{quoted} || '-' || {number}" if name in THEIRS.get(table.name, ()) else quoted


def _older(quoted: str, number: str) -> str:
    return f"substr({quoted}, 1, 4) || '0' || {number} || substr({quoted}, 14)"  # dea_ + nine characters of time + the rest
