"""Is a connector's description whole and at one with itself? The same checks at start and in the contract kit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from lifecyclehub.connector import CONTRACT_VERSION, About, Action, Connector, Door, Marker, NativeKey, Natural, Never, UniqueId
from lifecyclehub.connector.about import REWRITES, Auth, Signature
from lifecyclehub.connector.roles import ROLES

CANONICAL: Final = frozenset({"deal", "client", "contact", "teammate", "project", "ticket", "invoice"})
_ID: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,59}")
_SLOT: Final = re.compile(r"\{([^{}]*)\}")
_SECRETS: Final = {
    "bearer": ("token",),
    "basic": ("user", "password"),
    "header": ("token",),
    "client_credentials": ("client_id", "client_secret"),
    "refresh": ("client_id", "client_secret", "refresh_token"),
}


def problems_of(connector: object) -> list[str]:
    """Say everything that keeps this connector from being used, one clause each; empty when it is fine."""
    about = getattr(connector, "about", None)
    version = getattr(about, "contract", None)
    if about is not None and version != CONTRACT_VERSION:
        return [f"it was made for version {version} of the contract; this hub speaks version {CONTRACT_VERSION}"]
    if not isinstance(connector, Connector) or isinstance(connector, type):
        return [f"{connector!r:.100} is no instance of lifecyclehub.connector.Connector"]
    if not isinstance(about, About):
        return ["its `about` is no About"]
    return [problem for check in _CHECKS for problem in check(about)]


def _repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"the {what} {name!r} is there {count} times"


def _identity(about: About) -> Iterator[str]:
    if not _ID.fullmatch(about.id):
        yield f"its id {about.id!r} is not made of small letters, digits, - and _ (1 to 40, a letter first)"
    if not about.name.strip():
        yield "it has no name"
    if not about.roles:
        yield "it plays no role"
    if not about.auths:
        yield "it has no way to get in (auths)"
    if not about.hosts:
        yield "it names no host"
    if not about.doors and not any(kind.poll_s for kind in about.kinds):
        yield "it can neither listen (no doors) nor poll (no kind with poll_s)"
    yield from _repeated("role", about.roles)
    yield from _repeated("kind", (kind.id for kind in about.kinds))
    yield from _repeated("door", (door.name for door in about.doors))
    yield from _repeated("way in", (auth.name for auth in about.auths))
    yield from _repeated("host", (host.name for host in about.hosts))
    yield from _repeated("setting", (setting.name for setting in about.settings))
    yield from _repeated("action", (action.name for action in about.actions if hasattr(action, "name")))
    yield from _repeated("converter", (name for name, _ in about.converters))


def _roles(about: About) -> Iterator[str]:
    filled = {kind.fills for kind in about.kinds}
    for role in (ROLES[name] for name in about.roles if name in ROLES):
        for thing in role.required:
            if thing not in filled:
                yield f"it plays the role {role.id}, but none of its kinds fills {thing!r}"


def _kinds(about: About) -> Iterator[str]:
    for kind in about.kinds:
        if not kind.id.startswith(f"{about.id}.") or not _NAME.fullmatch(kind.id):
            yield f"the kind {kind.id!r} must be named {about.id}.something"
        if kind.fills is not None and kind.fills not in CANONICAL:
            yield f"the kind {kind.id} fills {kind.fills!r}, which is none of {', '.join(sorted(CANONICAL))}"
        if kind.poll_s is not None and kind.poll_s <= 0:
            yield f"the kind {kind.id} polls every {kind.poll_s} s"
        if kind.resolution_s < 0:
            yield f"the kind {kind.id} has a negative resolution"
        for word in sorted(set(kind.rewrites) - REWRITES):
            yield f"the kind {kind.id} rewrites {word!r}, which is none of {', '.join(sorted(REWRITES))}"
    people = [kind.id for kind in about.kinds if kind.fills == "teammate"]
    if len(people) > 1:  # an owner is looked up by the one record that the tool assigns by
        yield f"{' and '.join(people)} all fill 'teammate'; only the kind that the tool assigns by may"


def _doors(about: About) -> Iterator[str]:
    for door in about.doors:
        for fault in _door_faults(door):
            yield f"the door {door.name!r} {fault}"


def _door_faults(door: Door) -> Iterator[str]:
    if not _NAME.fullmatch(door.name):
        yield "has a name that fits in no address (small letters, digits, . - _)"
    yield from _signature_faults(door.signature)
    if not door.media or any(media != media.lower() or ";" in media or "/" not in media for media in door.media):
        yield "must name its media types exactly, in small letters and without parameters"
    if not 200 <= door.answer < 300:
        yield f"answers {door.answer}, which vendors take for a failure"
    for name, span in (("lifetime", door.lifetime), ("heartbeat", door.heartbeat)):
        if span is not None and span <= timedelta(0):
            yield f"has a {name} that is not positive"
    if door.handshake is not None and door.setup != "api":
        yield "has a handshake, but is set up by hand: only our own subscribe call can open one"
    if door.handshake is not None and not door.handshake.header:
        yield "does not name the header of its handshake"


def _signature_faults(signature: Signature) -> Iterator[str]:
    if not signature.header:
        yield "does not say in which header the signature stands"
    if ("timestamp" in signature.parts) != (signature.timestamp is not None) and signature.algorithm.startswith("hmac"):
        yield "signs a timestamp without saying where it stands, or names one that is not signed"
    if signature.algorithm.startswith("hmac") and "body" not in signature.parts:
        yield "does not sign the body"
    if signature.timestamp is not None and signature.timestamp.tolerance_s <= 0:
        yield "allows no seconds between signing and arrival"


def _auths(about: About) -> Iterator[str]:
    hosts = {host.name for host in about.hosts}
    for auth in about.auths:
        for fault in _auth_faults(auth, hosts):
            yield f"the way in {auth.name!r} {fault}"


def _auth_faults(auth: Auth, hosts: set[str]) -> Iterator[str]:
    wanted = _SECRETS.get(auth.kind)
    if wanted is None:
        yield f"is of the unknown kind {auth.kind!r}"
    elif set(auth.secrets) != set(wanted):
        yield f"must ask for the secrets {', '.join(wanted)}"
    if auth.kind in ("client_credentials", "refresh"):
        if auth.token_host not in hosts:
            yield f"gets its tokens at the host {auth.token_host!r}, which is not declared"
        if not auth.token_path.startswith("/"):
            yield "names no token path that starts with a slash"
    if auth.lifetime_s <= 0:
        yield "gives access for no time (lifetime_s)"


def _addresses(about: About) -> Iterator[str]:
    settings = {setting.name for setting in about.settings}
    for host in about.hosts:
        if not host.base.startswith(("https://", "{")):
            yield f"the host {host.name!r} must begin with https:// or be a setting"
        for name in _SLOT.findall(host.base):
            if name not in settings:
                yield f"the host {host.name!r} needs the setting {name!r}, which is not declared"
    for setting in about.settings:
        try:
            re.compile(setting.pattern or "")
        except re.error as error:
            yield f"the setting {setting.name!r} has a faulty pattern ({error})"
    for rate in about.rates:
        if rate.limit <= 0 or rate.per_s <= 0:
            yield f"the rate of {rate.limit} requests per {rate.per_s} s allows nothing"
    if about.server_timeout_s <= 0 or about.size_cap <= 0:
        yield "its server time-out and size cap must be positive"


def _actions(about: About) -> Iterator[str]:
    kinds = {kind.id for kind in about.kinds}
    names = {getattr(action, "name", None) for action in about.actions}
    actions: tuple[Any, ...] = about.actions  # a plugin may put anything here
    for action in actions:
        if not isinstance(action, Action):
            yield f"the action {action!r:.100} is no instance of Action"
            continue
        missing = [field for field in ("name", "input", "once") if not hasattr(action, field)]
        if missing:
            yield f"the action {type(action).__name__} does not say its {', '.join(missing)}"
            continue
        for fault in _action_faults(action, about, kinds):
            yield f"the action {action.name} {fault}"
        if action.undo is not None and action.undo not in names:
            yield f"the action {action.name} is undone by {action.undo!r}, which is no action"


def _action_faults(action: Action[Any], about: About, kinds: set[str]) -> Iterator[str]:
    inputs = [ROLES[role].actions[action.name] for role in about.roles if role in ROLES and action.name in ROLES[role].actions]
    if inputs and action.input not in inputs:
        yield f"takes {getattr(action.input, '__name__', action.input)}; its role gives {inputs[0].__name__}"
    if not inputs and all(role in ROLES for role in about.roles):
        yield f"is in none of its roles ({', '.join(about.roles)})"
    for name, kind in (("creates", action.creates), ("works on", action.target)):
        if kind is not None and kind not in kinds:
            yield f"{name} the kind {kind!r}, which is not declared"
    fields = getattr(action.input, "model_fields", {})
    if action.target_field is not None and action.target_field not in fields:
        yield f"finds its target in the field {action.target_field!r}, which its input does not have"
    if (action.target is None) != (action.target_field is None) and action.creates is None:
        yield "changes a record: it must name both target and target_field"
    yield from _once_faults(action)


def _once_faults(action: Action[Any]) -> Iterator[str]:
    once: Any = action.once
    if not isinstance(once, NativeKey | UniqueId | Marker | Natural | Never):
        yield "does not say how doing it once is made sure (once)"
        return
    searches = type(action).find is not Action.find
    if isinstance(once, Marker) and (not once.field or once.lag_s < 0 or not searches):
        yield "leaves a marker: it must name the field, a lag that is not negative, and a find that sees it"
    if isinstance(once, NativeKey) and (not once.header or once.window_s <= 0):
        yield "has an idempotency key: it must name the header and a positive window"
    if isinstance(once, NativeKey) and once.marker_after and not searches:
        yield "carries a marker after its key's window, but has no find that sees it"


_CHECKS: Final = (_identity, _roles, _kinds, _doors, _auths, _addresses, _actions)
