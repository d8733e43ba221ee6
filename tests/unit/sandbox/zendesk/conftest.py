"""A simulated Zendesk and what calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from lifecyclehub.sandbox.zendesk import ZendeskTool
from tests.support.zendesk_tool import HttpCall


@pytest.fixture
async def tool(tmp_path: Path) -> AsyncIterator[ZendeskTool]:
    tool = ZendeskTool(tmp_path)
    await tool.start()
    yield tool
    await tool.stop()


@pytest.fixture
async def call(tool: ZendeskTool) -> AsyncIterator[HttpCall]:
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        call = HttpCall(tool, client)
        await call.authorize()
        yield call


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[ZendeskTool]:
    """A tool that does not listen: its webhooks are sent by the test."""
    tool = ZendeskTool(tmp_path)
    tool.port = 1
    yield tool
    tool.history.close()
