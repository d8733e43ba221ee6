"""Backups, and what a restore must not forget: whatever happened since the backup happened all the same."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, func, make_url, select, update

from lifecyclehub.admin.presence import Locks
from lifecyclehub.admin.stored import changed
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.insight.clocks import IMPORT
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import BESIDE, keep_private

_PAGES: Final = 1_000  # at a time, so that the hub can write in between
_effect, _cursor = tables.effect, tables.cursor
_NEWEST: Final = (tables.delivery.c.received_at, tables.attempt.c.at, tables.installation.c.created_at)


def back_up(settings: Settings, file: Path) -> int:
    """Copy an embedded database into a new file that only its owner can read. Gives its size. Raises ConfigurationError."""
    source = _embedded(settings, "pg_dump copies that one while the hub runs")
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise ConfigurationError("this file exists already.", where=str(file), mend="Name a new one.") from None
    with closing(_read_only(source)) as live, closing(sqlite3.connect(file)) as copy:
        live.backup(copy, pages=_PAGES)
    return file.stat().st_size


def put_back(settings: Settings, file: Path) -> None:
    """Put a backup in the place of an embedded database. What stood there is kept beside it. Raises ConfigurationError."""
    place = _embedded(settings, "restore it with its own tools, then run `lifecyclehub restore` without a file")
    if not file.is_file():
        raise ConfigurationError("there is no such file.", where=str(file), mend="Name what `lifecyclehub backup` made.")
    if not _is_whole(file):
        raise ConfigurationError("this is no whole backup.", where=str(file), mend="Take another one; nothing was changed.")
    locks = Locks(settings)
    locks.take()
    try:
        aside = place.with_name(f"{place.name}.before-restore")
        if place.exists():
            with closing(sqlite3.connect(place)) as old:
                old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            place.replace(aside)
        for rest in BESIDE:
            place.with_name(place.name + rest).unlink(missing_ok=True)
        keep_private(settings.database)
        with closing(_read_only(file)) as backup, closing(sqlite3.connect(place)) as new:
            backup.backup(new)
    finally:
        locks.leave()


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode=ro", uri=True)


def _is_whole(file: Path) -> bool:
    try:
        with closing(_read_only(file)) as backup:
            found = backup.execute("SELECT count(*) FROM sqlite_master WHERE name = 'installation'").fetchone()
            return bool(backup.execute("PRAGMA quick_check(1)").fetchone() == ("ok",) and found == (1,))
    except sqlite3.DatabaseError:
        return False


def _embedded(settings: Settings, instead: str) -> Path:
    url = make_url(settings.database)
    if not url.drivername.startswith("sqlite") or not url.database:
        raise ConfigurationError(f"the database is a server's: {instead}.", where="LIFECYCLEHUB_DATABASE")
    return Path(url.database)


def newest_fact(conn: Connection) -> datetime:
    """Give the newest moment that the store knows of: what happened later is forgotten."""
    found = [conn.execute(select(func.max(column, type_=column.type))).scalar() for column in _NEWEST]
    return max((one for one in found if one is not None), default=datetime.fromtimestamp(0, UTC))


def mark_restored(conn: Connection, made_at: datetime, now: datetime) -> int:
    """Note that the store is as of `made_at`: what was not done then may have been done since. Gives how many effects.

    Nobody holds anything any more, and every tool is looked at again before anything is written to it.
    """
    open_ones = tables.OPEN_EFFECT
    unsure = func.coalesce(_effect.c.unsure_since, made_at, type_=_effect.c.unsure_since.type)
    count = conn.execute(update(_effect).where(open_ones).values(unsure_since=unsure)).rowcount
    conn.execute(delete(tables.lease))
    conn.execute(delete(tables.breaker))
    conn.execute(update(tables.delivery).where(tables.OPEN_DELIVERY).values(holder=None))
    conn.execute(update(tables.notice).where(tables.OPEN_NOTICE).values(holder=None))
    conn.execute(update(_cursor).values(not_before=None, holder=None, held_until=None))
    # An import goes on from where it was: nobody would begin it again.
    conn.execute(update(_cursor).where(_cursor.c.way != IMPORT).values(began_at=None, swept_at=None))
    values = {"restored_from": made_at, "restored_at": now, "looked_back_at": None}
    conn.execute(update(tables.installation).values(**values))
    changed(conn)
    return count
