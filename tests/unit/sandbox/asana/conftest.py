"""A simulated Asana and what calls it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from lifecyclehub.sandbox.asana import AsanaTool
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
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    runner = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    bell.url = f"http://127.0.0.1:{port}/hooks/ep_1"
    yield bell
    server.should_exit = True
    await runner


@pytest.fixture
def call(tool: AsanaTool) -> ToolCall:
    return ToolCall(tool)
