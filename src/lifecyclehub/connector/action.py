"""Actions: what a connector can do in its tool, one request each, and how doing it once is made sure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from pydantic import BaseModel

from lifecyclehub.errors import NotOurJson, Unsupported
from lifecyclehub.messages import CannotTell, Key, Refused, Reply, Request, Retry, Unknown

if TYPE_CHECKING:
    from lifecyclehub.connector.connector import Call
    from lifecyclehub.messages import Json, Outcome, Sighting


@dataclass(frozen=True, slots=True)
class NativeKey:
    """The vendor folds requests with the same key in `header` for `window_s` seconds.

    `caches_errors`: it also repeats a stored error under that key. `marker_after`: beyond the window the action
    carries a marker and `find` can see it.
    """

    header: str
    window_s: float
    caches_errors: bool = False
    marker_after: bool = True


@dataclass(frozen=True, slots=True)
class UniqueId:
    """The vendor keeps `field` unique: a second create is refused."""

    field: str


@dataclass(frozen=True, slots=True)
class Marker:
    """The create itself writes our marker into `field`; `find` sees it at the latest `lag_s` seconds after the act.

    `field` is a dotted path into the request's JSON, or the name of a form field; "a or b" where the request has one
    of two shapes and carries the marker in one of the two places.
    """

    field: str
    lag_s: float


@dataclass(frozen=True, slots=True)
class Natural:
    """Doing it again changes nothing (adding a tag that is there)."""


@dataclass(frozen=True, slots=True)
class Never:
    """No look-up is possible: an unknown outcome goes to a person."""


Once: TypeAlias = NativeKey | UniqueId | Marker | Natural | Never


V = TypeVar("V", bound=BaseModel)


class Action(ABC, Generic[V]):
    """One thing that the tool can do. Instances are stateless; `V` is the role's canonical input for it.

    `name`: as the role's table calls it. `input`: the class V. `creates`: the kind of record that it makes, None for
    one that changes `target`. `target`: the kind that it works on or puts its record into, in whose order effects
    run; None for a create that stands alone. `target_field`: the input's field that holds the target's record id.
    `verify_after`: some tools answer 2xx and do nothing, so `find` must see it before it counts as done.
    `adopts_twin`: look first whether a person or another automation made the same thing already, and take that over
    (a customer who is in the books). `accepted_s`: how long a job that was `Accepted` may take; after that it is looked for
    once, and else a person is asked.
    """

    name: ClassVar[str]
    input: ClassVar[type[BaseModel]]
    once: ClassVar[Once]
    creates: ClassVar[str | None] = None
    target: ClassVar[str | None] = None
    target_field: ClassVar[str | None] = None
    undo: ClassVar[str | None] = None
    verify_after: ClassVar[bool] = False
    adopts_twin: ClassVar[bool] = False
    accepted_s: ClassVar[float] = 3600.0

    @abstractmethod
    def render(self, v: V, body: Json, key: Key) -> Request:
        """Make the request, purely: `body` is what the outbound mapping made of `v`; add path, envelope, marker or key."""

    @abstractmethod
    def judge(self, reply: Reply, request: Request) -> Outcome:
        """Say what the reply means, purely. 401 and 429 never get here: the core knows them.

        Raises `NeedsReauthorization` where the vendor refuses our credentials, so that nothing was done, but says so
        inside another status.
        """

    async def check(self, call: Call, handle: str) -> Outcome:
        """Ask how an accepted job stands; `Accepted` again while it runs, `Unknown` when the tool does not know it (any more)."""
        raise Unsupported(f"{self.name} is never accepted for later, so {handle} cannot be checked")

    async def find(self, call: Call, v: V, key: Key) -> Sighting:
        """Look whether it was done already, in all pages, archived records too. Absence must be proven."""
        return CannotTell(f"{self.name} cannot be looked up")


def usual_judgement(reply: Reply, *, creates: bool) -> Refused | Retry | Unknown | None:
    """Judge what is alike at all vendors; None for a 2xx that the action must read itself.

    408 and 5xx leave a create unknown, and may be retried where nothing is created; other 4xx are refusals. A redirect,
    which is never followed, proves nothing of a create either (303 says that it was done), and is a refusal elsewhere.
    """
    if 200 <= reply.status < 300:
        return None
    said = said_by(reply)
    if reply.status in (408, 425) or reply.status >= 500:
        return Unknown(f"status {reply.status}: {said}") if creates else Retry(f"status {reply.status}: {said}", wished_by(reply))
    if reply.status < 400 and creates:
        return Unknown(f"status {reply.status}, which leads elsewhere: {said}")
    return Refused(f"status {reply.status}: {said}", exists=reply.status == 409)


def wished_by(reply: Reply) -> float | None:
    """Give the seconds that a reply's Retry-After wants us to wait, None where it names none that can be read.

    A moment counts from the reply's own Date, so that no clock of ours is asked.
    """
    wish = reply.headers.get("retry-after", "").strip()
    if wish.isascii() and wish.isdigit() and len(wish) < 10:
        return float(wish)
    try:
        left = parsedate_to_datetime(wish) - parsedate_to_datetime(reply.headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return max(left.total_seconds(), 0.0)


def said_by(reply: Reply, limit: int = 300) -> str:
    """Give what a reply says in one line, short enough for a page."""
    try:
        value: Any = reply.json()
    except NotOurJson:
        value = reply.body.decode("utf-8", "replace")
    text = value if isinstance(value, str) else str(value)
    return " ".join(text.replace("\x00", "").split())[:limit]  # PostgreSQL keeps no NUL
