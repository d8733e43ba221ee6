"""A simulated Xero and what calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifecyclehub.sandbox.xero import Xero as Tool
from tests.support.xero_tool import Reach


@pytest.fixture
async def tool(tmp_path: Path) -> AsyncIterator[Tool]:
    tool = Tool(tmp_path)
    await tool.start()
    yield tool
    await tool.stop()


@pytest.fixture
async def reach(tool: Tool) -> AsyncIterator[Reach]:
    reach = Reach(tool)
    yield reach
    await reach.client.aclose()
