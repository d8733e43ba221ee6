"""HTTP/1.1 as it is spoken to tools: one request at a time on a kept line, sent once, its answer read within bounds.

A line is one open TCP connection, pinned to an address that the guard judged.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from aiohappyeyeballs import AddrInfoType, start_connection
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

KEPT_S: Final = 4.0
"""Shorter than the idle time of common servers (uvicorn: 5 s), so that a request seldom meets a closing connection."""
RESOLVED_S: Final = 10.0  # so long the addresses of a name serve, as they were judged
MOST_HEAD: Final = 64 * 1024
_FINAL: Final = 200  # what is less announces an answer
_NEXT_ADDRESS_S: Final = 0.25  # after which another address of a name is tried beside the first (RFC 8305)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]


class LineFault(Exception):
    """What went wrong on a line, in words that follow the host's name. Never what a stranger wrote."""


class Place(NamedTuple):
    """Where a line leads."""

    host: str
    port: int
    tls: bool

    @property
    def named(self) -> str:
        """The value of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Answered(NamedTuple):
    """An answer as it came, not yet decompressed. `headers` with lower-case names; what came twice is one list."""

    status: int
    headers: dict[str, str]
    body: bytes


def written(method: str, target: str, place: Place, headers: Mapping[str, str], content: bytes | None) -> bytes:
    """Write a request. Raises ValueError, without the value, where a header would end its line."""
    if _CONTROL.search("".join((method, target, *headers, *headers.values()))):
        raise ValueError("a header holds a control character; nothing was sent")
    lines = [f"{method} {target} HTTP/1.1", f"host: {place.named}", *(f"{name}: {value}" for name, value in headers.items())]
    if content is not None or method != "GET":
        lines.append(f"content-length: {len(content or b'')}")
    return "\r\n".join((*lines, "", "")).encode() + (content or b"")


class Line(asyncio.Protocol):
    """One line. It is asked one thing at a time, and closed by whatever is no clean answer to it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answered] | None = None
        self._most = self._heard = 0
        self._heard_at = self.kept_at = 0.0
        self._status, self._headers, self._body = 0, dict[str, str](), bytearray()

    @property
    def usable(self) -> bool:
        """Whether something can be asked."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes, most: int, quiet_s: float | None) -> asyncio.Future[Answered]:
        """Send, and give the answer with a body of at most `most` bytes; `quiet_s`: how long nothing may come.

        Raises `LineFault` later. Whoever does not wait for the end must close the line.
        """
        assert self._transport is not None  # noqa: S101 (only what is usable is asked)
        self._answer, self._most, self._heard, self._status = self._loop.create_future(), most, 0, 0
        if quiet_s is not None:
            self._heard_at = self._loop.time()
            self._loop.call_later(quiet_s, self._listen, self._answer, quiet_s)
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def break_off(self) -> None:
        """Hang up at once: what was not sent yet is not sent later."""
        if self._transport is not None:
            self._transport.abort()

    def _listen(self, answer: asyncio.Future[Answered], quiet_s: float) -> None:
        """Hang up on a server that says nothing for too long."""
        if answer.done():
            return
        left = self._heard_at + quiet_s - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._listen, answer, quiet_s)
        else:
            self._fail("sent nothing for too long")

    def _fail(self, said: str) -> None:
        self.break_off()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(LineFault(said))

    def _end(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(Answered(self._status, self._headers, bytes(self._body)))

    # --- what the event loop says -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line is open."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Read on. What nobody asked for, or what follows an answer, ends the line."""
        if self._answer is None:
            return self.close()
        self._heard_at = self._loop.time()
        if not self._status:
            self._heard += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail("answered with something that is no HTTP")
        if not self._status and self._heard > MOST_HEAD:
            self._fail("answered with a head that does not end")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is gone. An answer of no stated length ends with it."""
        unstated = self._status >= _FINAL and not {"content-length", "transfer-encoding"} & self._headers.keys()
        if unstated and exc is None:
            self._end()
        else:
            self._fail("broke its answer off" if self._heard else "hung up without an answer")

    # --- what the parser says -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins; with nobody waiting it is none of ours."""
        self._status, self._headers, self._body = 0, {}, bytearray()
        if self._answer is None:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers come too late."""
        if not self._status:
            known, said = name.decode("latin-1").lower(), value.decode("latin-1")
            self._headers[known] = f"{self._headers[known]}, {said}" if known in self._headers else said

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Take a piece, as long as there is room."""
        self._body += body
        if len(self._body) > self._most:
            self._fail(f"answered with status {self._status} and more than {self._most} bytes")

    def on_message_complete(self) -> None:
        """That was all; after a word that only says that more will come, the answer itself is still to come."""
        if self._status >= _FINAL:
            if not self._parser.should_keep_alive():
                self.close()
            self._end()


