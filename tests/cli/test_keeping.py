"""`doctor`, `confirm`, `backup`, `restore`, `keys`, `tokens rotate`: as people type them."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import OperationalError

from lifecyclehub.admin.hosts import MACHINE_VARIABLE
from lifecyclehub.admin.restored import drop_ended
from lifecyclehub.admin.tokens import token_of
from lifecyclehub.cli import tokens
from lifecyclehub.cli.app import main
from lifecyclehub.settings import read_settings
from lifecyclehub.store import tables as t
from lifecyclehub.store.database import open_engine
from tests.support.home import make_home


def run(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str]:
    """Run a command; give its exit code and what it said."""
    capsys.readouterr()
    code = main([*arguments, "--home", str(home)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out + said.err


def test_the_doctor_finds_nothing_in_a_new_home_and_something_in_a_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = make_home(tmp_path).home
    assert run(capsys, home, "doctor") == (0, "Everything is as it must be.\n")
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    code, said = run(capsys, copy, "doctor")
    assert code == 1
    assert "a copy that nobody confirmed" in said
    assert "lifecyclehub confirm" in said
    code, said = run(capsys, copy, "doctor", "--json")
    assert code == 1
    assert '"check": "home"' in said
    for command in ("check", "status"):
        assert "a copy that nobody confirmed" in run(capsys, copy, command)[1]


def test_nobody_else_may_read_the_database_and_what_sqlite_keeps_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    before = os.umask(0o022)
    try:
        assert run(capsys, home, "init")[0] == 0
    finally:
        os.umask(before)
    file = home / "hub.sqlite3"
    with closing(sqlite3.connect(file)) as held:
        held.execute("PRAGMA journal_mode=WAL")
        held.execute("UPDATE installation SET configured = configured + 1")
        held.commit()
        modes = {one.name: oct(one.stat().st_mode & 0o777) for one in home.glob("hub.sqlite3*")}
    assert modes == dict.fromkeys(("hub.sqlite3", "hub.sqlite3-wal", "hub.sqlite3-shm"), "0o600")

    file.chmod(0o644)
    code, said = run(capsys, home, "doctor")
    assert code == 1
    assert "others on this machine may read it (mode 644)" in said
    assert run(capsys, home, "init")[0] == 0
    assert run(capsys, home, "doctor")[0] == 0


@pytest.mark.parametrize("place", [0, 4096, 60 * 4096])
def test_a_damaged_file_is_named_with_what_mends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int) -> None:
    home = make_home(tmp_path).home
    run(capsys, home, "backup", str(tmp_path / "monday"))
    with (home / "hub.sqlite3").open("r+b") as raw:
        raw.seek(place)
        raw.write(b"\xff" * 65536)
    code, said = run(capsys, home, "doctor")
    assert code == 1
    assert "database file: " in said
    assert "lifecyclehub restore" in said
    assert run(capsys, home, "restore", str(tmp_path / "monday"))[0] == 0
    assert run(capsys, home, "doctor")[0] == 0


def test_a_copy_is_confirmed_beside_others_or_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = make_home(tmp_path).home
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    code, said = run(capsys, copy, "confirm")
    assert code == 0
    assert str(home) in said
    assert run(capsys, copy, "doctor")[0] == 0
    assert "1 other homes do so no more" in run(capsys, copy, "confirm", "--alone")[1]


def test_a_container_is_known_by_the_name_it_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path).home
    monkeypatch.setenv(MACHINE_VARIABLE, "hub-1")
    assert run(capsys, home, "doctor")[0] == 1
    run(capsys, home, "confirm")
    assert run(capsys, home, "doctor")[0] == 0
    monkeypatch.setenv(MACHINE_VARIABLE, "hub-2")
    assert run(capsys, home, "doctor")[0] == 1


def test_a_backup_is_put_back_and_says_what_is_open_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = make_home(tmp_path).home
    code, said = run(capsys, home, "backup", str(tmp_path / "monday"))
    assert (code, "Keep" in said) == (0, True)
    assert run(capsys, home, "backup", str(tmp_path / "monday"))[0] == 2
    code, said = run(capsys, home, "restore", str(tmp_path / "monday"), "--made-at", "2026-03-01T09:00+01:00")
    assert code == 0
    assert "Restored as of 2026-03-01 08:00:00 UTC. 0 effects" in said
    assert "restored from a backup" in run(capsys, home, "check")[1]
    run(capsys, home, "confirm", "--without-looking")
    assert "restored from a backup" not in run(capsys, home, "check")[1]


def test_the_key_is_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = make_home(tmp_path).home
    before = (home / "key").read_text("ascii")
    assert run(capsys, home, "keys", "rotate")[0] == 0
    assert (home / "key").read_text("ascii").split()[1:] == before.split()
    assert run(capsys, home, "keys", "forget")[0] == 2  # a hub may still use the old one


def test_a_token_is_changed_and_the_old_one_serves_a_while(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = make_home(tmp_path).home
    old = run(capsys, home, "tokens", "make", "portal")[1].strip()
    new = run(capsys, home, "tokens", "rotate", "portal", "--overlap-h", "2")[1].strip()
    engine, now = open_engine(read_settings(home, {}).database), datetime.now(UTC)
    with engine.connect().execution_options(write=False) as conn:
        later = now + timedelta(hours=3)
        assert [token_of(conn, one, at) is not None for one in (old, new) for at in (now, later)] == [True, False, True, True]
    engine.dispose()
    assert run(capsys, home, "tokens", "rotate", "nobody")[0] == 3


def test_the_list_says_how_long_each_token_serves_and_which_serves_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = make_home(tmp_path).home
    run(capsys, home, "tokens", "make", "portal")
    run(capsys, home, "tokens", "rotate", "portal", "--overlap-h", "2")
    assert serves(run(capsys, home, "tokens", "list")[1]) == {"portal": "until revoked", "portal (old)": "until"}
    engine, ended = open_engine(read_settings(home, {}).database), datetime.now(UTC) - timedelta(hours=1)
    with engine.begin() as conn:
        conn.execute(update(t.api_token).where(t.api_token.c.valid_until.is_not(None)).values(valid_until=ended))
    engine.dispose()
    assert serves(run(capsys, home, "tokens", "list")[1]) == {"portal": "until revoked", "portal (old)": "no more since"}
    listed = json.loads(run(capsys, home, "tokens", "list", "--json")[1])
    assert {one["valid_until"] and datetime.fromisoformat(one["valid_until"]) for one in listed} == {None, ended}


def serves(table: str) -> dict[str, str]:
    """Give what the list says of the portal's tokens, without times and ids."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines() if line.startswith("portal")]
    return {re.sub(r", \w+", "", line[0]): re.sub(r" \d.*", "", line[-1]) for line in lines}


