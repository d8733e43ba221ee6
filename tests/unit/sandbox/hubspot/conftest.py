"""A simulated HubSpot and what calls it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from lifecyclehub.sandbox.hubspot import HubSpotTool
from tests.support.hubspot_tool import HttpCall, Hub


@pytest.fixture
async def tool(tmp_path: Path) -> AsyncIterator[HubSpotTool]:
    tool = HubSpotTool(tmp_path)
    await tool.start()
    yield tool
    await tool.stop()


@pytest.fixture
async def call(tool: HubSpotTool) -> AsyncIterator[HttpCall]:
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        yield HttpCall(tool, client)


@pytest.fixture
async def hub(tool: HubSpotTool) -> AsyncIterator[Hub]:
    hub = Hub()
    server = uvicorn.Server(uvicorn.Config(hub, port=0, log_level="critical", lifespan="off"))
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn tells no other way)
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    hub.url = f"http://127.0.0.1:{port}/hooks/ep_1"
    await tool.set_webhook(hub.url)
    yield hub
    server.should_exit = True
    await serving
