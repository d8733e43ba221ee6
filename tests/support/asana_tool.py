"""A simulated Asana, called by the connector over real HTTP, and a doorbell that it rings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from lifecyclehub.connector import Endpoint, Subscription
from lifecyclehub.errors import NeedsReauthorization, TryAgain
from lifecyclehub.messages import Accepted, Key, Reply, Request
from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.history import read_history
from lifecyclehub.testing import VendorSpec
from lifecyclehub.testing.defaults import map_out
from lifecyclehub_asana import Asana

ASANA = Asana()
SPEC = VendorSpec("asana/asana_oas.yaml")
KEY = Key(idempotency="key-1", marker="lh-7k2m9qx3ab")
# Asana's file describes rows of lists and people inside records without the fields that opt_fields asks for.
UNDESCRIBED = ("owner.name", "owner.email", "assignee.email", "$.data[")


class ToolCall:
    """A call to the simulated tool over HTTP; everything sent and answered is kept."""

    def __init__(self, tool: AsanaTool, token: str | None = None) -> None:
        self.account, self.settings = tool.account_id, tool.settings()
        self.exchanged: list[tuple[Request, Reply]] = []
        self._headers = {"authorization": f"Bearer {token or tool.credentials['token']}"}

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def send(self, request: Request) -> Reply:
        async with httpx.AsyncClient(base_url=self.settings[f"base_url.{request.host}"], trust_env=False) as client:
            try:
                answer = await client.request(
                    request.method, request.path, params=list(request.query), json=request.json, headers=self._headers
                )
            except httpx.HTTPError as fault:
                raise TryAgain(str(fault)) from fault
        reply = Reply(status=answer.status_code, headers=dict(answer.headers), body=answer.content)
        self.exchanged.append((request, reply))
        if reply.status == 401:
            raise NeedsReauthorization("status 401")
        return reply


def person(tool: AsanaTool, name: str) -> str:
    """Give the gid of somebody in the workspace."""
    return next(str(one["gid"]) for one in tool.state.people.values() if one["name"] == name)


class Doorbell:
    """A hub's address: echoes the handshake unless told not to, and keeps what rings."""

    def __init__(self) -> None:
        self.rung: list[tuple[dict[str, str], bytes]] = []
        self.secrets: list[str] = []
        self.echo, self.status = True, 200
        self.url = ""

    async def hear(self, request: HttpRequest) -> Response:
        secret = request.headers.get("x-hook-secret")
        if secret is not None:
            self.secrets.append(secret)
            return Response(headers={"X-Hook-Secret": secret} if self.echo else {})
        self.rung.append((dict(request.headers), await request.body()))
        return Response(status_code=self.status)

    def events(self) -> list[tuple[str, str]]:
        bodies = [json.loads(body) for _, body in self.rung]
        return [(event["action"], event["resource"]["gid"]) for body in bodies for event in body["events"]]

    async def heard(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.rung) < count:  # noqa: ASYNC110 (a server that other code drives)
                await asyncio.sleep(0.005)


def told(tool: AsanaTool, what: str) -> list[dict[str, Any]]:
    return [line for line in read_history(tool.history.path) if line["what"] == what]


async def done(call: ToolCall, name: str, value: Mapping[str, Any], key: Key = KEY) -> Any:
    """Do an action as the core would: map, render, send, judge; ask after a job until it is over."""
    action = ASANA.about.action(name)
    assert action is not None
    v = action.input.model_validate(value)
    found = {"settings": {"team": call.settings["team"]}, "account": {"id": call.account}}
    request = action.render(v, map_out(ASANA, action, v, found), key)
    outcome = action.judge(await call.send(request), request)
    while isinstance(outcome, Accepted):
        await asyncio.sleep(0.005)
        outcome = await action.check(call, outcome.handle)
    return outcome


async def seen(call: ToolCall, name: str, value: Mapping[str, Any], key: Key = KEY) -> Any:
    action = ASANA.about.action(name)
    assert action is not None
    return await action.find(call, action.input.model_validate(value), key)


async def subscribed(call: ToolCall, bell: Doorbell) -> Subscription:
    return await ASANA.subscribe(call, Endpoint(id="ep_1", url=bell.url, door="webhook"))
