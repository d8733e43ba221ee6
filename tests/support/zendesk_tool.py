"""A simulated Zendesk, called over HTTP as the hub does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from lifecyclehub.messages import Delivery, Key, Reply, Request
from lifecyclehub.sandbox.history import read_history
from lifecyclehub.sandbox.zendesk import ZendeskTool
from lifecyclehub_zendesk import Zendesk

KEY = Key(idempotency="k-1", marker="lh-7k2m9qx3ab")
OTHER = "lh-0000000000"
CONNECTOR = Zendesk()
DOOR = CONNECTOR.about.doors[0]


class HttpCall:
    """A call over HTTP that gets its token as the connector describes it."""

    def __init__(self, tool: ZendeskTool, client: httpx.AsyncClient) -> None:
        self._tool, self._client, self.token = tool, client, ""
        self.ahead = timedelta()

    @property
    def account(self) -> str:
        return self._tool.account_id

    @property
    def settings(self) -> Mapping[str, str]:
        return self._tool.settings()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def authorize(self, **change: str) -> httpx.Response:
        auth = CONNECTOR.about.auth(self._tool.auth)
        assert auth is not None
        assert auth.body_json
        form = {"grant_type": "client_credentials", "scope": auth.scope, **self._tool.credentials, **change}
        reply = await self._client.post(auth.token_path, json=form)
        if reply.is_success:
            self.token = reply.json()["access_token"]
        return reply

    async def send(self, request: Request) -> Reply:
        headers = {"authorization": f"Bearer {self.token}"}
        query = httpx.QueryParams(request.query)
        reply = await self._client.request(request.method, request.path, params=query, json=request.json, headers=headers)
        return Reply(status=reply.status_code, headers={k.lower(): v for k, v in reply.headers.items()}, body=reply.content)


class Hub:
    """A listener that keeps what Zendesk sends."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.got.append(({k.decode(): v.decode() for k, v in scope["headers"]}, message["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def opened(tool: ZendeskTool, **more: Any) -> dict[str, Any]:
    facts = {
        "subject": "Checkout shows the old logo",
        "text": "Since this morning the checkout shows our old logo.",
        "requester_name": "Ida Brandt",
        "requester_email": "ida@brightwater.example",
        "organization": "Brightwater Foods",
        **more,
    }
    return await tool.open_ticket(**facts)


def said(tool: ZendeskTool, what: str) -> list[dict[str, Any]]:
    return [line for line in read_history(tool.history.path) if line["what"] == what]


async def sent(tool: ZendeskTool, hub: Hub) -> list[tuple[dict[str, str], bytes]]:
    """Send every webhook that waits to the hub, in this process."""
    transport = httpx.ASGITransport(app=hub)
    async with httpx.AsyncClient(transport=transport) as client:
        while not tool._sending.empty():
            await tool._ring_burst(client, tool._sending.get_nowait())
    return hub.got


def delivered(headers: dict[str, str], body: bytes) -> Delivery:
    parsed = json.loads(body)
    return Delivery(id="d1", door=DOOR.name, headers=headers, body=body, json=parsed, received_at=datetime.now(UTC))
