"""The values that are handed along while an effect is performed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from lifecyclehub.messages import Key, Outcome, Request, Sighting


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An effect that nothing keeps from being performed: its input and mapped body, from the values of this moment.

    `engagement_version` tells the claim whether these values still hold. `frozen`: the request of this revision, when
    it was rendered before.
    """

    effect: str
    epoch: int
    revision: int
    connection: str
    connector: str
    action: str
    target: str | None
    engagement: str | None
    engagement_version: int
    input: dict[str, Any]
    body: Any
    key: Key
    frozen: Request | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A rendered effect that asks to be sent. `sending_s`: how long the sending may take altogether.

    `key_s`: for how long after an uncertain sending the vendor still folds a repeat; None where there is no such end.
    """

    prepared: Prepared
    request: Request
    holder: str
    sending_s: float
    key_s: float | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whether the effect may be sent now. `again`: its values changed meanwhile; `wait`: another one goes first."""

    verdict: Literal["go", "again", "wait", "gone"]
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What came of one sending, look-up or check. `outcome` None: the connection must be renewed first.

    `came to light`: nobody asked; a record showed itself that carries the effect's marker, perhaps a copy of what it made.

    `new_key`: if it is sent again, then under a new key, because under this one the vendor only repeats its stored error.
    `lands_s`: nobody answered, and for so long after its deadline the vendor may still do it; None when it is known to be over.
    `overdue`: why a job that is still only accepted is a person's question now, None while it is in time.
    """

    effect: str
    epoch: int
    revision: int
    what: Literal["sent", "looked up", "checked", "by a person", "came to light"]
    began_at: datetime
    outcome: Outcome | Sighting | None
    bytes_sent: bool | None = None
    status: int | None = None
    reply: str | None = None
    detail: str | None = None
    new_key: bool = False
    overdue: str | None = None
    lands_s: float | None = None
    spared: bool = False  # it was not even tried: the tool fails too often just now


FIELDS_SENT: dict[str, tuple[tuple[str, str], ...]] = {
    # action -> (canonical field that it writes, member of its input): the mirror expects them back from the tool
    "create_project": (("project.title", "name"),),
    "rename_project": (("project.title", "name"),),
    "create_customer": (("client.name", "name"), ("client.email", "email")),
}


def request_as_json(request: Request) -> dict[str, Any]:
    """Write a request as it is frozen on its effect."""
    return {
        "method": request.method,
        "path": request.path,
        "query": [list(pair) for pair in request.query],
        "headers": [list(pair) for pair in request.headers],
        "json": request.json,
        "form": None if request.form is None else [list(pair) for pair in request.form],
        "host": request.host,
        "timeout_s": request.timeout_s,
    }


def request_from_json(frozen: dict[str, Any]) -> Request:
    """Read a frozen request."""
    return Request(
        method=frozen["method"],
        path=frozen["path"],
        query=tuple((name, value) for name, value in frozen["query"]),
        headers=tuple((name, value) for name, value in frozen["headers"]),
        json=frozen["json"],
        form=None if frozen["form"] is None else tuple((name, value) for name, value in frozen["form"]),
        host=frozen["host"],
        timeout_s=None if frozen["timeout_s"] is None else float(frozen["timeout_s"]),
    )
