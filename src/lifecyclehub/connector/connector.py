"""The class a connector implements. It describes, reads and fetches; the core sends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol

from lifecyclehub.connector.about import About, Account, ByHand, Endpoint, FieldInfo, Health, Subscription
from lifecyclehub.errors import Unsupported
from lifecyclehub.messages import Delivery, Document, Notice, Ref, Reply, Request


class Call(Protocol):
    """One errand at a vendor for one connection. Credentials, rates, deadline, host and size are the core's business."""

    @property
    def account(self) -> str:
        """The id of the account that this connection serves ("" while accounts are still being listed)."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The connection's settings, defaults filled in."""

    def now(self) -> datetime:
        """The time, aware UTC; in a first sweep the moment from which on changes count."""

    async def send(self, request: Request) -> Reply:
        """Send one request. Any status comes back as a reply but these, which are raised for every vendor alike.

        401 (after one refresh) `NeedsReauthorization`, 429 and network faults `TryAgain`.
        """


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a sweep: notices with version hints (never values), and where to go on.

    `cursor` is opaque JSON text, kept only after the page was kept; None on the last page of a full sweep.
    `last`: nothing more to be had now. A sweep that ends without it has failed, and goes on later from the last cursor.
    Hints matter: a record whose `version` or `at` is that of our last look is not fetched again.
    """

    notices: tuple[Notice, ...]
    cursor: str | None
    last: bool


class Connector(ABC):
    """A tool. One stateless instance serves all its connections."""

    about: ClassVar[About]

    @abstractmethod
    def read(self, delivery: Delivery) -> Iterable[Notice]:
        """Split a delivery into notices, purely and in order. Kinds not in `about.kinds` are kept as ignored."""

    @abstractmethod
    async def accounts(self, call: Call) -> Sequence[Account]:
        """List the accounts that the grant reaches; also the test of a connection."""

    @abstractmethod
    async def fetch(self, call: Call, ref: Ref) -> Document:
        """Fetch a record with the related documents its mapping needs. Raises RecordGone, Forbidden or Moved."""

    @abstractmethod
    def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        """Look for records of `kind` that changed since `cursor` (None: since `call.now()`, or everything when `full`).

        A tool's people (a kind that fills `teammate`) are given all at the first look: who works there is no news.
        """

    @abstractmethod
    async def fields(self, call: Call, kind: str) -> Sequence[FieldInfo]:
        """List the fields of a kind, custom ones and the options of choices included."""

    async def subscribe(self, call: Call, endpoint: Endpoint) -> Subscription | ByHand:
        """Ask the vendor to call our endpoint, or give the steps for a person."""
        raise Unsupported(f"{self.about.name} has no webhooks; let the connection poll")

    async def probe(self, call: Call, subscription: Subscription) -> Health:
        """Ask the vendor whether a subscription still stands."""
        return Health(ok=True, reason="this vendor tells nothing about its hooks")

    async def unsubscribe(self, call: Call, subscription: Subscription) -> None:
        """End a subscription; fine when it is gone already."""
        raise Unsupported(f"{self.about.name}: remove the hook {subscription.id} in the tool's own settings")
