"""What carries a request: our own lines in production, any transport of httpx elsewhere, such as one that plays the vendor."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import httpx

from lifecyclehub.errors import TryAgain
from lifecyclehub.messages import Reply
from lifecyclehub.vendor.guard import SsrfGuard
from lifecyclehub.vendor.lines import Lines, Place, written

TransportFactory: TypeAlias = Callable[[bool], httpx.AsyncBaseTransport]
"""Makes the transport for public addresses (False), or for tools that the business hosts itself (True)."""

_PIECE: Final = 16 * 1024  # of a packed answer, unpacked before the next: it may become a thousand times as much


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much at once: lines in all and to one place; seconds to open one; seconds without a byte.

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
"""The request that another transport than ours is just carrying."""


@functools.cache
def _tls() -> ssl.SSLContext:
    """Give what vendors' certificates are checked with; to read all those it trusts takes longer than a request."""
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until a connection is there, until there is room for it, between two bytes, and for writing."""

    connect: float
    pool: float
    read: float
    write: float


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A rendered request: `headers` with lower-case names, credentials among them. `target` is what of the URL is asked for."""

    method: str
    url: str
    host: str
    place: Place
    target: str
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


class Direct(httpx.AsyncBaseTransport):
    """Sends over our own lines, and tells a request's `Wire` when it leaves."""

    def __init__(self, limits: Limits, guard: SsrfGuard) -> None:
        self._lines = Lines(guard.resolve, _tls, limits.connections, limits.per_host)

    async def reply(self, request: Outgoing, patience: Patience, size_cap: int, wire: Wire) -> Reply | TryAgain:
        """Send and read the reply. Raises `LineFault`, and `AddressRefused` where the guard forbids it."""
        answered = await self._lines.ask(
            request.place,
            written(request.method, request.target, request.place, request.headers, request.content),
            most=size_cap,
            connect_s=patience.connect,
            quiet_s=patience.read if patience.read < patience.write else None,  # else the deadline comes first
            leave=wire.leave,
        )
        if answered.headers.get("content-encoding", "identity") != "identity":  # httpx decompresses, piece by piece
            packed = httpx.Response(answered.status, headers=answered.headers, stream=_Pieces(answered.body))
            return await read_reply(packed, request.host, size_cap)
        return Reply(status=answered.status, headers=answered.headers, body=answered.body)

    async def aclose(self) -> None:
        """Close all lines."""
        await self._lines.aclose()


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _PIECE):
            yield self._body[start : start + _PIECE]


def default_factory(limits: Limits) -> TransportFactory:
    """Give the factory for production."""

    def make(private: bool) -> httpx.AsyncBaseTransport:  # noqa: FBT001
        return Direct(limits, SsrfGuard(private=private))

    return make
