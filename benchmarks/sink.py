"""The tools' side: a bare HTTP/1.1 server that answers at once whatever it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools

Answer = Callable[[str, str, bytes], tuple[int, bytes]]
"""Gives status and JSON body for a method, a path with its query, and a body."""

_REASONS = {200: b"OK", 201: b"Created", 404: b"Not Found"}


class _Conversation(asyncio.Protocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # --- called by the parser -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status, body = self._answer(self._parser.get_method().decode(), self._url.decode(), self._body)
        self._transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (status, _REASONS.get(status, b"OK"), len(body), body)
        )


class Sink:
    """A running sink. `answer` may be exchanged between measurements."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _method, _path, _body: (404, b"{}")
        self.requests = 0
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Conversation(self._counted), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def _counted(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.requests += 1
        return self.answer(method, path, body)

    def stop(self) -> None:
        """Listen no more."""
        self._server.close()
