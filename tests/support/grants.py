"""A vendor whose refresh tokens serve once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qsl

import httpx
import pytest

from lifecyclehub.messages import Request
from tests.support.reach import KeptGrants, tokens

GET = Request(method="GET", path="/deals/1")


class Vendor:
    """Issues access tokens; each refresh token serves once."""

    def __init__(self, journal: list[str]) -> None:
        self.refresh, self.access, self.issued = "r-0", "never-issued", 0
        self.journal = journal
        self.before_answer: Callable[[], httpx.Response | None] = lambda: None
        self.token_requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/token":
            self.journal.append("called")
            good = request.headers["authorization"] == f"Bearer {self.access}"
            return httpx.Response(200 if good else 401)
        self.token_requests.append(request)
        self.journal.append("refreshed")
        await asyncio.sleep(0)
        form = dict(parse_qsl(request.content.decode()))
        if form.get("refresh_token") != self.refresh:
            return httpx.Response(400, json={"error": "invalid_grant"})
        self.issued += 1
        self.refresh, self.access = f"r-{self.issued}", f"canary-a-{self.issued}"
        if (instead := self.before_answer()) is not None:
            return instead
        return httpx.Response(200, json={"access_token": self.access, "refresh_token": self.refresh, "expires_in": 1800})


async def turns_until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0)
    pytest.fail("it never came true")


def rotating() -> tuple[KeptGrants, Vendor]:
    grants = KeptGrants({"gra_1": tokens(client_id="id:1", client_secret="canary-s/1", refresh_token="r-0")})
    return grants, Vendor(grants.journal)
