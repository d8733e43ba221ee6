"""What all answers over HTTP have in common: problem details, and headers that keep browsers from guessing."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_NO_MORE: Mapping[str, str] = {}
_RAW = [(name.lower().encode(), value.encode()) for name, value in _SAFE.items()]


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None, **more: object) -> JSONResponse:
    """Give a problem detail (RFC 9457)."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def failed() -> JSONResponse:
    """Say that it is our fault, and no more."""
    return problem(500, "Failed", "Something went wrong here; the log of the hub says what. Try again.")


class Empty:
    """An answer without a body and with safe headers, made without what other answers need: every delivery gets one."""

    def __init__(self, status: int, headers: Mapping[str, str] = _NO_MORE) -> None:
        self._status, self._headers = status, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self._headers.items()]
        if self._status not in (204, 304):
            headers.append((b"content-length", b"0"))
        await send({"type": "http.response.start", "status": self._status, "headers": headers + _RAW})
        await send({"type": "http.response.body"})


class SafeHeaders:
    """Adds headers to every answer that does not bring its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                message["headers"] = headers + [safe for safe in _RAW if safe[0] not in there]
            await send(message)

        await self._app(scope, receive, add if scope["type"] == "http" else send)
