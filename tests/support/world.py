"""A whole little world for stories: a hub in its home, the four simulated tools over real HTTP, and a clock that can be put on.

    async with world(tmp_path, database_url) as w:
        deal = (await w.inquire())["deal"]
        await w.act("hubspot", "win_deal", deal=deal)
        await w.quiet()
        assert len(w.made("asana", "project")) == 1

`quiet` waits until nothing is under way anywhere. What only waits for its time (a retry, a look-up after a vendor's lag)
does not keep a test waiting: the clock, which hub and tools share, is put forward to that moment.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from pydantic import SecretStr
from sqlalchemy import Connection, update
from starlette.applications import Starlette

from lifecyclehub.connector import Endpoint, Subscription
from lifecyclehub.sandbox.server import Server
from lifecyclehub.store import tables as t
from lifecyclehub.store.database import open_engine
from lifecyclehub.vault import Vault
from lifecyclehub.vault.credentials import sealed_tokens
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.grants import Tokens
from tests.support.home import apply_files, make_home
from tests.support.inhabited import (
    CLOSED,
    HANDOFFS,
    QUICK,
    STANDING,
    TICKET,
    TOOLS,
    WON,
    ForwardClock,
    World,
)
from tests.support.moves import not_allowed, watch_moves

__all__ = ["CLOSED", "HANDOFFS", "QUICK", "STANDING", "TICKET", "TOOLS", "WON", "World", "world"]


# --- setting up -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def world(
    tmp_path: Path,
    database_url: str | None = None,
    *,
    on: Iterable[str] = HANDOFFS,
    polls: Iterable[str] = (),
    settings: Mapping[str, Mapping[str, str]] | None = None,
    mappings: Mapping[str, str] | None = None,
) -> AsyncIterator[World]:
    """Give a running world. `on`: handoffs switched on now; `polls`: tools without webhooks; `mappings`: files of the home."""
    clock = ForwardClock()
    tools: dict[str, Any] = {name: make(tmp_path / "tools") for name, make in TOOLS.items()}
    for tool in tools.values():
        tool.clock = clock.now
        tool.history.durable = False  # nobody pulls the plug in these stories
    await asyncio.gather(*(tool.start() for tool in tools.values()))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    home = replace(make_home(tmp_path, database_url), port=port)
    for name, text in (mappings or {}).items():
        (home.mappings / name).parent.mkdir(parents=True, exist_ok=True)
        (home.mappings / name).write_text(text, "utf-8")
    if mappings:
        apply_files(home)
    engine = open_engine(home.database)
    watch_moves(engine)
    # A tool closes what was idle for five seconds, which under load may be just when something is sent.
    anew = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=20, trust_env=False, limits=anew) as http:
        w = World(home, clock, tools, engine, http, f"http://127.0.0.1:{port}")
        _connect(w, set(polls), on, settings or {})
        server = await _serve(w, listener)
        try:
            await w.start_hub()
            for name in tools:
                if name not in set(polls):
                    await _subscribe(w, name)
            await w.quiet()
            w.begin_story()
            yield w
            assert not_allowed(engine) == []
        finally:
            if w.running is not None:
                await w.stop_hub()
            await asyncio.gather(server.end(), *(tool.stop() for tool in tools.values()))
            engine.dispose()


async def _serve(w: World, listener: socket.socket) -> Server:
    from lifecyclehub.web.hooks import hooks_route

    none_runs: Any = SimpleNamespace(ready=False)
    server = Server(Starlette(routes=[hooks_route(lambda: w.running or none_runs)]))
    await server.begin(listener)
    return server


def _connect(w: World, polls: set[str], on: Iterable[str], more: Mapping[str, Mapping[str, str]]) -> None:
    """Write connections, credentials and endpoints as `connections add` leaves them."""
    now = datetime.now(UTC)
    vault = Vault.open(w.home, {})
    with w.engine.connect() as conn, conn.begin():
        for name, tool in w.tools.items():
            _connection(conn, vault, w, tool, now, listens=name not in polls, more=more.get(name, {}))
        for handoff in on:
            conn.execute(t.handoff.insert().values(id=handoff, state="on", go_live=now))


def _connection(
    conn: Connection, vault: Vault, w: World, tool: Any, now: datetime, *, listens: bool, more: Mapping[str, str]
) -> None:
    about = w.registry.get(tool.name).about
    grant, connection, endpoint = f"gra_{tool.name}", f"con_{tool.name}", f"end_{tool.name}"
    conn.execute(t.grant.insert().values(id=grant, connector=tool.name, auth=tool.auth, created_at=now))
    conn.execute(t.secret.insert().values(**sealed_tokens(vault, grant, tokens_of(tool), now)))
    conn.execute(
        t.connection.insert().values(
            id=connection,
            name=tool.name,
            connector=tool.name,
            grant=grant,
            account_id=tool.account_id,
            account={"name": tool.name, "currency": "EUR", "timezone": "UTC"},
            roles=list(about.roles),
            settings={**tool.settings(), **QUICK, **more},
            listens=listens,
            polls=not listens,
            created_at=now,
        )
    )
    if not listens:
        return
    door = about.doors[0]
    own = None if door.scope == "app" else connection
    conn.execute(
        t.endpoint.insert().values(
            id=endpoint, connector=tool.name, door=door.name, connection=own, state="listening", created_at=now
        )
    )
    if door.setup == "by_hand" and tool.signing_secret:
        _signing(conn, vault, endpoint, tool.signing_secret, now)


def credentials_of(tool: Any) -> Mapping[str, str]:
    """Give a tool's present credentials."""
    found: Mapping[str, str] = tool.credentials
    return found


def tokens_of(tool: Any) -> Tokens:
    """Give a tool's present credentials as a grant keeps them."""
    return Tokens(secrets={name: SecretStr(value) for name, value in credentials_of(tool).items()})


def _signing(conn: Connection, vault: Vault, endpoint: str, secret: str, now: datetime) -> None:
    row = f"sec_{endpoint}"
    sealed = vault.seal("secret", row, "signing", secret)
    since = now - timedelta(days=1)
    conn.execute(
        t.secret.insert().values(
            id=row, owner_kind="endpoint", owner=endpoint, field="signing", sealed=sealed, state="active", valid_from=since
        )
    )


async def _subscribe(w: World, name: str) -> None:
    """Let a tool send its webhooks to the hub, in the vendor's own way."""
    connector = w.registry.get(name)
    door = connector.about.doors[0]
    endpoint, url = f"end_{name}", f"{w.url}/hooks/end_{name}"
    if door.setup == "by_hand":
        answer = await w.act(name, "set_webhook", url=url)
        assert answer.get("ok", True), answer
        return
    open_until = w.clock.now() + timedelta(minutes=2)
    await w.change(
        update(t.endpoint).where(t.endpoint.c.id == endpoint).values(state="registering", registering_until=open_until)
    )
    made = await connector.subscribe(
        HubCall(w.hub.client, await w.hub.target(f"con_{name}")), Endpoint(id=endpoint, url=url, door=door.name)
    )
    assert isinstance(made, Subscription)
    if made.secret is not None and not w.rows(t.secret, owner=endpoint):
        with w.engine.connect() as conn, conn.begin():
            _signing(conn, w.hub.vault, endpoint, made.secret, w.clock.now())
    await w.change(
        update(t.secret).where(t.secret.c.owner == endpoint).values(state="active"),
        update(t.endpoint).where(t.endpoint.c.id == endpoint).values(state="listening", registering_until=None),
    )
