"""A simulated HubSpot and what calls it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.sandbox.server import Server
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
    server = Server(hub)
    listener = socket.create_server(("127.0.0.1", 0))
    hub.url = f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/ep_1"
    await server.begin(listener)
    await tool.set_webhook(hub.url)
    yield hub
    await server.end()
