"""What a case of the benchmark is: connections of a home, deliveries, and a tool's answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from ledger import Ledger

CLIENTS = 500  # who come again and again: about ten deals each
SIGNING_SECRET = "benchmark-signing-secret"
_PIECE = re.compile(rb"Deal (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """One connection to be set up: who it is, its credentials, and the endpoint it is served by."""

    connector: str
    auth: str
    account: str
    secrets: Mapping[str, str]
    hosts: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    listens: bool = True


class Case(Protocol):
    """`name` is the key in the results; `wanted` what must arrive for every deal."""

    @property
    def name(self) -> str: ...

    @property
    def wanted(self) -> tuple[str, ...]: ...

    @property
    def connections(self) -> tuple[Connected, ...]: ...

    def delivery(self, piece: int, port: int) -> bytes:
        """Make the whole signed request by which a tool says that deal number `piece` was won."""

    def answer(self, ledger: Ledger, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer for the tools, and note what arrived."""


def piece_in(body: bytes) -> int:
    """Find the deal's number in what we wrote into a tool."""
    found = _PIECE.search(body)
    if found is None:
        raise ValueError(f"a request that names no deal: {body[:200]!r}")
    return int(found.group(1))


def now_text() -> str:
    """Give the time as vendors write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def post(path: str, port: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """Put a request together."""
    lines = [f"POST {path} HTTP/1.1", f"host: 127.0.0.1:{port}", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode() + body
