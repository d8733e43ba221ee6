"""JSON in and out."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecyclehub.errors import NotOurJson
from lifecyclehub.jsonio import MAX_DEPTH, MAX_NODES, dumps, loads, parse_strictly

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=4
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=25,
)


@given(VALUES)
def test_what_we_write_we_read_back_exactly(value: Any) -> None:
    text = dumps(value)
    assert loads(text) == value
    assert parse_strictly(text.encode()) == value


@given(st.dictionaries(TEXT, st.integers(0, 9), max_size=8))
def test_what_is_written_does_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    assert dumps(value) == dumps(dict(reversed(value.items())))


def test_decimals_and_times_are_written_exactly() -> None:
    value = {"b": Decimal("0.10"), "a": datetime(2026, 3, 2, 9, 0, tzinfo=UTC)}
    assert dumps(value) == '{"a":"2026-03-02T09:00:00Z","b":0.10}'
    assert loads('{"b":0.10}')["b"].as_tuple() == Decimal("0.10").as_tuple()


def test_amounts_are_never_floats() -> None:
    read = parse_strictly(b'{"amount": 1234567890.12, "small": 1e-7, "whole": 3}')
    assert read == {"amount": Decimal("1234567890.12"), "small": Decimal("1E-7"), "whole": 3}
    assert [type(value) for value in read.values()] == [Decimal, Decimal, int]


DEEP = b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"{'a':1}", "not-json"),
        (b"[1,]", "not-json"),
        (b"[1] [2]", "not-json"),
        (b"<html>", "not-json"),
        (b"\xff", "not-utf-8"),
        (b'"\xc0\x80"', "not-utf-8"),
        ('{"a":1}'.encode("utf-16"), "not-utf-8"),
        (b'{"a":1,"a":2}', "duplicate-key"),
        (b'{"a":{"b":1,"\\u0062":2}}', "duplicate-key"),
        (b"NaN", "not-a-number"),
        (b"[Infinity]", "not-a-number"),
        (b"-Infinity", "not-a-number"),
        (b'"a\\u0000b"', "nul-character"),
        (b'{"a\\u0000b":1}', "nul-character"),
        (b'"a\x00b"', "not-json"),
        (b'"\\ud800"', "lone-surrogate"),
        (b'["\\udc00\\ud800"]', "lone-surrogate"),
        (b'{"\\ud800":1}', "lone-surrogate"),
        (b"12345678901234567890", "number-too-large"),
        (b"9" * 5000, "number-too-large"),
        (b"-" + b"9" * 20, "number-too-large"),
        (b"1e400", "number-too-large"),
        (b"1e99999999999999999999", "number-too-large"),
        (b"0." + b"1" * 100, "number-too-large"),
        (DEEP, "too-deep"),
        (b"[" * 500_000, "too-deep"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "too-deep"),
        (b'["\\"[",' + DEEP + b"]", "too-deep"),
        (b"[" + b"1," * MAX_NODES + b"1]", "too-many-values"),
        (b"{" + b",".join(b'"%d":1' % n for n in range(MAX_NODES + 1)) + b"}", "too-many-values"),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else value,
)
def test_what_no_record_needs_is_refused_with_a_stable_reason(body: bytes, reason: str) -> None:
    with pytest.raises(NotOurJson) as caught:
        parse_strictly(body)
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\xef\xbb\xbf{}", {}),
        (b' \r\n\t{"a": [1, null, true]} ', {"a": [1, None, True]}),
        ('"😀"'.encode(), "😀"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
        (b'"' + b"[" * 1000 + b'"', "[" * 1000),
        (b'["\\"", "' + b"{" * 100 + b'"]', ['"', "{" * 100]),
        (b"-9223372036854775808", -(2**63)),
        (b"0", 0),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_a_vendor_may_send_is_read(body: bytes, value: Any) -> None:
    read = parse_strictly(body)
    assert value is None or read == value


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_but_never_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(NotOurJson):
        parse_strictly(body)


ODD = st.lists(st.sampled_from(["a", "\x00", "\ud83d", "\ude00", "😀", "\\", '"', "u0000"]), max_size=6).map("".join)


@given(ODD, st.booleans())
def test_whatever_is_read_can_be_stored(text: str, escaped: bool) -> None:
    body = json.dumps({text: [text]}, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    with contextlib.suppress(NotOurJson):
        for key, (value,) in parse_strictly(body).items():
            assert b"\x00" not in (key + value).encode()


@given(VALUES, st.data())
def test_a_touched_document_is_read_or_refused_but_never_raises_anything_else(value: Any, data: st.DataObject) -> None:
    body = bytearray(json.dumps(value, default=str).encode())
    position = data.draw(st.integers(0, len(body) - 1))
    body[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(NotOurJson):
        parse_strictly(bytes(body))


def test_a_megabyte_of_brackets_is_refused_at_once() -> None:
    began = time.perf_counter()
    for bomb in (b"[" * 1_000_000, b'{"a":' * 200_000, b'["' + b"\\\\" * 400_000 + b'"' + b"[" * 200_000):
        with pytest.raises(NotOurJson):
            parse_strictly(bomb)
    assert time.perf_counter() - began < 5
