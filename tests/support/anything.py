"""Strategies from a JSON Schema: what it allows, and what it does not; of the keywords that our OpenAPI document uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]

# What breaks programs: empty, long, control characters, other alphabets, things that look like code, ids of nobody.
_ODD = ("", " ", "\x00", "\u202e", "%00", "../../etc/passwd", "' OR 1=1 --", "{0.__class__}", "é", "\U0001d54f", "-1", "1e999")
_ODDER = (
    "NaN",
    "null",
    "true",
    "x" * 3000,
    "dea_nobody:deal.status",
    "eff_1",
    "\ud800",
    "2026-02-30T25:61:00Z",
    "%",
    "_",
    "a\nb",
)
ODD = st.sampled_from(_ODD + _ODDER)
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


def allowed(schema: Schema, document: Schema) -> st.SearchStrategy[Any]:
    """Give values that a schema allows."""
    if "$ref" in schema:
        return allowed(resolved(schema, document), document)
    if "anyOf" in schema:
        return st.one_of([allowed(one, document) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    simple: dict[Any, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.integers(schema.get("minimum"), schema.get("maximum")),
    }
    match schema.get("type"):
        case "array":
            return st.lists(allowed(schema["items"], document), max_size=4)
        case "object":
            return _objects(schema, document)
    known = schema.get("type")
    return simple[known] if known in simple else _texts(schema)


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda one: one.isoformat() + "Z")
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    known = st.sampled_from([str(one) for one in schema.get("examples", ["hubspot"])])
    return known | st.text(min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 60), 60))


def _objects(schema: Schema, document: Schema) -> st.SearchStrategy[dict[str, Any]]:
    members = {name: allowed(one, document) for name, one in schema.get("properties", {}).items()}
    needed = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: one for name, one in members.items() if name in needed},
        optional={name: one for name, one in members.items() if name not in needed},
    )


def resolved(schema: Schema, document: Schema) -> Schema:
    """Follow a reference within the document."""
    found: Any = document
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found
