"""A hub that is reached over HTTP but has not been started, and simulated tools that run beside a test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, select
from starlette.applications import Starlette

from lifecyclehub.hub import Hub
from lifecyclehub.sandbox.server import Server
from lifecyclehub.sandbox.tool import Tool
from lifecyclehub.web.hooks import hooks_route
from tests.support.home import installed, make_home


@asynccontextmanager
async def served_hub(tmp_path: Path, *, answers: bool = True) -> AsyncIterator[Hub]:
    """Give a hub whose hooks answer; with `answers` False nobody listens at its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        hub = Hub(replace(make_home(tmp_path), port=listener.getsockname()[1]), registry=installed())
        hub.ready = True
        server = Server(Starlette(routes=[hooks_route(lambda: hub)]))
        if answers:
            await server.begin(listener)
        else:
            listener.close()
        try:
            yield hub
        finally:
            await server.end()
            await hub.stop()


@asynccontextmanager
async def running_tools(*tools: Tool) -> AsyncIterator[None]:
    """Run simulated tools for as long as the block lasts."""
    for tool in tools:
        tool.history.path.parent.mkdir(parents=True, exist_ok=True)
        await tool.start()
    try:
        yield
    finally:
        for tool in tools:
            await tool.stop()


@contextmanager
def tools_beside(*tools: Tool) -> Iterator[None]:
    """Run simulated tools in a thread of their own, for tests of commands that run an event loop themselves."""
    loop = asyncio.new_event_loop()
    up, over = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with running_tools(*tools):
            up.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert up.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        with contextlib.suppress(RuntimeError):
            loop.close()


async def count(hub: Hub, *found: Table) -> list[int]:
    """Count the rows of tables."""
    return await hub.store.read(lambda conn: [conn.execute(select(func.count()).select_from(one)).scalar() or 0 for one in found])


async def rows(hub: Hub, table: Table) -> Sequence[dict[str, Any]]:
    """Give all rows of a table, oldest first."""
    return await hub.store.read(lambda conn: [dict(row) for row in conn.execute(select(table).order_by(table.c.id)).mappings()])
