"""The production transport: aiohttp below the httpx interface, pinned to judged addresses, watched byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from lifecyclehub.vendor.guard import GuardedResolver, SsrfGuard

TransportFactory: TypeAlias = Callable[[bool], httpx.AsyncBaseTransport]
"""Makes the transport for public addresses (False), or for tools that the business hosts itself (True)."""

KEEPALIVE_S: Final = 4.0
"""Shorter than the idle time of common servers (uvicorn: 5 s), so that a request seldom meets a closing connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much at once: connections in all and to one host; seconds to get one; seconds without a byte."""

    connections: int = 128
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


async def _leaving(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
    if (wire := WIRE.get()) is not None:
        wire.leave()


class _Watched(AiohttpTransport):
    """Says that it tells `WIRE` when a request leaves."""

    watches_the_wire = True


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
                ssl=httpx.create_ssl_context(trust_env=False),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=[trace],
        )
        # aiohttp sends PUT and DELETE again by itself when a kept connection breaks; some vendors create with PUT.
        opened._retry_connection = False  # noqa: SLF001
        return opened

    return _Watched(client=session, trust_env=False)


def default_factory(limits: Limits) -> TransportFactory:
    """Give the factory for production."""

    def make(private: bool) -> httpx.AsyncBaseTransport:  # noqa: FBT001
        return aiohttp_transport(limits, SsrfGuard(private=private))

    return make
