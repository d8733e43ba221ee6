"""The disk is full, the database is locked or gone: the sender hears 503 and calls again, and then it is kept."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import event, insert, make_url, text

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.registry.registry import Registry
from lifecyclehub.store import tables as t
from lifecyclehub.web import hooks
from lifecyclehub.web.app import create_app
from tests.support.bomb import Bomb
from tests.support.home import make_home
from tests.web.conftest import web

pytestmark = pytest.mark.anyio
HEADERS = {"content-type": "application/json", "bomb-token": "canary-token"}


@asynccontextmanager
async def hub_with_a_door(tmp_path: Path, url: str | None = None) -> AsyncIterator[tuple[Hub, httpx.AsyncClient]]:
    """Give a running hub that takes deliveries, but cannot work on them: its connection is paused."""
    settings = make_home(tmp_path, url)
    app = create_app(lambda: Hub(settings, registry=Registry.of(Bomb())))
    async with app.router.lifespan_context(app), web(app) as client:
        hub: Hub = app.state.hub()
        now = hub.clock.now()
        with hub.engine.connect() as conn, conn.begin():
            conn.execute(insert(t.grant).values(id="gra_1", connector="bomb", auth="token", created_at=now))
            row = {"id": "con_1", "name": "bomb", "connector": "bomb", "grant": "gra_1", "account_id": "a", "account": {}}
            conn.execute(insert(t.connection).values(**row, roles=["crm"], settings={}, state="paused", created_at=now))
            door = {"id": "end_bomb", "connector": "bomb", "door": "app", "connection": "con_1", "state": "listening"}
            conn.execute(insert(t.endpoint).values(**door, created_at=now))
            sealed = hub.vault.seal("secret", "sec_1", "signing", "canary-token")
            secret = {"id": "sec_1", "owner_kind": "endpoint", "owner": "end_bomb", "field": "signing", "sealed": sealed}
            conn.execute(insert(t.secret).values(**secret, valid_from=now))
        await hub.reread()
        yield hub, client


async def ring(client: httpx.AsyncClient, size: int = 10) -> httpx.Response:
    return await client.post("/hooks/end_bomb", content=b'{"record": "1", "x": "%s"}' % (b"x" * size), headers=HEADERS)


def limit(hub: Hub, pages: int | None) -> None:
    """Let the file grow to so many pages and no further, on whichever connection."""
    if pages is None:
        with hub.engine.connect().execution_options(write=False) as conn:
            pages = int(conn.execute(text("PRAGMA page_count")).scalar_one())

    def limited(conn: object) -> None:
        raw = conn.connection.dbapi_connection  # type: ignore[attr-defined]
        raw.execute(f"PRAGMA max_page_count={pages}")

    hub.engine.dispose()
    event.listen(hub.engine, "begin", limited, insert=True)


async def test_a_full_disk_is_503_with_a_time_to_come_again_and_passes(tmp_path: Path) -> None:
    async with hub_with_a_door(tmp_path) as (hub, client):
        assert (await ring(client)).status_code == 200
        limit(hub, None)
        answer = await ring(client, 300_000)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        limit(hub, 1_000_000)
        assert (await ring(client, 300_000)).status_code == 200


async def test_a_locked_database_is_503_before_the_sender_gives_up_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "KEEP_S", 0.2)
    async with hub_with_a_door(tmp_path) as (hub, client):
        with closing(sqlite3.connect(tmp_path / "home" / "hub.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await ring(client)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            other.execute("ROLLBACK")
        monkeypatch.setattr(hooks, "KEEP_S", 10.0)
        assert (await ring(client)).status_code == 200
        await hub.settled()
        with hub.engine.connect().execution_options(write=False) as conn:
            kept = conn.execute(text("SELECT count(*) FROM delivery")).scalar_one()
        assert kept in (1, 2)  # what was kept after all was perhaps split before it came again


async def test_connections_that_the_server_ended_are_replaced(tmp_path: Path, postgres_url: str) -> None:
    named = make_url(postgres_url).update_query_dict({"application_name": f"ended-{os.getpid()}"})  # others use that server too
    async with hub_with_a_door(tmp_path, named.render_as_string(hide_password=False)) as (hub, client):
        assert (await ring(client)).status_code == 200
        with hub.engine.connect() as conn, conn.begin():
            assert conn.execute(text("SHOW application_name")).scalar_one() == f"ended-{os.getpid()}"
            mine = "pid <> pg_backend_pid() AND application_name = current_setting('application_name')"
            conn.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))
        async with asyncio.timeout(20):
            while (await ring(client, 20)).status_code != 200:  # noqa: ASYNC110 (what is waited for is an answer)
                await asyncio.sleep(0.05)
        assert (await client.get("/readyz")).status_code == 200


async def test_a_secret_that_is_entered_while_the_hub_reads_serves_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hub_with_a_door(tmp_path) as (hub, _):
        read = hub.store.read

        async def late(question: Any, *values: Any) -> Any:
            monkeypatch.setattr(hub.store, "read", read)
            with hub.engine.connect() as conn, conn.begin():
                row = {"id": "sec_2", "owner_kind": "endpoint", "owner": "end_bomb", "field": "signing"}
                sealed = hub.vault.seal("secret", "sec_2", "signing", "canary-second")
                conn.execute(insert(t.secret).values(**row, sealed=sealed, valid_from=hub.clock.now()))
            return await read(question, *values)

        monkeypatch.setattr(hub.store, "read", late)
        directory = await hub.reread()
        assert [one.id for one in directory.entrances["end_bomb"].secrets] == ["sec_1", "sec_2"]


async def test_a_secret_that_cannot_be_opened_shuts_its_own_door_only(tmp_path: Path) -> None:
    async with hub_with_a_door(tmp_path) as (hub, client):
        with hub.engine.connect() as conn, conn.begin():
            door = {"id": "end_other", "connector": "bomb", "door": "app", "connection": "con_1", "state": "listening"}
            conn.execute(insert(t.endpoint).values(**door, created_at=hub.clock.now()))
            row = {"id": "sec_2", "owner_kind": "endpoint", "owner": "end_other", "field": "signing", "sealed": "torn"}
            conn.execute(insert(t.secret).values(**row, valid_from=hub.clock.now()))
        await hub.reread()
        assert (await ring(client)).status_code == 200
        other = await client.post("/hooks/end_other", content=b"{}", headers=HEADERS)
        assert (other.status_code, other.headers.get("retry-after")) == (503, "5")  # a vendor that hears 401 gives the hook up
        assert "torn" not in other.text


async def test_with_another_key_no_hub_starts(tmp_path: Path) -> None:
    async with hub_with_a_door(tmp_path) as (hub, _):
        settings = hub.settings
    key = settings.home / "key"
    key.write_bytes(Fernet.generate_key())
    with pytest.raises(ConfigurationError, match="the key is not the one it was sealed with"):
        Hub(settings, registry=Registry.of(Bomb()))
