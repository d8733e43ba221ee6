"""`POST /hooks/{endpoint}`: the doorbell. A plain route, since every delivery passes here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lifecyclehub.errors import DeliveryRejected
from lifecyclehub.hub import Hub
from lifecyclehub.intake.receive import MAX_BODY, Incoming
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.web.answers import problem

READ_S = 10.0
_RETRY_AFTER = {"Retry-After": "5"}


async def _body(request: Request) -> bytes:
    """Read at most one byte more than is taken, however the sender frames it."""
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY:
            break
    return b"".join(chunks)


def hooks_route(hub: Callable[[], Hub]) -> Route:
    """Give the route; `hub` gives the running hub."""

    async def receive(request: Request) -> Response:
        one = hub()
        if not one.ready:
            return Response(status_code=503, headers=_RETRY_AFTER)
        path = request.scope["raw_path"].decode("ascii", "replace")
        query = request.scope["query_string"].decode("ascii", "replace")
        try:
            async with asyncio.timeout(READ_S):
                body = await _body(request)
        except TimeoutError:
            return problem(408, "Too slow", f"The body did not arrive within {READ_S:g} s.")
        except ClientDisconnect:
            return Response(status_code=400)
        incoming = Incoming(
            endpoint=request.path_params["endpoint"],
            method=request.method,
            url=one.public_url() + path + (f"?{query}" if query else ""),
            headers=dict(request.headers.items()),
            body=body,
        )
        try:
            answer = await one.reception.receive(incoming)
        except DeliveryRejected as rejection:
            # The sender learns what is wrong with its request, never what we verified it against.
            if rejection.status == 401:  # vendors check for a 401 without a body
                return Response(status_code=401)
            return problem(rejection.status, rejection.reason, rejection.detail)
        except (StoreBusy, StoreClosed):
            return Response(status_code=503, headers=_RETRY_AFTER)
        return Response(status_code=answer.status, headers=dict(answer.headers))

    return Route("/hooks/{endpoint}", receive, methods=["POST"])
