"""The names of an effect: stable, and different for different effects."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from lifecyclehub.handoffs import effect_key, idempotency_key, marker
from lifecyclehub.messages import MARKER
from lifecyclehub.ports import base32

PART = st.text(max_size=4) | st.text("a/%2F", max_size=3)
PARTS = st.tuples(PART, PART, PART, PART, PART)


def test_keys_and_markers_never_change_between_releases() -> None:
    key = effect_key("won-deal", "steps", "deal", "deal_1", "hello", 1)
    assert key == "won-deal/steps/deal/deal_1/hello/1"
    assert marker(key, "ins_1") == "lh-sczrxr5x9j"
    assert idempotency_key(key, 1, "ins_1") == "8312ae00e43668fcde47c213a5c9be995c1e05634426be30b2c900759bdbecf6"


@given(st.text(max_size=4) | st.text("aZ09_.~-@:+,() /%é\n", max_size=4))
def test_a_part_is_quoted_as_it_always_was(part: str) -> None:
    assert effect_key("h", "n", "deal", part, part) == "/".join(
        quote(one, safe="@:+-_.,() ") for one in ("h", "n", "deal", part, part, "1")
    )
    parts = "\n".join(quote(one, safe="/") for one in ("marker", "ins_1", part))
    assert marker(part, "ins_1") == f"lh-{base32(int.from_bytes(hashlib.sha256(parts.encode()).digest()) >> 206, 10)}"


def test_a_slash_inside_a_part_is_no_border() -> None:
    assert effect_key("a", "b", "deal", "1", "x/y") != effect_key("a", "b", "deal", "1/x", "y")
    assert effect_key("a", "b", "deal", "1", "/") != effect_key("a", "b", "deal", "1", "%2F")


@given(PARTS, PARTS)
def test_different_effects_have_different_keys(
    one: tuple[str, str, str, str, str], other: tuple[str, str, str, str, str]
) -> None:
    same = effect_key(*one) == effect_key(*other)
    assert same == (one == other)


@given(st.text(), st.text())
def test_a_marker_is_found_by_its_pattern(key: str, installation: str) -> None:
    assert MARKER.fullmatch(marker(key, installation))


def test_the_vendors_key_follows_the_revision_and_the_marker_does_not() -> None:
    keys = {idempotency_key("a/b", revision, where) for revision in (1, 2) for where in ("x", "y")}
    assert len(keys) == 4
    assert all(len(key) == 64 for key in keys)
    assert marker("a/b", "x") != marker("a/b", "y")
    assert marker("a/b/1", "x") != marker("a/b/2", "x")
