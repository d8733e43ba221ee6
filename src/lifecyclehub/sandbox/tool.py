"""What the simulated tools have in common: the server, faults, history, webhooks."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lifecyclehub.sandbox.faults import Fault, Misbehaviour
from lifecyclehub.sandbox.history import History
from lifecyclehub.sandbox.server import Server

Handler = Callable[[Request], Awaitable[Response]]


@functools.cache
def _tls() -> ssl.SSLContext:
    """Give what a public address behind TLS is checked with; reading all those certificates takes longer than most calls."""
    return httpx.create_ssl_context()


class VendorError(Exception):
    """The tool refuses a request, in the vendor's own shape."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, dict(headers or {})
        super().__init__(f"{status} {body}")


class Hook:
    """One webhook to be sent: where, the raw body, headers. `sign` makes the headers anew at each sending."""

    def __init__(self, url: str, body: bytes, sign: Callable[[bytes], dict[str, str]], about: dict[str, Any]) -> None:
        self.url, self.body, self.sign, self.about = url, body, sign, about


class Tool(ABC):
    """A simulated tool. A subclass gives its routes, checks its own auth, and calls `ring` after each change.

    Handlers raise `VendorError` for refusals; unknown and missing fields are refused as the vendor does it. `acts` are
    what people do in the tool (win a deal): the demo and the tests call them over HTTP at `/_sandbox/act/<name>`.
    """

    name: str
    clock: Callable[[], datetime]

    def __init__(self, home: Path) -> None:
        self.clock = lambda: datetime.now(UTC)
        self.history = History(home / f"{self.name}.history.jsonl")
        self.misbehaviour = Misbehaviour()
        self.sent: list[Hook] = []
        self.port = 0
        self.undelivered = 0
        self._sending: asyncio.Queue[list[Hook]] = asyncio.Queue()
        self._server: Server | None = None
        self._ringing: asyncio.Task[None] | None = None

    # --- for subclasses ---------------------------------------------------------------------------------------------

    @abstractmethod
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Give (method, path, handler) for the vendor's API."""

    @property
    @abstractmethod
    def acts(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Give what a person can do in this tool, by name; arguments come as JSON members."""

    @abstractmethod
    def check_auth(self, request: Request) -> None:
        """Raise `VendorError` when the request carries no valid credentials. Called for every API request."""

    def ring(self, *hooks: Hook) -> None:
        """Send webhooks soon, in this order unless told to misbehave."""
        if hooks:
            self._sending.put_nowait(list(hooks))

    def answered(self, hook: Hook, status: int) -> None:  # noqa: B027 (most tools show nothing of it)
        """Note how a delivery was answered (0: not at all), for tools that show it. Nothing by default."""

    def now(self) -> datetime:
        """The tool's clock: the machine's, unless `clock` was given another one."""
        return self.clock()

    def base_url(self) -> str:
        """Where the tool answers."""
        return f"http://127.0.0.1:{self.port}"

    # --- the server -------------------------------------------------------------------------------------------------

    def app(self) -> Starlette:
        """Give the ASGI application."""
        api = [Route(path, self._guarded(handler), methods=[method]) for method, path, handler in self.routes()]
        control = [
            Route("/_sandbox/misbehave", self._misbehave, methods=["POST"]),
            Route("/_sandbox/act/{name}", self._act, methods=["POST"]),
            Route("/_sandbox/resend", self._resend, methods=["POST"]),
            Route("/_sandbox/settled", self._settled, methods=["GET"]),
        ]
        return Starlette(routes=[*control, *api])

    def _guarded(self, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            fault = self.misbehaviour.next_for(request.method, request.url.path)
            if fault is not None:
                await request.body()  # a vendor has taken the request, and goes on with it when nobody listens any more
                early = await self._early_fault(fault)
                if early is not None:
                    self.history.add("misbehaved", do=fault.do, method=request.method, path=request.url.path)
                    return early
            try:
                self.check_auth(request)
                response = await handler(request)
            except VendorError as refusal:
                facts = {"method": request.method, "path": request.url.path, "status": refusal.status, "body": refusal.body}
                self.history.add("refused", **facts)
                return JSONResponse(refusal.body, refusal.status, refusal.headers)
            if fault is not None and fault.do == "lose_answer":
                self.history.add("misbehaved", do=fault.do, method=request.method, path=request.url.path)
                return _Cut()
            return response

        return answer

    async def _early_fault(self, fault: Fault) -> Response | None:
        match fault.do:
            case "slow":
                await asyncio.sleep(fault.seconds)
                return None
            case "fail":
                return PlainTextResponse("internal error", 500)
            case "rate_limit":
                return JSONResponse({"error": "rate limit"}, 429, {"Retry-After": str(int(fault.seconds))})
            case "refuse":
                return _Cut()
            case "html":
                return HTMLResponse("<html><body>Please log in</body></html>")
            case "garbage":
                return PlainTextResponse("{oops", media_type="application/json")
        return None

    async def start(self, port: int = 0) -> str:
        """Listen on loopback (port 0: any free one) and give the base URL."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        self.port = listener.getsockname()[1]
        self._server = Server(self.app())
        await self._server.begin(listener)
        self._ringing = asyncio.create_task(self._ring_all())
        return self.base_url()

    async def stop(self) -> None:
        """Stop listening and sending."""
        if self._ringing is not None:
            self._ringing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ringing
        if self._server is not None:
            await self._server.end()
        self.history.close()

    # --- webhooks ---------------------------------------------------------------------------------------------------

    async def _ring_all(self) -> None:
        async with httpx.AsyncClient(timeout=10, trust_env=False, verify=_tls()) as client:
            while True:
                hooks = await self._sending.get()
                self.undelivered += len(hooks)
                try:
                    await self._ring_burst(client, hooks)
                finally:
                    self.undelivered -= len(hooks)

    async def _ring_burst(self, client: httpx.AsyncClient, hooks: list[Hook]) -> None:
        manners = self.misbehaviour.hooks
        if manners.drop:
            for hook in hooks:
                self.history.add("dropped", url=hook.url, **hook.about)
            return
        if manners.lag_s:
            await asyncio.sleep(manners.lag_s)
        for hook in reversed(hooks) if manners.reverse else hooks:
            self.sent.append(hook)
            for _ in range(manners.copies):
                await self._deliver(client, hook)

    async def _deliver(self, client: httpx.AsyncClient, hook: Hook) -> None:
        """Send one hook as vendors do: again after a while until it is answered 2xx, up to 60 times."""
        for attempt in range(60):
            status = 0
            with contextlib.suppress(httpx.HTTPError):
                reply = await client.post(hook.url, content=hook.body, headers=hook.sign(hook.body))
                status = reply.status_code
            self.history.add("sent", url=hook.url, status=status, attempt=attempt, **hook.about)
            self.answered(hook, status)
            if 200 <= status < 300 or status in (401, 404, 410):
                return
            await asyncio.sleep(min(0.1 * (attempt + 1), 1.0))

    # --- control ----------------------------------------------------------------------------------------------------

    async def _misbehave(self, request: Request) -> Response:
        self.misbehaviour.told(json.loads(await request.body()))
        return JSONResponse({"ok": True})

    async def _act(self, request: Request) -> Response:
        act = self.acts.get(request.path_params["name"])
        if act is None:
            return JSONResponse({"error": f"{self.name} has no such act; it has {sorted(self.acts)}"}, 404)
        body = await request.body()
        given = json.loads(body) if body else {}
        try:
            _refuse_what_is_no_text(act, given)
            return JSONResponse(await act(**given))
        except VendorError as refusal:  # people are refused as programs are
            return JSONResponse(refusal.body, refusal.status, refusal.headers)
        except KeyError as missing:
            return JSONResponse({"error": f"there is no {missing.args[0]} here."}, 404)
        except LookupError as missing:
            return JSONResponse({"error": f"{missing}."}, 404)
        except TypeError as wrong:
            return JSONResponse({"error": f"{str(wrong).rpartition('() ')[2]}."}, 400)
        except ValueError as wrong:
            return JSONResponse({"error": f"that cannot be taken: {wrong}."}, 400)

    async def _resend(self, _: Request) -> Response:
        again = list(self.sent)
        self.sent.clear()
        self.ring(*again)
        return JSONResponse({"resent": len(again)})

    async def _settled(self, _: Request) -> Response:
        return JSONResponse({"settled": self._sending.empty() and self.undelivered == 0, "sent": len(self.sent)})


def _refuse_what_is_no_text(act: Callable[..., Awaitable[Any]], given: Mapping[str, Any]) -> None:
    """Raise TypeError for a value that is not text where a person writes text."""
    for name, one in inspect.signature(act).parameters.items():
        wanted = str(one.annotation)
        nothing = given.get(name) is None and (name not in given or "None" in wanted)
        if wanted.startswith("str") and not nothing and not isinstance(given[name], str):
            raise TypeError(f"{name} must be text, not {json.dumps(given[name])}")


class _Cut(Response):
    """Cuts the connection in the middle of an answer, as a vendor's crash or a broken line does."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # An answer that is begun and never completed makes the server close the connection.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
