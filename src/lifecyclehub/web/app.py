"""The web application: the hooks, health, the API. It starts the hub and stops it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lifecyclehub import __version__
from lifecyclehub.errors import HubError
from lifecyclehub.hub import Hub
from lifecyclehub.store import tables
from lifecyclehub.web.answers import SafeHeaders, problem
from lifecyclehub.web.api import act, handlers, look
from lifecyclehub.web.api.problems import ProblemDetail
from lifecyclehub.web.hooks import Doorbell, hooks_route

DESCRIPTION = """
What this lifecyclehub knows, and why: clients, engagements with their timeline, what came in, what was done in the tools.

Every request carries a token: `Authorization: Bearer lch_…`. `lifecyclehub tokens make <name>` makes one.
Lists come in pages: pass `next` of an answer as `cursor` to go on. Money is whole minor units with an ISO 4217
currency, times are UTC. What goes wrong is a problem detail (RFC 9457) whose `detail` says what to do.
""".strip()


TAGS = [
    {"name": "look", "description": "What is known, what waits, what was done, and why."},
    {"name": "act", "description": "Look again, put aside, take up again. Each can be repeated without harm."},
]


class Api(FastAPI):
    """The application; its OpenAPI document also describes what goes wrong. A delivery goes past all of FastAPI's machinery."""

    def __init__(self, bell: Doorbell, **about: Any) -> None:
        super().__init__(**about)
        self._bell = bell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self._bell.rung(scope):
            await self._bell(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Give the OpenAPI document."""
        document = super().openapi()
        _, found = models_json_schema([(ProblemDetail, "serialization")], ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= found["$defs"]
        return document


class _Holder:
    """Holds the running hub for the routes."""

    def __init__(self) -> None:
        self.hub: Hub | None = None

    def __call__(self) -> Hub:
        if self.hub is None:
            raise HubError("the hub is not running")
        return self.hub


def create_app(hub_factory: Callable[[], Hub]) -> FastAPI:
    """Make the application. Its lifespan makes the hub, starts it and stops it; ConfigurationError comes through."""
    holder = _Holder()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        hub = holder.hub = hub_factory()
        try:
            await hub.start()
            yield
        finally:
            await hub.stop()

    app = Api(
        Doorbell(holder),
        title="lifecyclehub",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        openapi_tags=TAGS,
        redirect_slashes=False,  # the way would lead to the host that was asked for, over plain HTTP
        exception_handlers=handlers(),
    )
    app.state.hub = holder
    app.add_middleware(SafeHeaders)
    # The first route that fits is taken, and FastAPI makes the API's ready only when it comes to them: deliveries go first.
    app.router.routes += [hooks_route(holder), Route("/healthz", _alive), Route("/readyz", _ready)]
    app.include_router(look)
    app.include_router(act)
    return app


async def _alive(_: Request) -> Response:
    """Say that the process answers."""
    return JSONResponse({"status": "alive"})


def _look(conn: Connection) -> None:
    conn.execute(select(tables.installation.c.id)).first()


async def _ready(request: Request) -> Response:
    """Say whether deliveries are taken: the hub has started, is not stopping, and its database answers."""
    hub: Hub | None = request.app.state.hub.hub
    try:
        if hub is not None and hub.ready:
            await hub.store.read(_look)
            return JSONResponse({"status": "ready"})
    except (SQLAlchemyError, HubError):
        return problem(503, "Not ready", "The database does not answer.")
    return problem(503, "Not ready", "The hub is starting or stopping.")
