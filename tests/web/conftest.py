"""A running hub with a story in its store, and the API in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from lifecyclehub.hub import Hub
from lifecyclehub.messages import Done
from lifecyclehub.store import tables
from lifecyclehub.web.app import create_app
from tests.support.story import Story, won_deal


def web(app: FastAPI, token: str | None = None) -> httpx.AsyncClient:
    """Give a client of an application, with a token."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub.test", headers=headers)


@dataclass
class Api:
    """The API, and the story behind it."""

    story: Story
    app: FastAPI
    http: httpx.AsyncClient
    hub: Hub

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        return await self.http.get(f"/api/v1/{path}", params=query)

    async def post(self, path: str, body: object = None) -> httpx.Response:
        return await self.http.post(f"/api/v1/{path}", json=body)

    def only(self, table: str, **equal: str) -> dict:
        """Give the only row with these values."""
        found = self.story.rows(getattr(tables, table), **equal)
        assert len(found) == 1
        return found[0]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A deal was won, its project is made; the rest of its effects is held, since all connections are paused."""
    story = Story(tmp_path)
    story.switch("won-deal-starts-delivery")
    prepared = story.see("hubspot", won_deal())
    story.answer(prepared[0], Done(record_id="5001", url="https://app.asana.example/0/5001"))
    for row in story.connections.values():
        story.change(tables.connection, row["id"], state="paused", reason="the story stands still")
    hub = Hub(story.settings, registry=story.registry, clock=story.clock)
    app = create_app(lambda: hub)
    async with app.router.lifespan_context(app), web(app, story.made.token) as http:
        await hub.settled()
        yield Api(story, app, http, hub)
    story.close()
