"""`contacts`, `export-person` and `erase`, as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from lifecyclehub.settings import read_settings
from lifecyclehub.store import tables as t
from lifecyclehub.store.database import open_engine
from tests.support.canaries import told_in, told_in_bytes
from tests.support.typed import Run

EMAIL, NAME = "odalys@orchard.example", "Odalys Ferreira"


@pytest.fixture
def engine(home: Path) -> Engine:
    """A home with one client and its contact."""
    opened = open_engine(read_settings(home).database)
    with opened.begin() as conn:
        now = read_installed(opened)
        conn.execute(insert(t.client).values(id="cli_1", name="Orchard Tools", kind="company", fields={}, created_at=now))
        conn.execute(
            insert(t.contact).values(id="con_1", client="cli_1", name=NAME, email=EMAIL, fields={"phone": "+43 1 2345678"})
        )
        conn.execute(insert(t.engagement).values(id="eng_1", client="cli_1", title=f"Shop for {NAME}", created_at=now))
        conn.execute(insert(t.role).values(contact="con_1", engagement="eng_1", role="primary"))
    return opened


def read_installed(engine: Engine) -> object:
    with engine.connect().execution_options(write=False) as conn:
        return conn.execute(t.installation.select()).mappings().one()["created_at"]


def test_a_person_is_found_handed_over_and_erased(run: Run, home: Path, engine: Engine) -> None:
    (found,) = run("contacts", "--email", EMAIL.upper(), "--json").json()["items"]
    assert found == {"id": "con_1", "name": NAME, "email": EMAIL, "client": "cli_1"}
    given = run("export-person", found["id"]).json()
    assert given["told"]["contact"][0]["fields"] == {"phone": "+43 1 2345678"}
    assert given["told"]["engagement"][0]["title"] == f"Shop for {NAME}"
    assert given["told"]["role"] == [{"contact": "con_1", "engagement": "eng_1", "role": "primary"}]

    asked = run("erase", EMAIL, typed="n\n")
    assert asked.code == 1
    assert "Stays, without the person: engagements (1)" in asked.out
    assert "Nothing was changed." in asked.err
    assert "contact.email" in told_in(engine, [EMAIL])

    done = run("erase", EMAIL, "--yes")
    assert done.code == 0
    assert "Backups" in done.out
    assert told_in(engine, [EMAIL, NAME, "2345678"]) == set()
    files = [Path(f"{home / 'hub.sqlite3'}{rest}") for rest in ("", "-wal")]
    assert told_in_bytes(files, [EMAIL, NAME, "2345678"]) == set()
    with engine.connect().execution_options(write=False) as conn:
        assert [dict(row) for row in conn.execute(t.role.select()).mappings()] == given["told"]["role"]


def test_a_value_that_somebody_else_goes_by_stays_and_is_named(run: Run, engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(insert(t.contact).values(id="con_2", client="cli_1", name=NAME, email="other@orchard.example", fields={}))
    done = run("erase", EMAIL, "--yes")
    assert f"Stays, because somebody else is called so too: {NAME}" in done.out
    (left,) = run("contacts", "--email", "other@orchard.example", "--json").json()["items"]
    assert left["name"] == NAME
    assert told_in(engine, [EMAIL]) == set()


def test_nobody_is_erased_by_mistake(run: Run, engine: Engine) -> None:
    ended = run("erase", "somebody@else.example", "--yes")
    assert ended.code == 3
    assert "nobody is called 'somebody@else.example'" in ended.err
    assert run("erase", "cli_1", "--yes").code == 3  # a company is no person


def test_without_a_person_it_goes_on_with_what_was_cut_off(run: Run, engine: Engine) -> None:
    run("erase", EMAIL, "--yes")
    with engine.begin() as conn:
        conn.execute(t.erasure.update().values(done_at=None))
        conn.execute(t.engagement.update().values(title=f"Shop for {NAME}"))
    assert run("doctor").code == 0  # it began a moment ago
    assert run("erase").code == 0
    assert told_in(engine, [NAME]) == set()
