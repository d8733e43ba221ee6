"""HTTP on the wire, with bounds: uvicorn's fast parser takes heads of any length for as long as they come."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD: Final = 64 * 1024
MAX_REQUEST: Final = 4 * 1024 * 1024  # with its framing; what a door takes is far less, and answered before
HEAD_S: Final = 10.0

_TEXT: Final = {
    408: b"The head of the request did not arrive in time.",
    431: b"The head of the request is too large; at most 64 KiB are taken.",
}
_REASON: Final = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class BoundedHttp(HttpToolsProtocol):
    """Takes a head of at most 64 KiB within 10 s, answers 431 or 408 to any other, and hangs up on endless bodies."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken = 0
        self._in_head = True
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head, but not for ever."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and look whether it is still a request that anybody could want."""
        if self.transport.is_closing():
            return
        if self._in_head and self._patience is None:
            self._wait_for_head()
        self._taken += len(data)
        super().data_received(data)
        if self._in_head and self._taken > MAX_HEAD:
            self._refuse(431)
        elif self._taken > MAX_REQUEST:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes next is another head."""
        super().on_message_complete()
        self._in_head, self._taken = True, 0

    def _wait_for_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_S, self._refuse, 408)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: int) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            return
        text = _TEXT[status]
        head = b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, _REASON[status], len(text)) + text)
        self.transport.close()
