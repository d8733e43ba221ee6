"""Backups, and what a restore must not forget: whatever happened since the backup happened all the same."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, func, literal, make_url, select, text, update

from lifecyclehub.admin.presence import Locks
from lifecyclehub.admin.stored import changed
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.insight.clocks import IMPORT
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import BESIDE, SQLITE, check_schema, keep_private, open_engine
from lifecyclehub.vault.erased import SECRET, told_anew

_effect, _cursor = tables.effect, tables.cursor
_TICK = timedelta(microseconds=1)
_NEWEST: Final = (tables.delivery.c.received_at, tables.attempt.c.at, tables.installation.c.created_at)


@dataclass(frozen=True, slots=True)
class PutBack:
    """What a restore came to: as of when the store is, how many effects were open then, and where the old one is kept.

    `erased`: how many were erased since the backup, and will be again; None where what stood there could not be asked.
    """

    made_at: datetime
    open: int
    aside: Path | None
    erased: int | None = None


def back_up(settings: Settings, file: Path, progress: Callable[[], None] | None = None) -> int:
    """Copy an embedded database into a new file that only its owner can read. Gives its size. Raises ConfigurationError.

    It is as of one moment, and hubs go on writing meanwhile. What is not a whole backup in the end is not left there.
    """
    source = _embedded(settings, "pg_dump copies that one while the hub runs")
    with _new_file(file):
        with closing(_read_only(source)) as live, closing(sqlite3.connect(file)) as copy:
            # In one step: it reads one snapshot, which stands in no writer's way. In several, every commit of a hub would
            # begin the copy again, and it would never end.
            live.backup(copy, pages=-1, progress=None if progress is None else lambda *_: progress())
            copy.execute("PRAGMA journal_mode=DELETE")  # one plain file, which can be read where nothing may be written
        _sync(file)
        if not _is_whole(file):
            mend = "Run `lifecyclehub doctor`, keep what there is, and restore the last backup that is sound."
            raise ConfigurationError("the database is damaged, and so would be its copy.", where=str(source), mend=mend)
    return file.stat().st_size


@contextmanager
def _new_file(file: Path) -> Iterator[None]:
    """Make a file that nobody else can read, and remove it again when it does not become what it should."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise ConfigurationError("this file exists already.", where=str(file), mend="Name a new one.") from None
    try:
        yield
    except BaseException as error:
        for name in (file, *_beside(file)):
            name.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            mend = "See that there is room, and that the database is sound: lifecyclehub doctor."
            raise ConfigurationError(f"the copy could not be made: {error}.", where=str(file), mend=mend) from error
        raise


def put_back(settings: Settings, file: Path, now: datetime, made_at: datetime | None = None) -> PutBack:
    """Put a backup in the place of an embedded database, noted as restored. What stood there is kept beside it.

    The store in place is whole at every moment: the old one, none, or the new one that is noted already, so that no hub
    can take it for its own past. Raises ConfigurationError; nothing is changed then.
    """
    place = _embedded(settings, "restore it with its own tools, then run `lifecyclehub restore` without a file")
    if not file.is_file():
        raise ConfigurationError("there is no such file.", where=str(file), mend="Name what `lifecyclehub backup` made.")
    if not _is_whole(file):
        raise ConfigurationError("this is no whole backup.", where=str(file), mend="Take another one; nothing was changed.")
    locks = Locks(settings)
    locks.take()
    try:
        coming = place.with_name(f"{place.name}.restoring")
        for rest in (coming, *_beside(coming)):  # of a restore that was cut off
            rest.unlink(missing_ok=True)
        with _new_file(coming):
            with closing(_read_only(file)) as backup, closing(sqlite3.connect(coming)) as copy:
                backup.backup(copy)
            made_at, open_ones, erased = _noted(coming, place, file, made_at, now)
            _sync(coming)
            aside = _set_aside(place)
            coming.replace(place)
        _sync(place.parent)
        keep_private(settings.database)
        return PutBack(made_at, open_ones, aside, erased)
    finally:
        locks.leave()


def _noted(coming: Path, place: Path, file: Path, made_at: datetime | None, now: datetime) -> tuple[datetime, int, int | None]:
    engine = open_engine(f"{SQLITE}:///{coming}")
    try:
        check_schema(engine)
        with engine.begin() as conn:
            return *mark_restored(conn, made_at, now), erase_again(conn, place)
    except ConfigurationError as error:
        mend = "Put it back with the version of lifecyclehub that made it, then upgrade; nothing was changed."
        raise ConfigurationError(error.what, where=str(file), mend=mend) from error
    finally:
        engine.dispose()  # the last connection writes all into the file, and removes what stands beside it


