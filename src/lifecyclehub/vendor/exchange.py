"""One request, one reply: rendering for the wire, the total deadline, the size cap, and what a failure means."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode

import aiohttp
import httpx

from lifecyclehub import __version__
from lifecyclehub.errors import ConfigurationError, TryAgain
from lifecyclehub.jsonio import dumps
from lifecyclehub.messages import Reply, Request
from lifecyclehub.ports import Clock
from lifecyclehub.vendor.transport import WIRE, Direct, Limits, Outgoing, Patience, Wire, read_reply

_OURS: Final = frozenset(
    {"authorization", "host", "cookie", "content-length", "transfer-encoding", "connection", "accept-encoding", "user-agent"}
)
_BASIC_HEADERS: Final = {
    "user-agent": f"lifecyclehub/{__version__}",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
}
_HIDDEN: Final = "[our credentials]"
_LEAST: Final = 8  # a shorter text may be anything
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FAULTS: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError)
_NOT_YET_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)


@lru_cache(maxsize=1024)
def _address(base: str, path: str, query: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Give a URL's text and host. Raises `ConfigurationError` for a path that could lead elsewhere."""
    url = httpx.URL(base + _checked_path(path))
    if query:
        url = url.copy_with(query="&".join(filter(None, (url.query.decode(), urlencode(query)))).encode())
    return str(url), url.host


def on_the_wire(base: str, request: Request, credentials: Mapping[str, str]) -> Outgoing:
    """Render a request for one base address; credentials win over the plugin's headers.

    Raises `ConfigurationError` for a path or header that could lead elsewhere; nothing is sent then.
    """
    url, host = _address(base, request.path, request.query)
    headers = dict(_BASIC_HEADERS)
    for name, value in request.headers:
        if _CONTROL.search(name + value):
            raise ConfigurationError(f"the connector put a control character into the header {name!r}; nothing was sent.")
        if name.lower() not in _OURS:
            headers[name.lower()] = value
    headers |= {name.lower(): value for name, value in credentials.items()}
    content: bytes | None = None
    if request.form is not None:
        content = urlencode(request.form).encode()
        headers["content-type"] = "application/x-www-form-urlencoded"
    elif request.json is not None:
        content = dumps(request.json).encode()
        headers.setdefault("content-type", "application/json")
    return Outgoing(request.method, url, host, headers, content)


def without_credentials(reply: Reply, credentials: Mapping[str, str]) -> Reply:
    """Give a reply without what we authenticate with: some servers show what they were sent, and replies are kept."""
    for secret in _secrets_in(credentials):
        if secret.encode() in reply.body:
            reply = replace(reply, body=reply.body.replace(secret.encode(), _HIDDEN.encode()))
        if any(secret in value for value in reply.headers.values()):
            reply = replace(reply, headers={name: value.replace(secret, _HIDDEN) for name, value in reply.headers.items()})
    return reply


def _secrets_in(credentials: Mapping[str, str]) -> list[str]:
    found = []
    for value in credentials.values():
        kind, _, secret = value.rpartition(" ")
        found.append(secret)
        if kind.lower() == "basic":
            with suppress(ValueError):
                found.append(base64.b64decode(secret).decode("utf-8", "replace").partition(":")[2])
    return [one for one in found if len(one) >= _LEAST]


def _checked_path(path: str) -> str:
    segments = path.partition("?")[0].lower().replace("%2e", ".").split("/")
    if not path.startswith("/") or _CONTROL.search(path) or "\\" in path or "#" in path or {".", ".."} & set(segments):
        raise ConfigurationError(
            f"the connector asked for the path {path[:200]!r}; nothing was sent.",
            mend="A path starts with a slash and holds no dot segments, backslashes or #; ids in it are percent-encoded.",
        )
    return path


class Exchange:
    """Hands requests to a transport and takes replies, within the deadline and the size cap."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock, self._limits = clock, limits

    async def run(
        self, transport: httpx.AsyncBaseTransport, request: Outgoing, *, deadline: float, size_cap: int, wire: Wire
    ) -> Reply | TryAgain:
        """Send once. A fault comes back as a value, which says whether the vendor may have seen the request."""
        host = request.host
        left = deadline - self._clock.monotonic()
        if left <= 0:
            return TryAgain(f"the deadline passed before {host} was called", sent=False)
        connect = min(self._limits.connect_s, left)
        patience = Patience(connect=connect, pool=connect, read=min(self._limits.read_s, left), write=left)
        WIRE.set(wire)
        try:
            async with asyncio.timeout(left):
                if isinstance(transport, Direct):
                    wire.watched = True
                    return await transport.reply(request, patience, size_cap)
                return await self._reply(transport, request, patience, size_cap, wire)
        except TimeoutError:
            return TryAgain(f"{host} did not answer within {left:.1f} s", sent=_may_have_left(wire, None))
        except _FAULTS as error:
            return TryAgain(_said(host, error), sent=_may_have_left(wire, error))
        finally:
            WIRE.set(None)

    @staticmethod
    async def _reply(
        transport: httpx.AsyncBaseTransport, outgoing: Outgoing, patience: Patience, size_cap: int, wire: Wire
    ) -> Reply | TryAgain:
        """Send through any other transport that httpx knows, such as one that plays the vendor."""
        wire.leave()
        request = outgoing.as_httpx(patience)
        response = await transport.handle_async_request(request)
        response.request = request
        try:
            return await read_reply(response, outgoing.host, size_cap)
        finally:
            with suppress(*_FAULTS):
                await response.aclose()


_FAULT_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (aiohttp.ClientConnectorDNSError, "has no address"),
    (aiohttp.ClientConnectorSSLError, "made no TLS connection"),
    (aiohttp.ServerDisconnectedError, "hung up without an answer"),
    (aiohttp.ClientPayloadError, "broke its answer off"),
    (aiohttp.SocketTimeoutError, "sent nothing for too long"),
    (aiohttp.ConnectionTimeoutError, "could not be reached in time"),
    (aiohttp.ClientResponseError, "answered with something that is no HTTP"),
)


def _said(host: str, error: Exception) -> str:
    """Say what went wrong by the kind of error: its text is not ours, and its object holds the request with the credentials.

    The transport's own kinds are asked, which are below httpx's: that calls most of them a time-out.
    """
    cause = error.__cause__ or error
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        why = getattr(cause.certificate_error, "verify_message", "")
        return f"{host} has a certificate that is not valid{f' ({why})' if why else ''}"
    if isinstance(cause, aiohttp.ClientConnectorError) and isinstance(cause.os_error, ConnectionRefusedError):
        return f"{host} refused the connection"
    words = next((words for kind, words in _FAULT_WORDS if isinstance(cause, kind)), None)
    return f"{host} {words}" if words else f"{host}: {type(cause).__name__}"


def _may_have_left(wire: Wire, error: Exception | None) -> bool:
    """Say whether the vendor may have seen the request: what was watched, else what kind of fault it is."""
    return wire.left if wire.watched else not isinstance(error, _NOT_YET_SENT)
