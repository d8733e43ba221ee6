"""Backups are made under traffic and put back over whatever is left; nothing that stood there is lost, however often."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.admin import backup as admin_backup
from lifecyclehub.admin.backup import back_up, put_back
from lifecyclehub.admin.hosts import host_fingerprint
from lifecyclehub.admin.presence import ASLEEP, AWAKE, LOOKING, Locks, may_do
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.settings import Settings
from lifecyclehub.store.database import open_engine
from tests.support.home import make_home

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def database(settings: Settings) -> Path:
    return settings.home / "hub.sqlite3"


def tell(settings: Settings, *statements: str) -> list[Any]:
    """Run statements in a home's database; give what the last one found."""
    with closing(sqlite3.connect(database(settings), isolation_level=None)) as conn:
        found = [conn.execute(one).fetchall() for one in statements]
    return found[-1]


def may(settings: Settings) -> int:
    """Give what a hub in this home may do."""
    engine = open_engine(settings.database)
    try:
        with engine.connect().execution_options(write=False) as conn:
            return may_do(conn, host_fingerprint(settings))
    finally:
        engine.dispose()


def test_a_backup_is_done_in_the_end_however_much_is_written_meanwhile(tmp_path: Path) -> None:
    settings, over = make_home(tmp_path), threading.Event()
    tell(settings, "CREATE TABLE filler (body BLOB)", *["INSERT INTO filler VALUES (randomblob(1000000))"] * 8)
    written = 0

    def write() -> None:
        nonlocal written
        with closing(sqlite3.connect(database(settings), isolation_level=None, timeout=30)) as conn:
            while not over.is_set() and written < 20_000:
                conn.execute("UPDATE installation SET configured = configured + 1")
                written += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while written == 0:
            assert writer.is_alive()
        back_up(settings, tmp_path / "backup")
        assert writer.is_alive(), f"the copy was begun again until nobody wrote any more ({written} commits)"
    finally:
        over.set()
        writer.join()


def test_what_did_not_become_a_backup_is_not_taken_for_one(tmp_path: Path) -> None:
    settings, file = make_home(tmp_path), tmp_path / "backup"

    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(ConfigurationError, match="could not be made: database or disk is full"):
        back_up(settings, file, full)
    assert list(tmp_path.glob("backup*")) == []
    back_up(settings, file)
    assert [one.name for one in tmp_path.glob("backup*")] == ["backup"]


def test_a_damaged_database_is_not_backed_up_as_if_it_were_sound(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    damage(database(settings))
    with pytest.raises(ConfigurationError, match="damaged"):
        back_up(settings, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def damage(file: Path) -> None:
    """Overwrite pages in the middle."""
    with file.open("r+b") as raw:
        raw.seek(8192)
        raw.write(b"\xff" * 65536)


def lost(file: Path) -> None:
    file.unlink()


def no_database(file: Path) -> None:
    file.write_bytes(b"not a database, but long enough to be looked at" * 1000)


@pytest.mark.parametrize("harm", [damage, no_database, lost])
def test_a_backup_is_put_back_over_what_is_damaged_or_gone(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    settings, file = make_home(tmp_path), tmp_path / "backup"
    back_up(settings, file)
    harm(database(settings))
    put_back(settings, file, NOW)
    assert tell(settings, "PRAGMA quick_check") == [("ok",)]
    assert may(settings) == LOOKING


def test_what_stood_there_is_kept_each_time_with_what_was_not_yet_in_its_file(tmp_path: Path) -> None:
    settings, file = make_home(tmp_path), tmp_path / "backup"
    back_up(settings, file)
    with closing(sqlite3.connect(database(settings), isolation_level=None)) as held:  # a command that reads keeps the -wal
        held.execute("PRAGMA journal_mode=WAL")
        held.execute("UPDATE installation SET configured = 4711")
        held.execute("BEGIN")
        held.execute("SELECT * FROM installation").fetchall()
        first = put_back(settings, file, NOW).aside
        second = put_back(settings, file, NOW).aside
    assert first is not None
    assert second is not None
    assert first != second
    with closing(sqlite3.connect(first)) as kept:
        assert kept.execute("SELECT configured FROM installation").fetchall() == [(4711,)]
    assert tell(settings, "SELECT configured < 4711 FROM installation") == [(1,)]


@pytest.mark.parametrize("step", ["_noted", "_set_aside", "keep_private"])
def test_a_restore_that_is_cut_off_leaves_no_hub_that_takes_the_past_for_the_present(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    settings, file = make_home(tmp_path), tmp_path / "backup"
    back_up(settings, file)
    inner = getattr(admin_backup, step)

    def cut_off(*arguments: Any) -> Any:
        inner(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(admin_backup, step, cut_off)
    with pytest.raises(KeyboardInterrupt):
        put_back(settings, file, NOW)
    monkeypatch.undo()
    if step == "_set_aside":
        assert not database(settings).exists()  # no hub starts without one
    else:
        assert may(settings) == (AWAKE if step == "_noted" else LOOKING)
    put_back(settings, file, NOW)
    assert may(settings) == LOOKING


def test_a_backup_of_another_version_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    settings, file = make_home(tmp_path), tmp_path / "backup"
    back_up(settings, file)
    with closing(sqlite3.connect(file, isolation_level=None)) as old:
        old.execute("UPDATE alembic_version SET version_num = '0000'")
    before = database(settings).read_bytes()
    with pytest.raises(ConfigurationError, match="the version of lifecyclehub that made it"):
        put_back(settings, file, NOW)
    assert database(settings).read_bytes() == before
    assert [*settings.home.glob("*restor*")] == []


def test_a_backup_cannot_come_from_the_future(tmp_path: Path) -> None:
    settings, file = make_home(tmp_path), tmp_path / "backup"
    back_up(settings, file)
    with pytest.raises(ConfigurationError, match="still to come"):
        put_back(settings, file, NOW, NOW + timedelta(hours=1))
    assert may(settings) != ASLEEP
    assert put_back(settings, file, datetime(2020, 1, 1, tzinfo=UTC)).made_at == datetime(2020, 1, 1, tzinfo=UTC)


def test_a_home_is_taken_also_where_nothing_can_be_written_about_it(tmp_path: Path) -> None:
    """On a full disk the lock holds all the same; only the number of the process, which is for people, is missing."""
    settings = make_home(tmp_path)
    (settings.home / "hub.lock").symlink_to("/dev/full")
    locks = Locks(settings)
    locks.take()
    locks.leave()
