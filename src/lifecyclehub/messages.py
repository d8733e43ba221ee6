"""What is handed from step to step and across the connector contract. All values are frozen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from lifecyclehub.jsonio import parse_strictly

Json: TypeAlias = Any
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One inbound request, or one swept page, as a connector sees it.

    `headers` have lower-case names. `json` is the strictly parsed body (None for an empty body). `door` is the
    name of the door it came through.
    """

    id: str
    door: str
    headers: Mapping[str, str]
    body: bytes
    json: Json
    received_at: datetime


def page_address(said: str | None) -> str | None:
    """Give a vendor's address when it opens a page: it is shown to be clicked, and `javascript:` would run in our name."""
    return said if said and said.startswith(("https://", "http://")) and said.isprintable() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A vendor's record as it was when we looked. `data` is the vendor's own JSON, untouched.

    `related` are documents that came with it (the company of a deal); `marker` is ours, when the record carries one;
    `url` is the address a person can open. `merged`: ids of records that the tool has merged into this one.
    """

    kind: str
    id: str
    account: str | None = None
    version: str | None = None
    changed_at: datetime | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    related: tuple[Document, ...] = ()
    marker: str | None = None
    url: str | None = None
    merged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take no address that does something else than open a page."""
        object.__setattr__(self, "url", page_address(self.url))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One entry of a delivery: this record of this account may have changed.

    `key` is the vendor's own unique id of this entry, None where it gives none. `document` only when the payload is
    the record itself and its kind is ordered by version or time.
    """

    kind: str
    record_id: str
    account: str | None = None
    key: str | None = None
    at: datetime | None = None
    version: str | None = None
    actor: str | None = None
    change: Literal["changed", "deleted", "merged"] = "changed"
    into: str | None = None
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class Ref:
    """Which record to fetch."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to a vendor, without credentials: the core adds those, sends it, and keeps it as it was rendered.

    `path` starts with a slash and is relative to the base address of `host` (a name from `About.hosts`).
    Exactly one of `json` and `form` may be given. `timeout_s` is the total deadline, None for the connection's.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    json: Json = None
    form: tuple[tuple[str, str], ...] | None = None
    host: str = "api"
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the vendor answered. `headers` have lower-case names; `body` is at most the connection's size cap."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Json:
        """Parse the body strictly. Raises `NotOurJson`, for example for a log-in page with status 200."""
        return parse_strictly(self.body)


class Key(NamedTuple):
    """What makes a create findable: the vendor's idempotency key, and our marker for a text field."""

    idempotency: str
    marker: str


MARKER = re.compile(r"lh-[0-9a-hjkmnp-tv-z]{10}")


def marker_in(*texts: str | None) -> str | None:
    """Find our marker in a vendor's texts (names, notes, comments), None when there is none."""
    for text in texts:
        if text and (found := MARKER.search(text)):
            return found.group()
    return None


# --- outcomes of an action: values, never exceptions -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The vendor did it. `record_id` of what was made or changed, `url` for people, `document` when the reply holds it."""

    record_id: str | None = None
    url: str | None = None
    version: str | None = None
    document: Document | None = None

    def __post_init__(self) -> None:
        """Take no address that does something else than open a page."""
        object.__setattr__(self, "url", page_address(self.url))


@dataclass(frozen=True, slots=True)
class Accepted:
    """The vendor will do it (an asynchronous job). Asked about by `handle`, never sent again."""

    handle: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The vendor will not do it as it stands; nothing was done. Parks the effect with this reason.

    `exists` says that it refused because the thing exists already: the core then looks for it. `owner`: because of the
    person whom it was to be assigned to: the core then does it without one.
    """

    reason: str
    exists: bool = False
    owner: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The reply proves that nothing was done; try again after so many seconds (None: by the usual schedule)."""

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may or may not have been done. The effect is in doubt."""

    reason: str


Outcome: TypeAlias = Done | Accepted | Refused | Retry | Unknown


@dataclass(frozen=True, slots=True)
class Found:
    """A complete look-up found these. One is adopted; several are a person's to choose from."""

    records: tuple[Done, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """A complete look-up (all pages, archived too) found nothing."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The look-up failed, was partial, or is impossible. Never taken for absent."""

    reason: str


Sighting: TypeAlias = Found | Absent | CannotTell


def header(pairs: Iterable[tuple[str, str]] | Mapping[str, str], name: str) -> str | None:
    """Give the value of a header by its name in any case, None when it is missing."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    wanted = name.lower()
    return next((value for key, value in items if key.lower() == wanted), None)
