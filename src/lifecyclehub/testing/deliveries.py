"""What the kit proves about deliveries: signatures, notices, and payloads that drifted."""

from __future__ import annotations

import copy
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final

import jmespath

from lifecyclehub.connector import Connector, Door
from lifecyclehub.errors import HubError
from lifecyclehub.messages import Delivery, Document, Notice
from lifecyclehub.signatures import Secret, Verdict, verify
from lifecyclehub.testing.fake import compact
from lifecyclehub.testing.fixtures import DeliveryCase, same

ORDINARY: Final = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, HubError)
"""What `read` may raise over a payload that it does not understand."""

READ_WITHIN_S = 5.0
MOST_PLACES = 400
DRIFTED: Final[tuple[Any, ...]] = (None, "drifted", 7, True, [], ["drifted"], {}, {"drifted": None})
_NO_ID = re.compile(r"|None|True|False|nan|[\[{].*", re.DOTALL)
_OTHER = {"a": "b", "0": "1"}


class Hanging(AssertionError):
    """Plain code of a connector took longer than the core would wait."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Break off what runs longer (on the main thread of a Unix; elsewhere it just runs)."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise Hanging(f"still running after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def door_of(connector: Connector, case: DeliveryCase) -> Door:
    """Give the door of a fixture."""
    door = connector.about.door(case.door)
    assert door, f"{case.path}: there is no door {case.door!r}; known are {[door.name for door in connector.about.doors]}"
    return door


def _verdict(door: Door, case: DeliveryCase) -> Verdict:
    return verify(
        door.signature,
        [Secret("kit", case.secret)],
        method=case.method,
        url=case.url,
        headers=case.headers,
        body=case.body,
        now=case.received_at,
    )


def signature_problems(connector: Connector, case: DeliveryCase) -> list[str]:
    """Say what is wrong with a capture's signature, or with its description by the door."""
    door = door_of(connector, case)
    verdict = _verdict(door, case)
    if case.handshake:
        problems = [] if not verdict.ok else ["a handshake passes as signed"]
        if door.handshake is None or door.handshake.header.lower() not in case.headers:
            problems.append("the door declares no handshake whose header this request has")
        return problems
    if case.refused:
        if not verdict.ok and verdict.reason == case.refused:
            return []
        return [f"must be refused as {case.refused}, but is {'accepted' if verdict.ok else verdict.reason}"]
    if not verdict.ok:
        return [f"does not verify: {verdict.detail}"]
    return [f"still verifies with {what}" for what, changed in _tampered(door, case) if _verdict(door, changed).ok] + [
        *_unsigned_time(door)
    ]


def _unsigned_time(door: Door) -> list[str]:
    if door.signature.timestamp and "timestamp" not in door.signature.parts:
        return ["the door has a time that is not a part of what is signed, so anyone can renew an old delivery"]
    return []


def _flip(text: str) -> str:
    return text[:-1] + _OTHER.get(text[-1:], "a" if text[-1:] != "a" else "b") if text else "a"


def _tampered(door: Door, case: DeliveryCase) -> Iterator[tuple[str, DeliveryCase]]:
    signature, name = door.signature, door.signature.header.lower()
    yield "another secret", replace(case, secret=case.secret + b"x")
    yield "no secret", replace(case, secret=b"")
    yield "no signature", replace(case, headers={key: value for key, value in case.headers.items() if key != name})
    yield (
        "another signature",
        replace(case, headers={**case.headers, name: _other_signature(case.headers[name], signature.member)}),
    )
    if "body" in signature.parts and signature.algorithm.startswith("hmac"):
        yield "a byte added to the body", replace(case, body=case.body + b" ")
        if case.body:
            yield "a byte taken from the body", replace(case, body=case.body[:-1])
            yield "a byte of the body changed", replace(case, body=bytes([case.body[0] ^ 1]) + case.body[1:])
    if "method" in signature.parts:
        yield "another method", replace(case, method="PUT" if case.method != "PUT" else "POST")
    if "url" in signature.parts:
        yield "another URL", replace(case, url=case.url + "?x=1")
    if stamp := signature.timestamp:
        far = timedelta(seconds=stamp.tolerance_s + 1)
        # The stamp lies up to the tolerance away from the time received, so go that far beyond it.
        for way, moment in (("later", case.received_at + 2 * far), ("earlier", case.received_at - 2 * far)):
            yield f"a clock {way} than the tolerance allows", replace(case, received_at=moment)
        if stamp.member is None:
            text = case.headers.get(stamp.header.lower(), "")
            yield "another time", replace(case, headers={**case.headers, stamp.header.lower(): _flip_digit(text)})


def _flip_digit(text: str) -> str:
    """Change the last digit of a time, which stays within the tolerance for milliseconds and seconds."""
    at = max((index for index, char in enumerate(text) if char.isdigit()), default=None)
    if at is None:
        return text + "0"
    return text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :]


def _other_signature(value: str, member: str | None) -> str:
    if member is None:
        return _flip(value)
    return re.sub(rf"(^|,)(\s*{re.escape(member)}=)([^,]*)", lambda found: found[1] + found[2] + _flip(found[3]), value)


