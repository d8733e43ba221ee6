"""I10: how the hub behaves towards the tools. It waits as long as it is asked to, and does not insist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx

from lifecyclehub.jsonio import loads
from lifecyclehub.torture.elements import RESTORE
from lifecyclehub.torture.said import Said
from lifecyclehub.torture.tools import TOKEN_PATH

if TYPE_CHECKING:
    from lifecyclehub.messages import Reply, Request
    from lifecyclehub.torture.world import World
    from lifecyclehub.vendor.target import Target

_RIGHT_AFTER_S: Final = 0.3

_FOR: Final[ContextVar[str]] = ContextVar("connection", default="")  # which connection a hub calls its tool for


def watched(send: Callable[..., Awaitable[Reply]]) -> Callable[..., Awaitable[Reply]]:
    """Note for which connection a hub sends: a refresh itself does not tell which of those on its grant needs it."""

    async def noted(target: Target, request: Request, **how: Any) -> Reply:
        _FOR.set(target.connection)
        return await send(target, request, **how)

    return noted


def sort_of(request: httpx.Request) -> str:
    """Tell what sort of request it is."""
    if request.method == "GET":
        return "read"
    return "refresh" if request.url.path == TOKEN_PATH else "write"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A tool asked a process not to send something before a moment, by the clock of then."""

    process: str
    until: float
    ahead: timedelta


class Manners:
    """Notes each request that comes sooner than the tool wants it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.impolite: list[str] = []
        self._quiet: dict[tuple[str, str], float] = {}  # until when a tool asked a process for quiet
        self._tried: dict[tuple[str, timedelta], float] = {}  # a clock that jumps may make anything due
        self._asked: dict[str, _Asked] = {}
        self._refused: Counter[str] = Counter()

    def mind(self, process: str, tool: str, request: httpx.Request) -> None:
        """Note a request that comes before the tool wants one, or right after the same one."""
        now, until = self._world.loop.time(), self._quiet.get((process, _account(tool, request)), 0.0)
        if now < until - 0.01:
            self.impolite.append(f"{tool} was called at {now:.2f}, and had asked for quiet until {until:.2f}")
        if _creates(request):
            ref, ahead = _ref(request), self._world.clock.ahead
            if now - self._tried.get((ref, ahead), -10.0) < _RIGHT_AFTER_S:
                self.impolite.append(f"{tool} was sent {ref} twice within {_RIGHT_AFTER_S} s at {now:.2f}")
            self._tried[ref, ahead] = now
            self._mind_another(process, tool, ref, now)

    def _mind_another(self, process: str, tool: str, ref: str, now: float) -> None:
        """Whoever takes over from a process that was asked to wait with this, and wrote that down, waits too."""
        asked = self._asked.get(ref)
        if asked is None or asked.process == process or now >= asked.until - 0.01 or self._world.fired[RESTORE]:
            return
        if asked.ahead == self._world.clock.ahead and self._world.database.kept_refusals(ref) >= self._refused[ref]:
            said = f"{tool} was sent {ref} at {now:.2f}, and had asked another process to wait until {asked.until:.2f}"
            self.impolite.append(said)

    def mind_answer(self, process: str, tool: str, request: httpx.Request, said: Said, wished_s: float) -> None:
        """Take in an answer: the tool may want quiet, or only another access token, and the same at once. Both count from now."""
        if said.status == 401 and _creates(request):
            self._tried.pop((_ref(request), self._world.clock.ahead), None)
        if said.status == 429 and _creates(request):
            self._refused[_ref(request)] += 1
        after = said.headers.get("retry-after")
        if not process or after is None:
            return
        whole = int(after) if after.isdigit() else int(wished_s) - 1  # a date has whole seconds
        until = self._world.loop.time() + whole
        self._quiet[process, _account(tool, request)] = until
        if _creates(request):
            self._asked[_ref(request)] = _Asked(process, until, self._world.clock.ahead)


def _creates(request: httpx.Request) -> bool:
    return request.method == "POST" and sort_of(request) == "write"


def _ref(request: httpx.Request) -> str:
    return str(loads(request.content).get("ref"))


def _account(tool: str, request: httpx.Request) -> str:
    """Name whom a tool asks for quiet: each account by itself. Only sweeps, and what they need, go to another than the first."""
    if sort_of(request) == "refresh":
        return f"{tool}/{'2' if _FOR.get() == f'con_{tool}_too' else '1'}"
    return f"{tool}/{request.url.params.get('account', '1')}"
