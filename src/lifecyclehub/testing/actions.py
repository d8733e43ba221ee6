"""What the kit proves about actions: requests as shown, replies judged as said, and doing it once as declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lifecyclehub.connector import Action, Connector, Marker, NativeKey, UniqueId
from lifecyclehub.errors import CallFailed, NeedsReauthorization, TryAgain
from lifecyclehub.messages import MARKER, Absent, Done, Key, Outcome, Reply, Request, Retry, Sighting, header
from lifecyclehub.testing import defaults
from lifecyclehub.testing.fake import FakeCall, compact, reply
from lifecyclehub.testing.fixtures import KIT_KEY, RESPONSE_KEYS, BadFixture, Script, call_for, load, same

OTHER_KEY = Key(idempotency="contract-kit-fedcba9876543210", marker="lh-9876543210")
LOGIN_PAGE = "<!DOCTYPE html><html><head><title>Log in</title></head><body>Please log in.</body></html>"


def load_response(connector: Connector, path: Path) -> tuple[Action[Any], dict[str, Any]]:
    """Read an action's fixture and find its action by the file's name. Raises `BadFixture`."""
    found = load(path, RESPONSE_KEYS, ("input", "body", "request"))
    action = connector.about.action(path.name.partition(".")[0])
    if action is None:
        known = ", ".join(action.name for action in connector.about.actions)
        raise BadFixture(f"{path}: the name begins with no action of {connector.about.name}; there are {known}")
    return action, found


def input_of(action: Action[Any], found: Mapping[str, Any]) -> Any:
    """Make the canonical input. Raises `BadFixture`."""
    try:
        return action.input.model_validate_json(compact(found["input"]))
    except ValidationError as error:
        raise BadFixture(f"{action.name}: the input is not {action.input.__name__}: {error}") from error


def rendered(action: Action[Any], found: Mapping[str, Any], key: Key = KIT_KEY) -> Request:
    """Render a fixture's request."""
    return action.render(input_of(action, found), found["body"], key)


def render_problems(connector: Connector, path: Path) -> list[str]:
    """Say where the rendered request differs from the fixture, or is not pure."""
    action, found = load_response(connector, path)
    before = compact(found["body"])
    request = rendered(action, found)
    problems = list(_request_differences(found["request"], request))
    if compact(found["body"]) != before:
        problems.append("render changed the body that it was given")
    elif rendered(action, found) != request:
        problems.append("rendering twice gave different requests")
    if not request.path.startswith("/") or "?" in request.path:
        problems.append(f"path {request.path!r} must start with a slash and hold no query")
    if request.json is not None and request.form is not None:
        problems.append("a request has json or form, not both")
    if request.host not in {host.name for host in connector.about.hosts}:
        problems.append(f"host {request.host!r} is not one of About.hosts")
    try:
        made = defaults.map_out(connector, action, input_of(action, found), found)
    except defaults.NoMapping as error:
        return [*problems, str(error)]
    if not same(found["body"], made):
        problems.append(f"the default mapping makes {made!r} of the input instead of {found['body']!r}")
    return problems


def _request_differences(wanted: Mapping[str, Any], request: Request) -> Iterator[str]:
    names = {field.name for field in fields(Request)}
    if unknown := sorted(set(wanted) - names):
        yield f"the fixture's request names {', '.join(unknown)}, which a Request does not have"
    expected = {"query": [], "headers": {}, "json": None, "form": None, "host": "api", "timeout_s": None, **wanted}
    for name in sorted(names):
        value: Any = getattr(request, name)
        if name == "headers":
            value = {key.lower(): text for key, text in request.headers}
            expected[name] = {key.lower(): text for key, text in expected[name].items()}
        if not same(expected.get(name), value):
            yield f"request.{name} is {value!r} instead of {expected.get(name)!r}"


def once_problems(connector: Connector, path: Path) -> list[str]:
    """Say where a declared way of doing it once is not in the rendered request."""
    action, found = load_response(connector, path)
    request, other = rendered(action, found), rendered(action, found, OTHER_KEY)
    match action.once:
        case Marker(field=field):
            problems = _marker_problems(field, request, KIT_KEY) + _marker_problems(field, other, OTHER_KEY)
        case NativeKey() as once:
            problems = _header_problems(once, request, KIT_KEY) + _header_problems(once, other, OTHER_KEY)
        case UniqueId(field=field):
            problems = [] if field_at(request, field) else [f"once is UniqueId({field!r}), and that field is empty"]
        case _:
            problems = []
    return problems


