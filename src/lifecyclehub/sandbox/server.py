"""The HTTP server of a simulated tool."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import uvicorn
from starlette.types import ASGIApp


class Server(uvicorn.Server):
    """Begins and ends at once: uvicorn's own looks ten times a second whether it shall end, and then waits once more."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False, server_header=False))
        self._ticking: asyncio.Task[None] | None = None

    async def begin(self, listener: socket.socket) -> None:
        """Answer there from now on; signals are left to others."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[listener])
        self._ticking = asyncio.create_task(self.main_loop())

    async def end(self) -> None:
        """Take no more requests and answer those that came."""
        if self._ticking is None:
            return
        self._ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._ticking
        for one in self.servers:
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.002)