def notice_problems(connector: Connector, case: DeliveryCase) -> list[str]:
    """Say where `read` differs from the notices that a capture must give."""
    delivery = case.delivery()
    before = copy.deepcopy(delivery.json)
    with within(READ_WITHIN_S):
        first = list(connector.read(delivery))
        second = list(connector.read(delivery))
    problems = [f"notice {at}: {what}" for at, notice in enumerate(first) for what in malformed(connector, notice)]
    if first != second:
        problems.append("reading twice gave different notices")
    if delivery.json != before:
        problems.append("reading changed the delivery")
    if len(first) != len(case.notices):
        problems.append(f"{len(first)} notices instead of {len(case.notices)}: {first}")
    for at, (wanted, found) in enumerate(zip(case.notices, first, strict=False)):
        problems += [f"notice {at}: {what}" for what in _differences(wanted, found, Notice, before)]
    return problems


def _differences(wanted: Mapping[str, Any], found: Any, made: type, body: Any) -> Iterator[str]:
    names = {field.name: field for field in fields(made)}
    for name in sorted(set(wanted) - set(names)):
        yield f"the fixture names {name}, which a {made.__name__} does not have"
    for name, field in names.items():
        value = getattr(found, name)
        if name == "document" and isinstance(wanted.get(name), dict) and isinstance(value, Document):
            yield from (f"document: {what}" for what in _differences(wanted[name], value, Document, body))
            continue
        default = field.default if field.default is not MISSING else {}
        expected = wanted.get(name, default)
        if name == "data" and isinstance(expected, str):
            expected = jmespath.search(expected, body)
        if not same(expected, value):
            yield f"{name} is {value!r} instead of {expected!r}"


def malformed(connector: Connector, given: object) -> Iterator[str]:
    """Say what makes a value unfit to be a notice of this connector."""
    if not isinstance(given, Notice):
        yield f"{given!r} is no Notice"
        return
    notice: Any = given  # a connector may have put anything into its fields
    yield from _malformed_names(connector, notice)
    for name in ("account", "key", "version", "actor", "into"):
        value = getattr(notice, name)
        if value is not None and (not isinstance(value, str) or _NO_ID.fullmatch(value)):
            yield f"{name} is {value!r}, which is no text of the vendor's"
    if notice.at is not None and (not isinstance(notice.at, datetime) or notice.at.tzinfo is None):
        yield f"at is {notice.at!r}, which is no time with a zone"
    if notice.change not in ("changed", "deleted", "merged"):
        yield f"change is {notice.change!r}"
    elif (notice.change == "merged") != (notice.into is not None):
        yield f"change is {notice.change} and into is {notice.into!r}: they go together"
    if notice.document is not None:
        yield from _malformed_document(connector, notice)


def _malformed_names(connector: Connector, notice: Any) -> Iterator[str]:
    about = connector.about
    kind, dot, rest = notice.kind.partition(".") if isinstance(notice.kind, str) else ("", "", "")
    if kind != about.id or not dot or _NO_ID.fullmatch(rest):
        yield f"kind is {notice.kind!r}; it begins with {about.id}. and names something"
    if not isinstance(notice.record_id, str) or _NO_ID.fullmatch(notice.record_id):
        yield f"record_id is {notice.record_id!r}, which is no id"


def _malformed_document(connector: Connector, notice: Any) -> Iterator[str]:
    document, kind = notice.document, connector.about.kind(notice.kind)
    if not isinstance(document, Document) or (document.kind, document.id) != (notice.kind, notice.record_id):
        yield "document is not the record that the notice names"
    elif not isinstance(getattr(document, "data", None), Mapping):
        yield f"document.data is {document.data!r}, which is no object"
    if kind is not None and kind.order == "none":
        yield f"a document in the payload needs a kind ordered by version or time, and {kind.id} is not"


def drift_problems(connector: Connector, case: DeliveryCase) -> list[str]:
    """Say where a payload that changed its shape makes `read` hang, crash oddly, or give nonsense."""
    if case.handshake or case.refused or not case.body:
        return []
    whole = case.delivery().json
    problems = []
    for what, changed in drifted(whole):
        delivery = replace(case.delivery(), json=changed, body=compact(changed))
        problems += [f"with {what}: {problem}" for problem in _read_oddly(connector, delivery)]
        if len(problems) > 20:
            break
    return problems


def _read_oddly(connector: Connector, delivery: Delivery) -> list[str]:
    try:
        with within(READ_WITHIN_S):
            return [what for notice in connector.read(delivery) for what in malformed(connector, notice)]
    except Hanging as error:
        return [str(error)]
    except ORDINARY:
        return []
    except Exception as error:  # noqa: BLE001 (whatever a connector raises is what we report)
        return [f"raised {type(error).__name__}: {error}"]


def drifted(value: Any) -> Iterator[tuple[str, Any]]:
    """Give the payload with each of its places dropped, and turned into something else, one at a time."""
    for path in list(_places(value))[:MOST_PLACES]:
        where = ".".join(map(str, path)) or "the whole body"
        if path:
            changed = copy.deepcopy(value)
            del _holder(changed, path)[path[-1]]
            yield f"{where} dropped", changed
        for other in DRIFTED:
            if not path:
                yield f"{where} = {other!r}", other
                continue
            changed = copy.deepcopy(value)
            _holder(changed, path)[path[-1]] = other
            yield f"{where} = {other!r}", changed


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, (*path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value[:3]):
            yield from _places(inner, (*path, at))


def _holder(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path[:-1]:
        value = value[step]
    return value
