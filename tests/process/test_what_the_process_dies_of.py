"""A delivery that ends the process, again and again, is parked; its neighbours are worked on all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from lifecyclehub.intake.keep import Arrival, keep
from lifecyclehub.intake.taking import CRASHES
from lifecyclehub.ports import Ids, SystemClock, SystemRandomness
from lifecyclehub.registry.registry import Registry
from lifecyclehub.store import tables as t
from lifecyclehub.store.database import open_engine
from lifecyclehub.vault import Vault
from lifecyclehub.vault.credentials import sealed_tokens
from lifecyclehub.vendor.grants import Tokens
from tests.support.bomb import DIED, Bomb
from tests.support.contract_world import _write_mappings, apply_files
from tests.support.home import make_home

BODIES = {"body": b'{"record": "1", "x": "bomb in the body"}', "record": b'{"record": "bomb"}'}


@pytest.mark.parametrize(("database", "where"), [("sqlite", "body"), ("postgres", "record")])
def test_what_ends_the_process_is_parked_and_its_neighbours_are_not(
    tmp_path: Path, request: pytest.FixtureRequest, database: str, where: str
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgres" else None
    settings = make_home(tmp_path, url)
    engine, now, clock = open_engine(settings.database), SystemClock().now(), SystemClock()
    ids = Ids(clock, SystemRandomness())
    (settings.mappings / "handoffs.toml").write_text("format = 1\n", "utf-8")
    _write_mappings(settings.home, Bomb())
    apply_files(settings, Registry.of(Bomb()))
    bodies = [b'{"record": "2"}', b'{"record": "3"}', BODIES[where], b'{"record": "4"}']
    arrivals = [
        Arrival(
            id=ids.new("dlv"),
            endpoint="end_bomb",
            connection=None,
            connector="bomb",
            way="webhook",
            door="app",
            vendor_key=None,
            headers={},
            body=body,
            received_at=now,
            holder="hub_dead",
        )
        for body in bodies
    ]
    with engine.begin() as conn:
        conn.execute(insert(t.grant).values(id="gra_1", connector="bomb", auth="token", created_at=now))
        conn.execute(insert(t.secret).values(**sealed_tokens(Vault.open(settings.home, {}), "gra_1", Tokens(secrets={}), now)))
        row = {
            "id": "con_1",
            "name": "bomb",
            "connector": "bomb",
            "grant": "gra_1",
            "account_id": "a",
            "account": {},
            "roles": ["crm"],
        }
        conn.execute(insert(t.connection).values(**row, settings={}, created_at=now))
        door = {"id": "end_bomb", "connector": "bomb", "door": "app", "connection": "con_1", "state": "listening"}
        conn.execute(insert(t.endpoint).values(**door, created_at=now))
        keep(conn, arrivals)

    environment = {**os.environ, "LIFECYCLEHUB_DATABASE": settings.database}
    call = [sys.executable, "-m", "tests.support.bomb", str(settings.home), "8"]
    ended = subprocess.run(call, env=environment, check=False, capture_output=True, text=True)
    codes = [int(line) for line in ended.stdout.splitlines()]

    assert codes == [DIED] * CRASHES + [0], ended.stderr
    with engine.connect().execution_options(write=False) as conn:
        deliveries = {row.id: row.state for row in conn.execute(select(t.delivery.c.id, t.delivery.c.state))}
        notices = {row.record_id: (row.state, row.reason) for row in conn.execute(select(t.notice))}
    bad = arrivals[2].id
    assert [state for one, state in deliveries.items() if one != bad] == ["split"] * 3
    assert {notices[one][0] for one in ("2", "3", "4")} == {"processed"}
    if where == "body":
        assert deliveries[bad] == "parked"
    else:
        assert notices["bomb"] == ("parked", "crashed")
    engine.dispose()
