"""The production transport: aiohttp below the httpx interface, pinned to judged addresses, watched byte by byte."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

import aiohttp
import httpx
from httpx_aiohttp.transport import AiohttpResponseStream, AiohttpTransport, map_aiohttp_exceptions

from lifecyclehub.errors import TryAgain
from lifecyclehub.messages import Reply
from lifecyclehub.vendor.guard import GuardedResolver, SsrfGuard

TransportFactory: TypeAlias = Callable[[bool], httpx.AsyncBaseTransport]
"""Makes the transport for public addresses (False), or for tools that the business hosts itself (True)."""

KEEPALIVE_S: Final = 4.0
"""Shorter than the idle time of common servers (uvicorn: 5 s), so that a request seldom meets a closing connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much at once: connections in all and to one host; seconds to get one; seconds without a byte.

    In all many times what one host may have: tools that do not answer must leave some for the others.
    """

    connections: int = 512
    per_host: int = 64
    connect_s: float = 10.0
    read_s: float = 30.0


class Wire:
    """What is known of one request on its way. `watched`: the transport tells when; `left`: bytes may have left."""

    __slots__ = ("_on_sent", "left", "watched")

    def __init__(self, on_sent: Callable[[], None] | None = None) -> None:
        self._on_sent, self.watched, self.left = on_sent, False, False

    def leave(self) -> None:
        """Note that from now on the vendor may see the request."""
        if not self.left:
            self.left = True
            if self._on_sent is not None:
                self._on_sent()


WIRE: ContextVar[Wire | None] = ContextVar("wire", default=None)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Give what vendors' certificates are checked with; to read all those it trusts takes longer than a request."""
    return httpx.create_ssl_context(trust_env=False)


async def _leaving(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
    if (wire := WIRE.get()) is not None:
        wire.leave()


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until a connection is there, until there is room for it, between two bytes, and for writing."""

    connect: float
    pool: float
    read: float
    write: float


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A rendered request: `headers` with lower-case names, credentials among them."""

    method: str
    url: str
    host: str
    headers: dict[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)

    def as_httpx(self, patience: Patience) -> httpx.Request:
        """Give it as httpx's transports take it."""
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        made = httpx.Request(self.method, self.url, headers=headers, content=self.content)
        made.extensions["timeout"] = {name: getattr(patience, name) for name in ("connect", "pool", "read", "write")}
        return made


async def read_reply(response: httpx.Response, host: str, size_cap: int) -> Reply | TryAgain:
    """Read what was answered, decompressed, at most `size_cap` bytes."""
    if "," in response.headers.get("content-encoding", ""):
        return TryAgain(f"{host} answered with status {response.status_code}, compressed more than once")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > size_cap:
            return TryAgain(f"{host} answered with status {response.status_code} and more than {size_cap} bytes")
    return Reply(status=response.status_code, headers=dict(response.headers.items()), body=bytes(body))


class Direct(AiohttpTransport):
    """Sends through aiohttp without httpx's requests and responses between, and tells `WIRE` when a request leaves."""

    async def reply(self, request: Outgoing, patience: Patience, size_cap: int) -> Reply | TryAgain:
        """Send and read the reply. Raises what httpx's transports raise."""
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        timeout = aiohttp.ClientTimeout(sock_connect=patience.connect, sock_read=patience.read, connect=patience.pool)
        with map_aiohttp_exceptions():
            response = await self.client.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.content or None,
                allow_redirects=False,
                auto_decompress=False,
                compress=False,
                timeout=timeout,
            )
            try:
                return await _read(response, request.host, size_cap)
            finally:
                response.release()


async def _read(response: aiohttp.ClientResponse, host: str, size_cap: int) -> Reply | TryAgain:
    if response.headers.get("content-encoding", "identity") != "identity":  # httpx decompresses, piece by piece
        stream = AiohttpResponseStream(response)
        return await read_reply(httpx.Response(response.status, headers=response.raw_headers, stream=stream), host, size_cap)
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > size_cap:
            return TryAgain(f"{host} answered with status {response.status} and more than {size_cap} bytes")
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        lower = name.lower()
        headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
    return Reply(status=response.status, headers=headers, body=bytes(body))


def aiohttp_transport(limits: Limits, guard: SsrfGuard) -> httpx.AsyncBaseTransport:
    """Make a transport that connects only where `guard` allows, never sends twice, and keeps no cookies."""

    def session() -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_leaving)  # called just before the first byte is written
        opened = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limits.connections,
                limit_per_host=limits.per_host,
                keepalive_timeout=KEEPALIVE_S,
                resolver=GuardedResolver(guard),
                ssl=_tls(),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=[trace],
        )
        # aiohttp sends PUT and DELETE again by itself when a kept connection breaks; some vendors create with PUT.
        opened._retry_connection = False  # noqa: SLF001
        return opened

    return Direct(client=session, trust_env=False)


def default_factory(limits: Limits) -> TransportFactory:
    """Give the factory for production."""

    def make(private: bool) -> httpx.AsyncBaseTransport:  # noqa: FBT001
        return aiohttp_transport(limits, SsrfGuard(private=private))

    return make