def _marker_problems(field: str, request: Request, key: Key) -> list[str]:
    texts = [field_at(request, one) for one in field.split(" or ")]
    markers = {one for text in texts if isinstance(text, str) for one in MARKER.findall(text)}
    held = " and ".join(repr(text) for text in texts)
    if key.marker not in markers:
        return [f"once is Marker({field!r}), and that field holds {held} instead of the marker {key.marker}"]
    others = sorted(markers - {key.marker})
    return [f"once is Marker({field!r}), and beside {key.marker} it holds {', '.join(others)}: {held}"] if others else []


def _header_problems(once: NativeKey, request: Request, key: Key) -> list[str]:
    problems = []
    if header(request.headers, once.header) != key.idempotency:
        problems.append(f"once is NativeKey({once.header!r}), and that header is not the idempotency key")
    if once.marker_after and key.marker not in str(request.json if request.form is None else request.form):
        problems.append("once is NativeKey with marker_after, and the marker is nowhere in the body")
    return problems


def field_at(request: Request, path: str) -> Any:
    """Give what stands at a dotted path of the request's JSON, or in its form; None for nothing."""
    if request.form is not None:
        return dict(request.form).get(path)
    value = request.json
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, Sequence) and not isinstance(value, str) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def judge_problems(connector: Connector, path: Path) -> list[str]:
    """Say where replies are judged otherwise than the fixture says, or unsafely."""
    action, found = load_response(connector, path)
    request = rendered(action, found)
    problems = []
    for at, said in enumerate(found.get("replies", [])):
        answer = reply(said["status"], said.get("body"), said.get("headers"))
        outcome = _judgement(action, answer, request)
        problems += [f"reply {at} (status {answer.status}): {what}" for what in value_problems(said["outcome"], outcome)]
        if value_problems(said["outcome"], _judgement(action, answer, request)) != value_problems(said["outcome"], outcome):
            problems.append(f"reply {at}: judging twice gave different outcomes")
    return problems + list(unsafe_judgements(action, request))


def _judgement(action: Action[Any], answer: Reply, request: Request) -> Outcome | NeedsReauthorization:
    """Judge; that our credentials are refused is an error by which the core pauses the connection."""
    try:
        return action.judge(answer, request)
    except NeedsReauthorization as error:
        return error


def unsafe_judgements(action: Action[Any], request: Request) -> Iterator[str]:
    """Say which replies that prove nothing are taken for done, or for a reason to send a create again."""
    for status in (500, 502, 504, 408):
        outcome = _judged(action, reply(status, LOGIN_PAGE, {"content-type": "text/html"}), request)
        if isinstance(outcome, Done | str) or (action.creates and isinstance(outcome, Retry)):
            yield f"a status {status} is judged {outcome}; it tells nothing about what was done"
    if action.creates:
        for what, body in (("a log-in page", LOGIN_PAGE), ("an empty body", ""), ("an empty object", {})):
            outcome = _judged(action, reply(200, body), request)
            if isinstance(outcome, Done | Retry | str):
                yield f"status 200 with {what} is judged {outcome}; no record can be linked to it"


def _judged(action: Action[Any], answer: Reply, request: Request) -> Outcome | str:
    try:
        return action.judge(answer, request)
    except Exception as error:  # noqa: BLE001 (whatever a connector raises is what we report)
        return f"by raising {type(error).__name__}: {error}"


def value_problems(wanted: Mapping[str, Any], got: Any) -> list[str]:
    """Compare an outcome or sighting with the class and the fields that a fixture names."""
    if type(got).__name__ != wanted["is"]:
        return [f"is {got!r} instead of {wanted['is']}"]
    problems = []
    for name, value in wanted.items():
        if name == "is":
            continue
        found = getattr(got, name, None)
        if name == "reason":
            if str(value) not in str(found):
                problems.append(f"reason is {found!r}, without {value!r}")
        elif name == "records":
            problems += _record_problems(value, found or ())
        elif name == "document":
            problems += [] if found is not None else ["document is missing"]
        elif not same(value, found):
            problems.append(f"{name} is {found!r} instead of {value!r}")
    return problems


