"""A simulated Asana and what calls it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.server import Server
from tests.support.asana_tool import Doorbell, ToolCall


@pytest.fixture
async def tool(tmp_path: Path) -> AsyncIterator[AsanaTool]:
    tool = AsanaTool(tmp_path, job_delay_s=0.02)
    await tool.start()
    yield tool
    await tool.stop()


@pytest.fixture
async def doorbell() -> AsyncIterator[Doorbell]:
    bell = Doorbell()
    app = Starlette(routes=[Route("/hooks/ep_1", bell.hear, methods=["POST"])])
    server = Server(app)
    listener = socket.create_server(("127.0.0.1", 0))
    bell.url = f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/ep_1"
    await server.begin(listener)
    yield bell
    await server.end()


@pytest.fixture
def call(tool: AsanaTool) -> ToolCall:
    return ToolCall(tool)
