"""What a connector says about itself: data only, so that pages, checks and the core can read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from lifecyclehub.connector.action import Action

CONTRACT_VERSION = 1
"""The version of this contract. A plugin built for another one is refused with a clear message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of record, for example `asana.project`.

    `order` tells what newer means: by the vendor's `version` (compared as numbers where both are, else as text),
    by its modification `time` (clock of `resolution_s` seconds), or `none` (then the latest fetch counts).
    `fills` is the canonical thing that its mapping fills (deal, client, contact, project, ticket, invoice), None for
    records that are only related. `creates_client`: an unmatched record of this kind may open a new client.
    `deletes`: how a deletion shows itself: a webhook tells of it, the list of everything does not hold the record any more,
    or only a fetch does (then that list leaves living records out, and absence from it says nothing).
    `rewrites`: how the tool shows what it was given otherwise: `space` (trimmed, one blank for several), `case`, `markup`
    (tags and entities), `signs` (punctuation, as in telephone numbers), `digits` (fewer after the point), `cut` (long text).
    Whatever else differs from what we wrote counts as somebody's change.
    `poll_s`: how often a connection that polls looks for changes of this kind, None where it cannot be swept.
    """

    id: str
    fills: str | None = None
    order: Literal["version", "time", "none"] = "none"
    resolution_s: float = 0.0
    deletes: Literal["webhook", "list", "fetch"] = "fetch"
    poll_s: int | None = None
    creates_client: bool = False
    rewrites: frozenset[str] = frozenset()
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """Where the signed time stands. `member`: inside a composite header such as `t=1,v1=ab`."""

    header: str
    unit: Literal["ms", "s", "iso"]
    member: str | None = None
    tolerance_s: int = 300


REWRITES: Final = frozenset({"space", "case", "markup", "signs", "digits", "cut"})
"""All that a kind may say of how its tool rewrites what it was given."""

Part: TypeAlias = Literal["method", "url", "body", "timestamp"] | bytes
"""A part of the signed text; bytes stand for themselves (a separator)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a vendor signs: HMAC of `parts`, or a secret sent as it is (`algorithm="token"`, `"basic"`).

    `member` is the part of a composite header; `prefix` stands before the value (`sha256=`). The encoding
    `id-hex-base64` is base64 of the hook's id, a colon and the hex digest.
    """

    header: str
    algorithm: Literal["hmac-sha256", "hmac-sha1", "token", "basic"] = "hmac-sha256"
    encoding: Literal["hex", "base64", "id-hex-base64"] = "hex"
    parts: tuple[Part, ...] = ("body",)
    timestamp: Timestamp | None = None
    prefix: str = ""
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """The vendor sends a secret in `header` while our subscribe call is open; we echo it in the same header."""

    header: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A way in. `scope`: one address and secret per connection, per vendor app (routed by account), or per resource.

    `delivery_key`: the request header that names a delivery, equal when the vendor repeats it. `answer`: status of a
    kept delivery, always without a body. `lifetime` of a subscription, None for unlimited; `heartbeat`: the longest
    silence of a healthy one. `secret`: how people find the signing secret, shown at set-up.
    """

    name: str
    signature: Signature
    scope: Literal["connection", "app", "resource"]
    setup: Literal["api", "by_hand"]
    handshake: Handshake | None = None
    media: frozenset[str] = frozenset({"application/json"})
    delivery_key: str | None = None
    lifetime: timedelta | None = None
    heartbeat: timedelta | None = None
    secret: str = ""
    answer: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A base address that requests may go to. `{name}` is filled from a connection setting; no other host is ever called."""

    name: str
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `limit` requests within `per_s` seconds, counted per connection, or per grant."""

    limit: int
    per_s: float
    scope: Literal["connection", "grant"] = "connection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of a connection that is no secret. `pattern` must match the whole value."""

    name: str
    label: str
    required: bool = False
    default: str | None = None
    pattern: str | None = None
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """One way to get in. `secrets` are asked for at set-up, in this order, and never shown again.

    `bearer`: secrets ("token",). `basic`: ("user", "password"). `header`: ("token",) sent in `header`.
    `client_credentials`: ("client_id", "client_secret") exchanged at `token_path` on `token_host`.
    `refresh`: ("client_id", "client_secret", "refresh_token"); `rotates`: each refresh token serves once.
    `client_auth`: whether client id and secret go into the form body or a Basic header; `body_json` for vendors
    whose token endpoint takes JSON. `scope` is sent where the vendor wants it.
    """

    name: str
    kind: Literal["bearer", "basic", "header", "client_credentials", "refresh"]
    label: str
    secrets: tuple[str, ...]
    header: str = "authorization"
    token_host: str = "auth"  # noqa: S105 (the name of a host)
    token_path: str = ""
    scope: str = ""
    rotates: bool = False
    client_auth: Literal["basic", "body"] = "body"
    body_json: bool = False
    lifetime_s: int = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account that a grant reaches. `currency` and `timezone` where the vendor tells them."""

    id: str
    name: str
    currency: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldInfo:
    """A field of a vendor's records, as its own pages name it. `options`: (value, label) of a choice."""

    path: str
    label: str
    type: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Our address for a subscription to be made: the public URL, its id and the door's name.

    `resource`: what the hook is to be for, where the vendor makes one for each; None for what the connector chooses.
    """

    id: str
    url: str
    door: str
    resource: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A hook at the vendor. `secret` as the vendor's own reply gave it; it confirms the handshake's candidate."""

    id: str
    resource: str | None = None
    expires_at: datetime | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """The vendor has no call for it: these steps are for a person. `{url}` is filled with the endpoint's address."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the vendor says about a subscription. `reason` is a sentence when it is not well."""

    ok: bool
    reason: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The whole description. `settings` are asked for at set-up; `account_header` carries the account id on each call."""

    id: str
    name: str
    contract: int
    roles: tuple[str, ...]
    kinds: tuple[Kind, ...]
    doors: tuple[Door, ...]
    auths: tuple[Auth, ...]
    hosts: tuple[Host, ...]
    actions: tuple[Action[Any], ...]
    rates: tuple[Rate, ...] = ()
    settings: tuple[Setting, ...] = ()
    setup_steps: tuple[str, ...] = ()
    account_header: str | None = None
    server_timeout_s: float = 60.0
    size_cap: int = 10 * 1024 * 1024
    converters: tuple[tuple[str, Callable[[Any], Any]], ...] = ()

    def kind(self, kind_id: str) -> Kind | None:
        """Give the kind with this id, None for an unknown one."""
        for kind in self.kinds:  # asked several times for each delivery: a generator would cost more than looking
            if kind.id == kind_id:
                return kind
        return None

    def door(self, name: str) -> Door | None:
        """Give the door with this name, None for an unknown one."""
        return next((door for door in self.doors if door.name == name), None)

    def action(self, name: str) -> Action[Any] | None:
        """Give the action with this name, for example `create_project`, None when the tool cannot do it."""
        return next((action for action in self.actions if action.name == name), None)

    def auth(self, name: str) -> Auth | None:
        """Give the way in with this name, None for an unknown one."""
        return next((auth for auth in self.auths if auth.name == name), None)
