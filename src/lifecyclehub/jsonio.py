"""JSON in and out: strict where strangers write it, exact with decimals everywhere.

JSON libraries let duplicate keys, NaN, NUL, huge numbers and endless nesting through, so `parse_strictly`
looks before it parses.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec

from lifecyclehub.errors import NotOurJson

MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_INT_DIGITS = 19  # 64 bits

_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def dumps(value: Any) -> str:
    """Write canonical JSON: sorted keys, decimals as exact numbers, times as RFC 3339."""
    return _encoder.encode(value).decode()


def loads(text: str | bytes) -> Any:
    """Read JSON that we wrote ourselves; numbers with a fraction become `Decimal`."""
    return _decoder.decode(text)


def _depth(text: str) -> int:
    """Give the deepest nesting without recursing, skipping what stands inside strings."""
    depth = deepest = 0
    inside = escaped = False
    for char in text:
        if inside:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                inside = False
        elif char == '"':
            inside = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise NotOurJson("duplicate-key", f"the key {key!r} stands twice in one object")
            seen.add(key)
    return found


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_INT_DIGITS:
        raise NotOurJson("number-too-large", f"an integer of {len(text)} digits")
    return int(text)


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except ArithmeticError as error:  # an exponent beyond what Decimal can hold
        raise NotOurJson("number-too-large", f"the number {text[:40]} is out of range") from error
    if abs(value.adjusted()) > 40 or len(text) > 60:
        raise NotOurJson("number-too-large", f"the number {text[:40]} is out of range")
    return value


def _constant(text: str) -> Any:
    raise NotOurJson("not-a-number", f"{text} is not JSON")


_strict = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_integer, parse_float=_decimal, parse_constant=_constant)


def _may_be_deep(body: bytes) -> bool:
    return body.count(b"[") + body.count(b"{") > MAX_DEPTH


def _refuse_unstorable(value: Any) -> None:
    """Refuse NUL and lone surrogates, which `json` accepts and PostgreSQL does not, and too many values."""
    stack = [value]
    nodes = 0
    while stack:
        here = stack.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise NotOurJson("too-many-values", f"more than {MAX_NODES} values")
        if isinstance(here, str):
            if "\x00" in here:
                raise NotOurJson("nul-character", "a string holds a NUL character")
            if not here.isascii() and any("\ud800" <= char <= "\udfff" for char in here):
                raise NotOurJson("lone-surrogate", "a string holds half of a surrogate pair")
        elif isinstance(here, dict):
            stack.extend(here.keys())
            stack.extend(here.values())
        elif isinstance(here, list):
            stack.extend(here)


def parse_strictly(body: bytes) -> Any:
    """Parse a stranger's JSON: UTF-8, no duplicate keys, no NaN, at most 64 deep and 100,000 values, 64-bit integers.

    Raises `NotOurJson` with a stable reason and a sentence; numbers with a fraction become `Decimal`.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotOurJson("not-utf-8", f"byte {error.start} is not UTF-8") from error
    text = text.removeprefix("\ufeff")
    if _may_be_deep(body) and _depth(text) > MAX_DEPTH:
        raise NotOurJson("too-deep", f"nested deeper than {MAX_DEPTH}")
    try:
        value = _strict.decode(text)
    except NotOurJson:
        raise
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise NotOurJson("not-json", str(error)[:200]) from error
    # Fewer bytes hold fewer values, and what cannot be stored comes only as an escape: the decoder takes no bare NUL.
    if len(body) > MAX_NODES or b"\\u" in body:
        _refuse_unstorable(value)
    return value
