"""A running hub with a story in its store, and the API in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from lifecyclehub.hub import Hub
from lifecyclehub.messages import Done, Outcome, Refused
from lifecyclehub.store import tables
from lifecyclehub.web.app import create_app
from tests.support.story import Story, won_deal


def web(app: FastAPI, token: str | None = None, *, raises: bool = True) -> httpx.AsyncClient:
    """Give a client of an application, with a token. `raises`: what goes wrong inside comes through to the test."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(app, raise_app_exceptions=raises)
    return httpx.AsyncClient(transport=transport, base_url="http://hub.test", headers=headers)


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


@asynccontextmanager
async def serving(folder: Path, outcome: Outcome) -> AsyncIterator[Api]:
    """A deal was won, and this came of making its project; all connections are paused, so nothing else is sent."""
    story = Story(folder)
    story.switch("won-deal-starts-delivery")
    prepared = story.see("hubspot", won_deal())
    story.answer(prepared[0], outcome)
    for row in story.connections.values():
        story.change(tables.connection, row["id"], state="paused", reason="the story stands still")
    hub = Hub(story.settings, registry=story.registry, clock=story.clock)
    app = create_app(lambda: hub)
    async with app.router.lifespan_context(app), web(app, story.made.token) as http:
        await hub.settled()
        yield Api(story, app, http, hub)
    story.close()


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The project was made; the other effects are held."""
    async with serving(tmp_path_factory.mktemp("made"), Done(record_id="5001", url="https://app.asana.example/0/5001")) as one:
        yield one


@pytest.fixture
async def refused(tmp_path: Path) -> AsyncIterator[Api]:
    """The project was refused: its effect is parked, and the others wait for it."""
    async with serving(tmp_path, Refused("the workspace is read-only")) as one:
        yield one
