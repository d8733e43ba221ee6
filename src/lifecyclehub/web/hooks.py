"""`POST /hooks/{endpoint}`: the doorbell. It stands before routes and their machinery, since every delivery passes here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lifecyclehub.errors import DeliveryRejected
from lifecyclehub.hub import Hub
from lifecyclehub.intake.receive import MAX_BODY, Incoming
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.web.answers import Empty, SafeHeaders, failed, problem

READ_S = 10.0
KEEP_S = 3.0
"""So long keeping may take: vendors give up after three seconds. What is kept all the same folds when it comes again."""
_PATH: Final = "/hooks/"
_RETRY_AFTER: Final = {"Retry-After": "5"}


async def _read(receive: Receive, body: bytearray) -> None:
    """Read little more than is taken, however the sender frames it."""
    more = True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)


class Doorbell:
    """Answers `POST /hooks/{endpoint}` as an application of its own; `hub` gives the running hub."""

    def __init__(self, hub: Callable[[], Hub]) -> None:
        self._hub = hub

    @staticmethod
    def rung(scope: Scope) -> bool:
        """Tell whether a request is a delivery to some endpoint, which may be there or not."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(_PATH):
            return False
        endpoint = scope["path"][len(_PATH) :]
        return bool(endpoint) and "/" not in endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except Exception:
            await SafeHeaders(failed())(scope, receive, send)
            raise  # the server logs it
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> ASGIApp:
        hub = self._hub()
        if not hub.ready:
            return Empty(503, _RETRY_AFTER)
        path = scope["raw_path"].decode("ascii", "replace")
        query = scope["query_string"].decode("ascii", "replace")
        body = bytearray()
        in_time = True
        try:
            async with asyncio.timeout(READ_S):
                await _read(receive, body)
        except TimeoutError:
            in_time = False
        except ClientDisconnect:
            return Empty(400)
        incoming = Incoming(
            endpoint=scope["path"][len(_PATH) :],
            method=scope["method"],
            url=hub.public_url() + path + (f"?{query}" if query else ""),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            body=bytes(body),
        )
        try:
            if not in_time:
                await hub.reception.too_slow(incoming)
                return SafeHeaders(problem(408, "Too slow", f"The body did not arrive within {READ_S:g} s."))
            async with asyncio.timeout(KEEP_S):
                answer = await hub.reception.receive(incoming)
        except DeliveryRejected as rejection:
            # The sender learns what is wrong with its request, never what we verified it against.
            if rejection.status == 401:  # vendors check for a 401 without a body
                return Empty(401)
            later = _RETRY_AFTER if rejection.status == 503 else None
            return SafeHeaders(problem(rejection.status, rejection.reason, rejection.detail, later))
        except (StoreBusy, StoreClosed, TimeoutError):
            return Empty(503, _RETRY_AFTER)
        return Empty(answer.status, answer.headers)


def hooks_route(hub: Callable[[], Hub]) -> Route:
    """Give the doorbell as a route, for an application that has nothing else, and for what is no POST."""
    return Route(f"{_PATH}{{endpoint}}", Doorbell(hub), methods=["POST"])
