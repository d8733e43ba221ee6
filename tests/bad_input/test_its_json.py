"""Signed, and not to be parsed: deep or huge JSON, NaN, duplicate keys, NUL, invalid UTF-8. It is kept, answered and parked."""

from __future__ import annotations

import json

import pytest

from lifecyclehub.store import tables as t
from tests.support.bad_input import Hall

pytestmark = pytest.mark.anyio

ENTRY = '"portalId": 24810377, "subscriptionType": "deal.creation", "objectId": 1'

# What is sent -> the reason that the delivery is parked with, and a piece of the sentence.
BAD: dict[str, tuple[bytes, str, str]] = {
    "lists in lists in lists": (b"[" * 100_000 + b"]" * 100_000, "too-deep", "nested deeper than 64"),
    "objects in objects": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "too-deep", "nested deeper than 64"),
    "lists that never end": (b"[" * 100_000, "too-deep", "nested deeper than 64"),
    "too many members": (b"{" + b",".join(b'"%d":1' % n for n in range(60_000)) + b"}", "too-many-values", "100000"),
    "too many values": (b"[" + b"1," * 150_000 + b"1]", "too-many-values", "100000"),
    "a number of a thousand digits": (b"[" + b"9" * 1000 + b"]", "number-too-large", "1000 digits"),
    "a number beyond all use": (b"[1e400]", "number-too-large", "1e400 is out of range"),
    "an exponent beyond all machines": (b"[1e99999999999999999999]", "number-too-large", "out of range"),
    "NaN": (f'[{{{ENTRY}, "x": NaN}}]'.encode(), "not-a-number", "NaN is not JSON"),
    "Infinity": (f'[{{{ENTRY}, "x": -Infinity}}]'.encode(), "not-a-number", "Infinity is not JSON"),
    "a key twice": (f'[{{{ENTRY}, "objectId": 2}}]'.encode(), "duplicate-key", "the key 'objectId' stands twice"),
    "a key twice, written in two ways": (b'[{"objectId": 1, "object\\u0049d": 2}]', "duplicate-key", "stands twice"),
    "NUL, written out": (b'["a\\u0000b"]', "nul-character", "NUL"),
    "NUL, as a key": (b'[{"\\u0000": 1}]', "nul-character", "NUL"),
    "NUL, as a byte": (b'["a\x00b"]', "not-json", "control character"),
    "bytes that are no UTF-8": (b'["\xff\xfe"]', "not-utf-8", "byte 2 is not UTF-8"),
    "UTF-8 that is longer than need be": (b'["\xc0\xaf"]', "not-utf-8", "byte 2"),
    "UTF-16": ('["a"]'.encode("utf-16"), "not-utf-8", "byte 0"),
    "half a surrogate pair": (b'["\\ud800"]', "lone-surrogate", "half of a surrogate pair"),
    "half a document": (b'[{"objectId": 1', "not-json", "line 1"),
    "two documents": (b"[] []", "not-json", "Extra data"),
    "no document": (b"   ", "not-json", "Expecting value"),
    "a page instead": (b"<!doctype html><title>503</title>", "not-json", "Expecting value"),
    "single quotes": (b"[{'objectId': 1}]", "not-json", "double quotes"),
    "a comma too many": (b"[1,]", "not-json", "line 1"),
}


@pytest.mark.parametrize("what", BAD)
async def test_it_is_kept_and_answered_and_parked(h: Hall, what: str) -> None:
    body, reason, words = BAD[what]
    async with h.undisturbed("delivery"):
        answer = await h.knock("hubspot", body)

    assert answer.is_success, "vendors disable a hook that answers 4xx"
    (parked,) = [row for row in h.rows(t.delivery) if row["state"] == "parked"]
    assert parked["reason"].startswith(f"{reason}: ")
    assert words in parked["reason"]
    assert parked["body"] == body, "kept as it came, so that it can be looked at"


async def test_the_same_in_the_other_tools_formats(h: Hall) -> None:
    for connector in ("asana", "xero", "zendesk"):
        async with h.undisturbed("delivery"):
            answer = await h.knock(connector, b'{"events": [], "events": []}')
        assert answer.is_success
    parked = [row["reason"] for row in h.rows(t.delivery) if row["state"] == "parked"]
    assert parked == ["duplicate-key: the key 'events' stands twice in one object"] * 3


async def test_an_empty_body_is_no_news(h: Hall) -> None:
    async with h.undisturbed("delivery"):
        answer = await h.knock("hubspot", b"")

    assert answer.is_success


# --- JSON, but no delivery of theirs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"null", b"[]", b"[null]", b"{}"])
async def test_json_that_says_nothing_is_no_news(h: Hall, body: bytes) -> None:
    async with h.undisturbed("delivery", "notice"):
        answer = await h.knock("hubspot", body)

    assert answer.is_success
    assert {row["state"] for row in h.rows(t.delivery)} == {"split"}


@pytest.mark.parametrize(
    "body", [b"7", b'"text"', b"true", b"[[]]", b'[1, "two", {}]', b'{"a": {"b": []}}', b'[{"objectId": {}}]']
)
async def test_json_of_another_shape_is_kept_with_a_reason(h: Hall, body: bytes) -> None:
    async with h.undisturbed("delivery", "notice"):
        answer = await h.knock("hubspot", body)

    assert answer.is_success
    others = [row for row in h.rows(t.notice) if row["kind"] != "hubspot.deal"]
    assert {(row["kind"], row["state"]) for row in others} <= {("hubspot.unreadable", "ignored")}
    assert others


@pytest.mark.parametrize(
    ("connector", "body", "words"),
    [
        ("asana", b"[]", "an Asana delivery is an object with a list of events"),
        ("asana", b'{"events": 7}', "an Asana delivery is an object with a list of events"),
        ("xero", b"[]", "connector xero"),
        ("zendesk", b"[]", "the body is no Zendesk event"),
        ("zendesk", b'{"ticket": 1}', "make one that is subscribed to Zendesk events instead"),
    ],
)
async def test_a_delivery_that_its_connector_cannot_read_is_parked_with_what_it_says(
    h: Hall, connector: str, body: bytes, words: str
) -> None:
    async with h.undisturbed("delivery"):
        answer = await h.knock(connector, body)

    assert answer.is_success
    (parked,) = [row for row in h.rows(t.delivery) if row["state"] == "parked"]
    assert parked["reason"].startswith("cannot be read: ")
    assert words in parked["reason"]


def test_every_bad_body_but_the_large_ones_is_bad_for_the_reason_told() -> None:
    """Most of them pass Python's own parser, or nearly: the reasons are ours."""
    passing = []
    for what, (body, _, _) in BAD.items():
        try:
            json.loads(body)
        except (ValueError, RecursionError):
            continue
        passing.append(what)
    assert len(passing) >= 10
