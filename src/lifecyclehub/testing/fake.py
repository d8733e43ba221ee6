"""A call whose answers are given beforehand, for unit tests of whatever a connector asks its vendor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from lifecyclehub.errors import NeedsReauthorization, TryAgain
from lifecyclehub.messages import Reply, Request

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
"""The time at which every fixture and every fake call stands still."""

_encoder = msgspec.json.Encoder(decimal_format="number")

One: TypeAlias = Reply | Exception | Callable[[Request], Any]
Answer: TypeAlias = One | Sequence[One]


class Unanswered(AssertionError):
    """A connector asked for something that the test did not expect."""


def compact(value: Any) -> bytes:
    """Write JSON without spaces in the order given, numbers with the digits that they were read with."""
    return _encoder.encode(value)


def reply(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
    """Make a reply: a string or bytes is the body as it is, anything else JSON, None no body."""
    raw = body.encode() if isinstance(body, str) else body
    if raw is None:
        raw = b""
    elif not isinstance(raw, bytes):
        raw = compact(raw)
    return Reply(status=status, headers={name.lower(): value for name, value in (headers or {}).items()}, body=raw)


class FakeCall:
    """A `Call` over answers: a mapping `"GET /path?query"` → answer, or one function of the request.

    An answer is a reply, an exception to raise, a function of the request, or a list of these that is used up in
    order (an empty list has been used up). As in the core, 401 raises `NeedsReauthorization` and 429 `TryAgain`.
    `requests` holds what was sent.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer] | Callable[[Request], Any],
        *,
        account: str = "1",
        settings: Mapping[str, str] | None = None,
        now: datetime = NOW,
    ) -> None:
        self.account, self.settings = account, dict(settings or {})
        self.requests: list[Request] = []
        self._now = now
        self._function = answers if callable(answers) else _Routes(answers)

    def now(self) -> datetime:
        """The time of the test, which stands still."""
        return self._now

    async def send(self, request: Request) -> Reply:
        """Answer as the test said, as the core would hand it on."""
        self.requests.append(request)
        answer = self._function(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, Reply):
            raise Unanswered(f"{shown(request)} was answered with {answer!r}, which is no Reply")
        if answer.status == 401:
            raise NeedsReauthorization("status 401")
        if answer.status == 429:
            wait = answer.headers.get("retry-after", "")
            raise TryAgain("status 429", after=float(wait) if wait.isdigit() else None)
        return answer


class _Routes:
    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._routes: list[tuple[str, str, frozenset[tuple[str, str]], list[One], bool]] = []
        for key, answer in answers.items():
            method, _, target = key.partition(" ")
            path, _, query = target.partition("?")
            several = isinstance(answer, Sequence)
            listed = list(answer) if isinstance(answer, Sequence) else [answer]
            self._routes.append((method, path, frozenset(parse_qsl(query, keep_blank_values=True)), listed, several))
        self._routes.sort(key=lambda route: -len(route[2]))  # the most exact first

    def __call__(self, request: Request) -> Any:
        for method, path, query, answers, several in self._routes:
            if (method, path) == (request.method, request.path) and query <= set(request.query):
                if not answers:
                    raise Unanswered(f"{shown(request)} was asked more often than the test has answers for")
                answer = answers.pop(0) if several else answers[0]
                return answer(request) if callable(answer) else answer
        known = ", ".join(f"{method} {path}" for method, path, *_ in self._routes) or "nothing"
        raise Unanswered(f"nothing answers {shown(request)}; answered are: {known}")


def shown(request: Request) -> str:
    """Write a request in one line, for messages."""
    query = "&".join(f"{name}={value}" for name, value in request.query)
    return f"{request.method} {request.path}{'?' + query if query else ''}"
