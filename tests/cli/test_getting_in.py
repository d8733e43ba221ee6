"""Imports are begun and shown, and `status` tells what sweeps and hooks are at."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.cli.app import main
from lifecyclehub.cli.home import settings_of
from lifecyclehub.store import tables as t
from lifecyclehub.store.database import open_engine
from tests.support.home import make_home

NOW = datetime.now(UTC)
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one connection that polls."""
    home = make_home(tmp_path).home
    connection: dict[str, Any] = {
        "id": "con_1",
        "name": "crm",
        "connector": "hubspot",
        "grant": "gra_1",
        "account_id": "7",
        "account": {"name": "Northwind"},
        "roles": ["crm"],
        "settings": {"calls_per_day": "500"},
        "state": "active",
        "listens": True,
        "polls": False,
        "created_at": NOW,
    }
    write(home, t.grant.insert().values(id="gra_1", connector="hubspot", auth="private_app", created_at=NOW))
    write(home, t.connection.insert().values(**connection))
    return home


def write(home: Path, *statements: Any) -> None:
    engine = open_engine(settings_of(home).database)
    with engine.begin() as conn:
        for one in statements:
            conn.execute(one)
    engine.dispose()


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run_it(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        monkeypatch.setenv("COLUMNS", "220")
        capsys.readouterr()
        code = main([*arguments, "--home", str(home)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out + said.err

    return run_it


def test_an_import_is_begun_once_and_shown(run: Run, home: Path) -> None:
    code, out = run("import", "crm", "--kind", "hubspot.deal")
    assert code == 0
    assert "the hub is not running; it begins once it is" in out
    assert "hubspot.deal" in out
    assert "under way" in out
    assert "hubspot.contact" not in out
    write(home, t.cursor.update().values(value='{"after":"7"}', listed=300, found=40, reason="status 503", not_before=NOW))
    run("import", "crm", "--kind", "hubspot.deal")
    _, out = run("import", "crm", "--look", "--json")
    (one,) = json.loads(out)
    assert (one["listed"], one["found"], one["reason"]) == (300, 40, None), "it goes on from where it was, and at once"


def test_what_cannot_be_imported_says_why(run: Run, home: Path) -> None:
    assert run("import", "nobody")[0] == 3
    code, out = run("import", "crm", "--kind", "hubspot.deals")
    assert code == 2
    assert "Did you mean hubspot.deal?" in out
    write(home, t.connection.update().values(state="paused"))
    code, out = run("import", "crm")
    assert code == 2
    assert "the connection is paused" in out


def test_waiting_for_an_import_that_does_not_end_says_so(run: Run) -> None:
    code, out = run("import", "crm", "--wait", "1")
    assert code == 1
    assert "--look" in out


def test_status_tells_what_is_looked_for_why_it_stands_still_what_was_missed_and_how_hooks_are(run: Run, home: Path) -> None:
    place = {"connection": "con_1", "kind": "hubspot.deal"}
    later = NOW + timedelta(minutes=10)
    write(
        home,
        t.cursor.insert().values(**place, way="changes", swept_at=NOW, missed=3),
        t.cursor.insert().values(**place, way="full", began_at=NOW, listed=1200, found=4),
        t.cursor.insert().values(**place, way="import", began_at=NOW, reason="status 503", not_before=later),
        t.usage.insert().values(connection="con_1", day=NOW.date().isoformat(), calls=412),
        t.endpoint.insert().values(id="end_1", connector="hubspot", door="app", state="listening", created_at=NOW),
        t.subscription.insert().values(
            id="sub_1", connection="con_1", endpoint="end_1", vendor_id="1", state="failing", reason="Nothing came for 13 hours."
        ),
    )
    _, out = run("status")
    for told in (
        "3 found that no webhook announced",
        "1200 listed, 4 new or changed",
        "status 503",
        "failing: Nothing came for 13 hours.",
        "412 of 500",
    ):
        assert told in out
    _, out = run("check")
    assert "looking for hubspot.deal (import) does not get on: status 503." in out
    assert "its hook sub_1 is failing" in out
