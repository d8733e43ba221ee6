"""What tests of the outbound side share: a clock that tests move, credentials in memory, a described tool, a raw server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import SecretStr

from lifecyclehub.connector import CONTRACT_VERSION, About, Auth, Host, Kind, Rate, Setting
from lifecyclehub.vendor.client import Client
from lifecyclehub.vendor.grants import Tokens
from lifecyclehub.vendor.target import Target
from lifecyclehub.vendor.transport import Limits, TransportFactory

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class MovedClock:
    """Stands still until somebody sleeps or a test moves it. `put`: by how much its wall clock was put forward or back."""

    def __init__(self) -> None:
        self.at, self.put, self.slept = 0.0, 0.0, []

    slept: list[float]

    def now(self) -> datetime:
        return START + timedelta(seconds=self.at + self.put)

    def monotonic(self) -> float:
        return 1000.0 + self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds
        await asyncio.sleep(0)


class Middle:
    """Randomness without surprise: the middle of every range."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def bytes(self, count: int) -> bytes:
        return bytes(count)


@dataclass
class KeptGrants:
    """A grant store in memory that remembers what was saved, and in which order relative to requests."""

    tokens: dict[str, Tokens]
    saved: list[Tokens] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    fail_saves: int = 0
    holders: dict[str, str] = field(default_factory=dict)

    async def load(self, grant_id: str) -> Tokens:
        await asyncio.sleep(0)
        return self.tokens[grant_id]

    async def hold(self, grant_id: str) -> bool:
        return self.holders.setdefault(grant_id, "me") == "me"

    async def let_go(self, grant_id: str) -> None:
        self.holders.pop(grant_id, None)

    async def save(self, grant_id: str, tokens: Tokens, instead_of: Tokens | None = None) -> bool:
        await asyncio.sleep(0)
        if instead_of is not None and self.tokens[grant_id].secrets != instead_of.secrets:
            return False
        if self.fail_saves and tokens.refreshing_since is None:
            self.fail_saves -= 1
            raise OSError("the disk is full")
        self.journal.append("noted" if tokens.refreshing_since else "saved")
        self.saved.append(tokens)
        self.tokens[grant_id] = tokens
        return True


BEARER = Auth(name="token", kind="bearer", label="Token", secrets=("token",))
ROTATING = Auth(
    name="oauth",
    kind="refresh",
    label="OAuth",
    secrets=("client_id", "client_secret", "refresh_token"),
    token_host="auth",
    token_path="/token",
    rotates=True,
    client_auth="basic",
)
MACHINE = Auth(
    name="machine",
    kind="client_credentials",
    label="Machine",
    secrets=("client_id", "client_secret"),
    token_host="auth",
    token_path="/token",
    scope="tickets:read",
    body_json=True,
)


def about(*, auth: Auth = BEARER, rates: tuple[Rate, ...] = (), hosts: tuple[Host, ...] | None = None, **more: Any) -> About:
    return About(
        id="papaya",
        name="Papaya",
        contract=CONTRACT_VERSION,
        roles=("crm",),
        kinds=(Kind(id="papaya.deal", fills="deal", poll_s=60),),
        doors=(),
        auths=(auth,),
        hosts=hosts
        or (Host(name="api", base="https://api.papaya.example/v1"), Host(name="auth", base="https://id.papaya.example")),
        actions=(),
        rates=rates,
        **more,
    )


def tokens(**secrets: str) -> Tokens:
    return Tokens(secrets={name: SecretStr(value) for name, value in secrets.items()})


def target(*, auth: Auth = BEARER, settings: Mapping[str, str] | None = None, self_hosted: bool = False, **more: Any) -> Target:
    return Target.of(
        connection="con_1",
        about=about(auth=auth, **more),
        auth=auth,
        grant="gra_1",
        settings=settings or {},
        account="acc-7",
        self_hosted=self_hosted,
    )


def client(
    handler: Callable[[httpx.Request], Any] | None = None,
    *,
    grants: KeptGrants | None = None,
    clock: Any = None,
    transport: TransportFactory | None = None,
    limits: Limits | None = None,
) -> Client:
    factory = transport or (None if handler is None else (lambda _private: httpx.MockTransport(handler)))
    return Client(
        clock=clock or MovedClock(),
        randomness=Middle(),
        grants=grants or KeptGrants({"gra_1": tokens(token="canary-token-1")}),
        transport=factory,
        limits=limits,
    )


@asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve loopback with a function of each connection's streams; gives the base address."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """Read one request from the wire: its first line, headers, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first, headers, body


__all__ = [
    "BEARER",
    "MACHINE",
    "ROTATING",
    "START",
    "KeptGrants",
    "Middle",
    "MovedClock",
    "Setting",
    "about",
    "client",
    "raw_server",
    "read_request",
    "replace",
    "target",
    "tokens",
]