class Lines:
    """Keeps lines to places, so many at once in all and to each; who finds none free waits for its turn."""

    def __init__(self, resolve: Resolve, tls: Callable[[], ssl.SSLContext], most: int, most_each: int) -> None:
        self._resolve, self._tls = resolve, tls
        self._room = asyncio.Semaphore(most)
        self._shares: defaultdict[Place, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(most_each))
        self._kept: defaultdict[Place, list[Line]] = defaultdict(list)
        self._known: dict[tuple[str, int], tuple[float, asyncio.Future[list[str]]]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(
        self, place: Place, request: bytes, *, most: int, connect_s: float, quiet_s: float | None, leave: Callable[[], None]
    ) -> Answered:
        """Send once and read the answer. `leave` is called just before the first byte leaves.

        Raises `LineFault`, and what the guard raises for an address that must not be called.
        """
        async with self._shares[place], self._room:
            line = self._free(place) or await self._open(place, connect_s)
            try:
                leave()
                answered = await line.ask(request, most, quiet_s)
            except BaseException:
                line.break_off()
                raise
            self._keep(place, line)
            return answered

    async def aclose(self) -> None:
        """Hang up on all that wait for the next request."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for lines in self._kept.values():
            for line in lines:
                line.close()
        self._kept.clear()
        await asyncio.sleep(0)

    # --- kept lines ---------------------------------------------------------------------------------------------------

    def _free(self, place: Place) -> Line | None:
        """Give the line that was used last."""
        kept = self._kept[place]
        while kept:
            line = kept.pop()
            if line.usable and asyncio.get_running_loop().time() - line.kept_at < KEPT_S:
                return line
            line.close()
        return None

    def _keep(self, place: Place, line: Line) -> None:
        if self._closed:
            return line.close()
        if line.usable:
            loop = asyncio.get_running_loop()
            line.kept_at = loop.time()
            self._kept[place].append(line)
            if self._sweeper is None:
                self._sweeper = loop.call_later(KEPT_S, self._sweep)
        return None

    def _sweep(self) -> None:
        """Hang up where nothing was asked for long enough."""
        loop = asyncio.get_running_loop()
        self._sweeper = None
        for place, lines in list(self._kept.items()):
            old = [line for line in lines if not line.usable or loop.time() - line.kept_at >= KEPT_S]
            for line in old:
                line.close()
                lines.remove(line)
            if not lines:
                del self._kept[place]
        if self._kept:
            self._sweeper = loop.call_later(KEPT_S / 2, self._sweep)

    # --- new lines ----------------------------------------------------------------------------------------------------

    async def _open(self, place: Place, seconds: float) -> Line:
        try:
            async with asyncio.timeout(seconds):
                return await self._connected(place, await self._addresses(place))
        except TimeoutError:
            raise LineFault("could not be reached in time") from None
        except ssl.SSLCertVerificationError as error:
            raise LineFault(f"has a certificate that is not valid ({error.verify_message})") from None
        except ssl.SSLError:
            raise LineFault("made no TLS connection") from None
        except ConnectionRefusedError:
            raise LineFault("refused the connection") from None
        except OSError:
            raise LineFault("could not be reached") from None

    async def _connected(self, place: Place, addresses: list[AddrInfoType]) -> Line:
        loop = asyncio.get_running_loop()
        opened = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1, loop=loop)
        try:
            tls = {"ssl": self._tls(), "server_hostname": place.host} if place.tls else {}
            return (await loop.create_connection(Line, sock=opened, **tls))[1]  # type: ignore[call-overload, no-any-return]
        except BaseException:
            opened.close()
            raise

    async def _addresses(self, place: Place) -> list[AddrInfoType]:
        """Give the judged addresses of a name; who asks meanwhile, or soon after, gets the same."""
        asked = (place.host, place.port)
        loop = asyncio.get_running_loop()
        until, found = self._known.get(asked, (0.0, None))
        if found is None or loop.time() >= until:
            found = asyncio.ensure_future(self._resolve(*asked))
            found.add_done_callback(lambda done: done.cancelled() or done.exception())  # also where nobody waits any more
            self._known[asked] = (loop.time() + RESOLVED_S, found)
        try:
            addresses = await asyncio.shield(found)
        except OSError:
            raise LineFault("has no address") from None
        finally:
            if found.done() and (found.cancelled() or found.exception() is not None):
                self._known.pop(asked, None)
        return [_info(address, place.port) for address in addresses]


def _info(address: str, port: int) -> AddrInfoType:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)