def erase_again(conn: Connection, place: Path) -> int | None:
    """Take over who was erased in the store that stood here, so that the hub erases them from this one too.

    Gives how many; None where that store is not there, or cannot be read.
    """
    if not place.is_file():
        return None
    try:
        with closing(_read_only(place)) as old:
            old.row_factory = sqlite3.Row
            erasures = [dict(row) for row in old.execute("SELECT id, who, at FROM erasure")]
            tombstones = [dict(row) for row in old.execute("SELECT mark, kind, words, erasure FROM tombstone")]
            secrets = [dict(row) for row in old.execute("SELECT * FROM secret WHERE id = ?", (SECRET,))]
    except sqlite3.DatabaseError:
        return None
    here = set(conn.execute(select(tables.erasure.c.id)).scalars())
    since = [one for one in erasures if one["id"] not in here]
    for table, found in (("erasure", since), ("tombstone", tombstones), ("secret", secrets)):
        for row in found:  # as it lies there, whatever its types are
            names = ", ".join(row)
            conn.execute(text(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({', '.join(f':{one}' for one in row)})"), row)  # noqa: S608
    if since:
        told_anew(conn)
    return len(since)


def _set_aside(place: Path) -> Path | None:
    """Give what stands in the place another name that nothing has; also what is damaged, or was left half done."""
    beside = [rest for rest in BESIDE if place.with_name(place.name + rest).exists()]
    if not place.exists() and not beside:
        return None
    names = (f"{place.name}.before-restore{'' if number == 1 else f'-{number}'}" for number in count(1))
    aside = next(one for name in names if not (one := place.with_name(name)).exists() and not any(map(Path.exists, _beside(one))))
    if place.exists():
        place.replace(aside)
    for rest in beside:  # what is not yet in the file is found there again under its new name
        place.with_name(place.name + rest).replace(aside.with_name(aside.name + rest))
    return aside


def _beside(file: Path) -> list[Path]:
    return [file.with_name(file.name + rest) for rest in BESIDE]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)


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
    found: list[datetime | None] = [conn.execute(select(func.max(column, type_=column.type))).scalar() for column in _NEWEST]
    return max((one for one in found if one is not None), default=datetime.fromtimestamp(0, UTC))


def mark_restored(conn: Connection, made_at: datetime | None, now: datetime) -> tuple[datetime, int]:
    """Note that the store is as of `made_at`, or of the newest fact that it knows: what was not done may have been done since.

    Gives as of when it is taken to be, and how many effects are open. Raises ConfigurationError for a moment to come.
    Nobody holds anything any more, and every tool is looked at again before anything is written to it.
    """
    if made_at is not None and made_at > now:
        raise ConfigurationError(f"{made_at:%Y-%m-%d %H:%M} UTC is still to come.", mend="Say when the backup was made.")
    made_at = made_at or min(newest_fact(conn), now)
    open_ones = tables.OPEN_EFFECT
    unsure = func.coalesce(_effect.c.unsure_since, literal(made_at, _effect.c.unsure_since.type))
    left = conn.execute(update(_effect).where(open_ones).values(unsure_since=unsure)).rowcount
    # What seems to be claimed later was so before our clock was put back; it must not pass for claimed since the restore.
    dated_later = (_effect.c.claimed_at >= now) & (_effect.c.state != "done")
    conn.execute(update(_effect).where(dated_later).values(claimed_at=now - _TICK))
    conn.execute(delete(tables.lease))
    conn.execute(delete(tables.breaker))
    conn.execute(update(tables.delivery).where(tables.OPEN_DELIVERY).values(holder=None))
    notice = tables.notice
    conn.execute(update(notice).where(tables.OPEN_NOTICE).values(holder=None))
    anew = {"reason": None, "detail": None, "not_before": None}  # each is tried at once
    conn.execute(update(notice).where(tables.OPEN_NOTICE, notice.c.state == "open").values(**anew))
    conn.execute(update(_cursor).values(not_before=None, holder=None, held_until=None))
    # An import goes on from where it was: nobody would begin it again.
    conn.execute(update(_cursor).where(_cursor.c.way != IMPORT).values(began_at=None, swept_at=None))
    values = {"restored_from": made_at, "restored_at": now, "looked_back_at": None}
    conn.execute(update(tables.installation).values(**values))
    changed(conn)
    return made_at, left