@pytest.mark.parametrize("word", ["make", "rotate"])
def test_a_token_that_was_not_kept_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    home = make_home(tmp_path).home
    run(capsys, home, "tokens", "make", "portal")
    writing = tokens.writing

    @contextmanager
    def full(ctx: typer.Context) -> Iterator[Connection]:
        with writing(ctx) as conn:
            yield conn
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr(tokens, "writing", full)
    code, said = run(capsys, home, "tokens", word, "portal" if word == "rotate" else "another")
    assert code == 2
    assert "disk is full" in said
    assert "lch_" not in said


def test_signing_secrets_whose_time_is_over_are_dropped(tmp_path: Path) -> None:
    engine, now = open_engine(make_home(tmp_path).database), datetime.now(UTC)
    row = {"owner_kind": "endpoint", "owner": "end_1", "field": "signing", "sealed": "x", "valid_from": now}
    with engine.begin() as conn:
        conn.execute(insert(t.secret), [{**row, "id": f"sec_{n}", "valid_until": None} for n in range(3)])
        conn.execute(update(t.secret).where(t.secret.c.id == "sec_1").values(valid_until=now))
        conn.execute(update(t.secret).where(t.secret.c.id == "sec_2").values(valid_until=now + timedelta(hours=1)))
        assert drop_ended(conn, [now]) == [1]
        assert set(conn.execute(select(t.secret.c.id)).scalars()) == {"sec_0", "sec_2"}
    engine.dispose()
