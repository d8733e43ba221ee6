"""A simulated HubSpot, called over HTTP by the connector's own code, and a hub that it calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from lifecyclehub.connector.roles import Owner
from lifecyclehub.mapping.files import load_mappings, read_folder
from lifecyclehub.messages import Delivery, Key, Notice, Reply, Request
from lifecyclehub.sandbox.history import read_history
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub_hubspot import HubSpot

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CONNECTOR = HubSpot()
DOOR = CONNECTOR.about.doors[0]
KEY = Key(idempotency="k-1", marker="lh-7k2m9qx3ab")
FOLDER = Path(__file__).parents[2] / "plugins/hubspot/lifecyclehub_hubspot/mappings"
MAPPINGS = load_mappings(read_folder(FOLDER), {}, CONNECTOR.about)
ACCOUNT = {"id": "24810377", "name": "Northwind Atelier", "currency": "EUR", "timezone": "Europe/Copenhagen"}
ASTRID = Owner(email="astrid@northwind.example", record="41629779")
INQUIRY = {
    "company": "Brightwater Foods",
    "domain": "brightwater.example",
    "contact_name": "Ida Brandt",
    "contact_email": "ida@brightwater.example",
    "title": "New website",
    "amount": "12000.50",
    "owner_email": "astrid@northwind.example",
}


class HttpCall:
    """A call over HTTP with the tool's token."""

    def __init__(self, tool: HubSpotTool, client: httpx.AsyncClient) -> None:
        self._tool, self._client, self.token = tool, client, tool.credentials["token"]

    @property
    def account(self) -> str:
        return self._tool.account_id

    @property
    def settings(self) -> Mapping[str, str]:
        return {"ui_domain": "app.hubspot.com", **self._tool.settings()}

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def send(self, request: Request) -> Reply:
        reply = await self._client.request(
            request.method,
            request.path,
            params=httpx.QueryParams(request.query),
            json=request.json,
            headers={"authorization": f"Bearer {self.token}"},
        )
        return Reply(status=reply.status_code, headers={k.lower(): v for k, v in reply.headers.items()}, body=reply.content)


class Hub:
    """A listener on loopback that keeps what HubSpot sends."""

    def __init__(self) -> None:
        self.url = ""
        self.got: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.got.put_nowait(({k.decode().lower(): v.decode() for k, v in scope["headers"]}, body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def next(self) -> tuple[dict[str, str], bytes]:
        return await asyncio.wait_for(self.got.get(), 5)

    async def notices(self) -> list[Notice]:
        headers, body = await self.next()
        return read(headers, body)


def read(headers: dict[str, str], body: bytes) -> list[Notice]:
    delivery = Delivery(id="d", door="app", headers=headers, body=body, json=json.loads(body), received_at=datetime.now(UTC))
    return list(CONNECTOR.read(delivery))


def said(tool: HubSpotTool, what: str, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_history(tool.history.path) if line["what"] == what and line.get("kind") == kind]


async def act(tool: HubSpotTool, name: str, **arguments: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        reply = await client.post(f"/_sandbox/act/{name}", json=arguments)
        return reply.raise_for_status().json()


async def perform(call: HttpCall, name: str, given: Any) -> Any:
    action, mapping = CONNECTOR.about.action(name), MAPPINGS.outbound(name)
    assert action is not None
    assert mapping is not None
    request = action.render(given, mapping.body(given, {}, ACCOUNT), KEY)
    return action.judge(await call.send(request), request)
