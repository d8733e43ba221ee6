"""Reads the kit's fixtures. Their formats are described in docs/vendors/contract-kit.md."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from lifecyclehub.errors import Forbidden, Moved, NeedsReauthorization, RecordGone, TryAgain, Unsupported
from lifecyclehub.jsonio import parse_strictly
from lifecyclehub.messages import Delivery, Key, Reply, Request
from lifecyclehub.testing.fake import NOW, FakeCall, Unanswered, compact, reply, shown

KIT_KEY = Key(idempotency="contract-kit-0123456789abcdef", marker="lh-0123456789")
ENDPOINT_URL = "https://hub.example.test/hooks/ep_1"
RAISED = {error.__name__: error for error in (RecordGone, Forbidden, Moved, NeedsReauthorization, TryAgain, Unsupported)}

DELIVERY_KEYS = frozenset(
    (
        "door",
        "secret",
        "secret_base64",
        "method",
        "url",
        "received_at",
        "headers",
        "body",
        "notices",
        "handshake",
        "refused",
        "about",
    )
)
RECORD_KEYS = frozenset(
    ("kind", "id", "account", "settings", "replies", "document", "raises", "to", "values", "related_values", "lookup", "about")
)
RESPONSE_KEYS = frozenset(("input", "account", "settings", "body", "request", "replies", "find", "check", "about"))


class BadFixture(AssertionError):
    """A fixture that the kit cannot use."""


def load(path: Path, allowed: frozenset[str], required: tuple[str, ...]) -> dict[str, Any]:
    """Read a fixture, numbers exactly. Raises `BadFixture` naming the file and what is wrong with it."""
    try:
        found = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    except ValueError as error:
        raise BadFixture(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise BadFixture(f"{path}: a fixture is an object")
    if unknown := sorted(set(found) - allowed):
        raise BadFixture(f"{path}: unknown {', '.join(unknown)}; known are {', '.join(sorted(allowed))}")
    if missing := [name for name in required if name not in found]:
        raise BadFixture(f"{path}: {', '.join(missing)} missing")
    return found


def instant(text: str) -> datetime:
    """Read an RFC 3339 time. Raises ValueError without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def same(wanted: Any, found: Any) -> bool:
    """Compare what a fixture says with a value: decimals by amount, instants as instants, dates as ISO text."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return wanted.keys() == found.keys() and all(same(wanted[name], found[name]) for name in wanted)
    if isinstance(found, list | tuple) and isinstance(wanted, list | tuple):
        return len(wanted) == len(found) and all(map(same, wanted, found))
    try:
        if isinstance(found, datetime):
            return isinstance(wanted, str) and instant(wanted) == found
        if isinstance(found, Decimal) and not isinstance(wanted, bool):
            return Decimal(str(wanted)) == found
    except (ValueError, ArithmeticError):
        return False
    if isinstance(found, date):
        return bool(wanted == found.isoformat())
    return isinstance(wanted, bool) == isinstance(found, bool) and bool(wanted == found)


@dataclass(frozen=True, slots=True)
class DeliveryCase:
    """A captured request and what must become of it."""

    path: Path
    door: str
    secret: bytes
    method: str
    url: str
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes
    notices: list[dict[str, Any]]
    handshake: bool
    refused: str | None

    @classmethod
    def read(cls, path: Path) -> DeliveryCase:
        """Read the file. Raises `BadFixture`."""
        found = load(path, DELIVERY_KEYS, ("door",))
        if "notices" not in found and "refused" not in found:
            raise BadFixture(f"{path}: notices missing; an empty list means that the delivery holds none")
        body = found.get("body", "")
        encoded = found.get("secret_base64")
        return cls(
            path=path,
            door=found["door"],
            secret=base64.b64decode(encoded) if encoded else found.get("secret", "").encode(),
            method=found.get("method", "POST"),
            url=found.get("url", ENDPOINT_URL),
            received_at=instant(found["received_at"]) if "received_at" in found else NOW,
            headers={name.lower(): value for name, value in found.get("headers", {}).items()},
            body=body.encode() if isinstance(body, str) else compact(body),
            notices=found.get("notices", []),
            handshake=found.get("handshake", False),
            refused=found.get("refused"),
        )

    def delivery(self, body: bytes | None = None) -> Delivery:
        """Make the delivery that a connector reads, with another body where one is given."""
        raw = self.body if body is None else body
        return Delivery(
            id="dlv_1",
            door=self.door,
            headers=self.headers,
            body=raw,
            json=parse_strictly(raw) if raw else None,
            received_at=self.received_at,
        )


class Script:
    """Answers requests with a fixture's replies, each once; `unused` tells which were not asked for."""

    def __init__(self, replies: list[dict[str, Any]], where: str) -> None:
        self._left, self._where = list(replies), where
        self.exchanged: list[tuple[Request, Reply]] = []

    def __call__(self, request: Request) -> Reply | Exception:
        for at, said in enumerate(self._left):
            if _matches(said.get("request", {}), request):
                del self._left[at]
                if "raises" in said:
                    return raised(said["raises"], said.get("to", ""))
                answer = reply(said["status"], said.get("body"), said.get("headers"))
                self.exchanged.append((request, answer))
                return answer
        raise Unanswered(f"{self._where}: no reply is left for {shown(request)}")

    def unused(self) -> list[str]:
        """Say which replies nobody asked for."""
        return [f"{self._where}: nothing asked for {said.get('request') or said.get('status')}" for said in self._left]


def raised(name: str, to: str = "") -> Exception:
    """Make the error that a fixture names."""
    if name not in RAISED:
        raise BadFixture(f"raises {name}: known are {', '.join(RAISED)}")
    return Moved(to) if name == "Moved" else RAISED[name]("as the fixture says")


def _matches(wanted: dict[str, Any], request: Request) -> bool:
    query = {(name, value) for name, value in wanted.get("query", [])}
    return (
        wanted.get("method", request.method) == request.method
        and wanted.get("path", request.path) == request.path
        and query <= set(request.query)
    )


def call_for(found: Mapping[str, Any], script: Script) -> FakeCall:
    """Make the call of a fixture: its account and settings, and the replies of the script."""
    account = found.get("account") or {}
    return FakeCall(script, account=str(account.get("id", "1")), settings=found.get("settings"))
