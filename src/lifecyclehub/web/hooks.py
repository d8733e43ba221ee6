"""`POST /hooks/{endpoint}`: the doorbell. It stands before routes and their machinery, since every delivery passes here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lifecyclehub.errors import DeliveryRejected
from lifecyclehub.hub import Hub
from lifecyclehub.intake.receive import MAX_BODY, Incoming
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.web.answers import problem

READ_S = 10.0
KEEP_S = 3.0
"""So long keeping may take: vendors give up after three seconds. What is kept all the same folds when it comes again."""
_PATH = "/hooks/"
_RETRY_AFTER = {"Retry-After": "5"}


async def _read(request: Request, body: bytearray) -> None:
    """Read little more than is taken, however the sender frames it."""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return


def receiving(hub: Callable[[], Hub]) -> Callable[[Request, str], Awaitable[Response]]:
    """Give what answers a request to an endpoint; `hub` gives the running hub."""

    async def receive(request: Request, endpoint: str) -> Response:
        one = hub()
        if not one.ready:
            return Response(status_code=503, headers=_RETRY_AFTER)
        path = request.scope["raw_path"].decode("ascii", "replace")
        query = request.scope["query_string"].decode("ascii", "replace")
        body = bytearray()
        in_time = True
        try:
            async with asyncio.timeout(READ_S):
                await _read(request, body)
        except TimeoutError:
            in_time = False
        except ClientDisconnect:
            return Response(status_code=400)
        incoming = Incoming(
            endpoint=endpoint,
            method=request.method,
            url=one.public_url() + path + (f"?{query}" if query else ""),
            headers=dict(request.headers.items()),
            body=bytes(body),
        )
        try:
            if not in_time:
                await one.reception.too_slow(incoming)
                return problem(408, "Too slow", f"The body did not arrive within {READ_S:g} s.")
            async with asyncio.timeout(KEEP_S):
                answer = await one.reception.receive(incoming)
        except DeliveryRejected as rejection:
            # The sender learns what is wrong with its request, never what we verified it against.
            if rejection.status == 401:  # vendors check for a 401 without a body
                return Response(status_code=401)
            later = _RETRY_AFTER if rejection.status == 503 else None
            return problem(rejection.status, rejection.reason, rejection.detail, later)
        except (StoreBusy, StoreClosed, TimeoutError):
            return Response(status_code=503, headers=_RETRY_AFTER)
        return Response(status_code=answer.status, headers=dict(answer.headers))

    return receive


def hooks_route(hub: Callable[[], Hub]) -> Route:
    """Give a route, for an application that has nothing else, and for what is no POST."""
    receive = receiving(hub)

    async def routed(request: Request) -> Response:
        return await receive(request, request.path_params["endpoint"])

    return Route(f"{_PATH}{{endpoint}}", routed, methods=["POST"])


class Doorbell:
    """Answers `POST /hooks/{endpoint}` itself, and hands on everything else."""

    def __init__(self, app: ASGIApp, hub: Callable[[], Hub]) -> None:
        self._app, self._receive = app, receiving(hub)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(_PATH):
            endpoint = scope["path"][len(_PATH) :]
            if endpoint and "/" not in endpoint:
                response = await self._receive(Request(scope, receive), endpoint)
                return await response(scope, receive, send)
        return await self._app(scope, receive, send)