def _record_problems(wanted: list[dict[str, Any]], found: Sequence[Done]) -> list[str]:
    if len(wanted) != len(found):
        return [f"{len(found)} records instead of {len(wanted)}: {found}"]
    return [what for one, record in zip(wanted, found, strict=True) for what in value_problems({"is": "Done", **one}, record)]


async def lookup_problems(connector: Connector, path: Path) -> list[str]:
    """Say where `find` and `check` differ from the fixture, or call something absent that they could not see."""
    action, found = load_response(connector, path)
    value, problems = input_of(action, found), []
    for at, said in enumerate(found.get("find", [])):
        script = Script(said["replies"], f"{path.name} find {at}")
        sighting = await _found(action, call_for(found, script), value)
        problems += [f"find {at}: {what}" for what in value_problems(said["sighting"], sighting)] + script.unused()
    for at, said in enumerate(found.get("check", [])):
        script = Script(said["replies"], f"{path.name} check {at}")
        outcome = await action.check(call_for(found, script), said["handle"])
        problems += [f"check {at}: {what}" for what in value_problems(said["outcome"], outcome)] + script.unused()
    return problems + [problem async for problem in _absent_by_failure(action, found, value)]


async def _found(action: Action[Any], call: FakeCall, value: Any) -> Sighting | str:
    try:
        return await action.find(call, value, KIT_KEY)
    except CallFailed as error:
        return f"raised {type(error).__name__}"


def _always(answer: Reply | Exception, _request: Request) -> Reply | Exception:
    return answer


async def _absent_by_failure(action: Action[Any], found: Mapping[str, Any], value: Any) -> Any:
    failures = (
        ("a fault of the network", TryAgain("the network is down")),
        ("status 500", reply(500, "")),
        ("status 403", reply(403, {})),
        ("a log-in page", reply(200, LOGIN_PAGE)),
    )
    for what, answer in failures:
        call = FakeCall(
            partial(_always, answer),
            account=call_for(found, Script([], "")).account,
            settings=found.get("settings"),
        )
        try:
            sighting = await action.find(call, value, KIT_KEY)
        except Exception:  # noqa: BLE001, S112 (a look-up that fails is no sighting, and the core takes it so)
            continue
        if isinstance(sighting, Absent):
            yield f"find says Absent after {what}; only a complete look-up may"
    call = FakeCall(
        partial(_always, NeedsReauthorization("status 401")),
        account=call_for(found, Script([], "")).account,
        settings=found.get("settings"),
    )
    with suppress(NeedsReauthorization):
        sighting = await action.find(call, value, KIT_KEY)
        if call.requests:
            yield f"find says {sighting} where our credentials are refused; let NeedsReauthorization through, so that it pauses"


def coverage(connector: Connector, files: Sequence[Path]) -> dict[str, dict[str, set[str]]]:
    """Tell, per action, which outcomes and sightings the fixtures show."""
    shown: dict[str, dict[str, set[str]]] = {
        action.name: {"outcomes": set(), "sightings": set()} for action in connector.about.actions
    }
    for path in files:
        action, found = load_response(connector, path)
        shown[action.name]["outcomes"] |= {said["outcome"]["is"] for said in found.get("replies", [])}
        shown[action.name]["sightings"] |= {said["sighting"]["is"] for said in found.get("find", [])}
    return shown


def action_coverage_problems(connector: Connector, files: Sequence[Path]) -> list[str]:
    """Say which actions no fixture shows done, or refused."""
    problems = []
    for name, seen in coverage(connector, files).items():
        if not seen["outcomes"] & {"Done", "Accepted"}:
            problems.append(f"{name}: no fixture shows it done")
        if "Refused" not in seen["outcomes"]:
            problems.append(f"{name}: no fixture shows it refused")
    return problems


def needs_lookup(action: Action[Any]) -> bool:
    """Tell whether doing it once rests on a look-up."""
    return isinstance(action.once, Marker) or (isinstance(action.once, NativeKey) and action.once.marker_after)


def find_coverage_problems(connector: Connector, files: Sequence[Path]) -> list[str]:
    """Say which look-ups are not shown to find, to miss, and to be unable to tell."""
    seen = coverage(connector, files)
    return [
        f"{action.name}: no fixture shows a look-up that says {wanted}"
        for action in connector.about.actions
        if needs_lookup(action)
        for wanted in ("Found", "Absent", "CannotTell")
        if wanted not in seen[action.name]["sightings"]
    ]
