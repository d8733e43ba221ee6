"""Who may use the API: whoever shows a token. Checked before anything of the request is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.requests import Request
from starlette.responses import Response

from lifecyclehub.admin.tokens import note_use, token_of, use_is_worth_noting
from lifecyclehub.hub import Hub
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.web.answers import problem

MAX_BODY: Final = 64 * 1024
NOTE_S: Final = 1.0
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token of this installation: `lch_…`.")


def hub_of(request: Request) -> Hub:
    """Give the running hub."""
    hub: Hub = request.app.state.hub()
    return hub


class ProtectedRoute(APIRoute):
    """A route behind a token."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the check before everything else."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            return await _refuse(request) or await handle(request)

        return guarded


async def _refuse(request: Request) -> Response | None:
    """Answer for a request that may not go on; None for one that may."""
    hub = request.app.state.hub.hub
    if hub is None or not hub.ready:
        return problem(503, "Not ready", "The hub is starting or stopping. Try again in a moment.", {"Retry-After": "5"})
    kind, _, presented = request.headers.get("authorization", "").partition(" ")
    token = None
    if kind.lower() == "bearer" and presented.strip():
        token = await hub.store.read(token_of, presented.strip(), hub.clock.now())
    if token is None:
        return problem(
            401,
            "No valid token",
            "Send `Authorization: Bearer lch_…` with a token of this installation. `lifecyclehub tokens make <name>` makes one.",
            {"WWW-Authenticate": "Bearer"},
        )
    request.state.token = token.name
    if use_is_worth_noting(token, hub.clock.now()):
        with suppress(StoreBusy, StoreClosed, TimeoutError):  # who only looks is answered also while nothing can be written
            async with asyncio.timeout(NOTE_S):
                await hub.store.run(note_use, (token.id, hub.clock.now()))
    return _refuse_body(request) if request.method == "POST" else None


def _refuse_body(request: Request) -> Response | None:
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        return problem(411, "Length required", "Say how long the body is with a Content-Length header.")
    if int(length) > MAX_BODY:
        return problem(413, "Too large", f"The body has {length} bytes; at most {MAX_BODY} are taken. Send several requests.")
    return None


def protected(tag: str) -> APIRouter:
    """Make a router of `/api/v1` behind the token."""
    return APIRouter(prefix="/api/v1", tags=[tag], route_class=ProtectedRoute, dependencies=[Depends(_BEARER)])
