"""The bare job without a hub, to compare with: a signed request is checked, one row committed, one request sent.

Same server (uvicorn on uvloop and httptools), same database settings, one commit for all that is waiting.
Run as `bare.py <port> <sink port> <database file>`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import queue
import sqlite3
import sys
import threading
from typing import Any

import aiohttp
import uvicorn

SECRET = b"benchmark-signing-secret"
_Row = tuple[bytes, "asyncio.Future[None]"]


class Rows:
    """One writer thread; every row is committed before its future is done."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._waiting: queue.SimpleQueue[_Row] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    async def keep(self, body: bytes) -> None:
        """Keep one row."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.put((body, done))
        await done

    def _work(self) -> None:
        database = sqlite3.connect(self._file, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("CREATE TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        while True:
            rows = [self._waiting.get()]
            while len(rows) < 512 and not self._waiting.empty():
                rows.append(self._waiting.get())
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO kept (body) VALUES (?)", [(body,) for body, _ in rows])
            database.execute("COMMIT")
            rows[0][1].get_loop().call_soon_threadsafe(_resolve, rows)


def _resolve(rows: list[_Row]) -> None:
    for _, done in rows:
        done.set_result(None)


class Bare:
    """The application."""

    def __init__(self, sink: str, rows: Rows) -> None:
        self._sink, self._rows = sink, rows
        self._session: aiohttp.ClientSession | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(128)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status = 200
        if scope["method"] == "POST":
            given = next((value for name, value in scope["headers"] if name == b"x-fat-signature"), b"")
            if hmac.compare_digest(given, hmac.new(SECRET, body, hashlib.sha256).hexdigest().encode()):
                await self._rows.keep(body)
                runner = asyncio.ensure_future(self._go(json.loads(body)))
                self._sending.add(runner)
                runner.add_done_callback(self._sending.discard)
            else:
                status = 401
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def _go(self, event: dict[str, Any]) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        project = {"name": f"{event['company']['name']}: {event['deal']['title']}", "notes": event["deal"]["description"]}
        async with self._room, self._session.post(self._sink, json=project) as reply:
            await reply.read()


def main() -> None:
    port, sink_port, file = sys.argv[1:]
    app = Bare(f"http://127.0.0.1:{sink_port}/projects", Rows(file))
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
