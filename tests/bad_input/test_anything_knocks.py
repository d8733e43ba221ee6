"""Whatever knocks at the door: only what is signed is kept, the rest is refused with a 4xx, and nothing breaks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecyclehub.store import tables as t
from tests.support.anything import JUNK, ODD
from tests.support.bad_input import ACCOUNTS, PUBLIC, SECRET, SIGNATURES, Hall, hall, signed

pytestmark = pytest.mark.anyio

EXAMPLES = 250
TAKEN = {200, 202, 204}
REFUSED = {400, 401, 403, 404, 405, 408, 413, 415}
LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
_JSON = ("application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "APPLICATION/JSON")
_OTHER = ("application/json; charset=latin-1", "text/html", "", "a/b; c", "multipart/form-data; boundary=x")
MEDIA = st.sampled_from((*_JSON, *_OTHER))
HEADERS = st.sampled_from(
    ("x-hook-secret", "content-encoding", "x-hubspot-request-timestamp", "x-forwarded-for", "expect", "cookie")
)


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hall]:
    """One hub for all that knocks."""
    async with hall(tmp_path_factory.mktemp("door")) as opened:
        yield opened


def bodies() -> st.SearchStrategy[bytes]:
    names = ("events", "objectId", "subscriptionType", "portalId", "type", "detail", "resource", "eventCategory")
    value = st.one_of(JUNK, ODD, st.sampled_from(["1", "deal.propertyChange", "events", "INVOICE"]))
    entries = st.fixed_dictionaries({}, optional=dict.fromkeys(names, value))
    batch = st.fixed_dictionaries({"events": st.lists(entries, max_size=3)})
    shaped = st.one_of(st.lists(entries, max_size=3), entries, batch, JUNK)
    written = shaped.map(lambda one: json.dumps(one).encode("utf-8", "surrogatepass"))
    deep = (b"[" * 9000, b"{" * 9000, b"1" * 5000)
    broken = st.sampled_from([b"", b"[", b'{"a":NaN}', b'{"a":1,"a":2}', b"\xff\xfe", b'"\\u0000"', b"\x00", *deep])
    return st.one_of(written, broken, st.binary(max_size=80))


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    connector=st.sampled_from(sorted(ACCOUNTS)),
    endpoint=st.one_of(st.none(), st.none(), st.none(), ODD, LATIN),
    body=bodies(),
    sign=st.sampled_from((True, True, True, False)),
    media=MEDIA,
    extra=st.one_of(st.just({}), st.dictionaries(HEADERS, LATIN, max_size=2)),
    damage=st.sampled_from(("none", "none", "none", "signature", "body", "secret")),
)
async def test_only_what_is_signed_is_kept_and_nothing_breaks(
    door: Hall, connector: str, endpoint: str | None, body: bytes, sign: bool, media: str, extra: dict[str, str], damage: str
) -> None:
    place = f"end_{connector}" if endpoint is None else endpoint
    path = "/hooks/" + quote(place.encode("utf-8", "surrogatepass"), safe="")
    headers = {"content-type": media}
    if sign:
        secret = "another-secret" if damage == "secret" else SECRET
        headers |= signed(connector, PUBLIC + path, body, door.clock.now(), secret)
    if damage == "signature" and sign:
        headers[SIGNATURES[connector]] = headers[SIGNATURES[connector]][:-3] + "AAA"
    sent = body + b" " if damage == "body" else body
    headers |= extra
    before = len(door.rows(t.delivery))

    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = await door.http.post(path, content=sent, headers=raw)

    kept = door.rows(t.delivery)
    assert answer.status_code in TAKEN | REFUSED, f"{answer.status_code}: {answer.text}"
    assert SECRET not in answer.text
    genuine = sign and damage == "none" and endpoint is None
    if answer.status_code in TAKEN:
        assert genuine, "only what is signed is taken"
        assert [row["body"] for row in kept[before:]] in ([body], [])  # the very same bytes may still be open
    else:
        assert len(kept) == before
    if genuine and not extra and media.lower().partition(";")[0] == "application/json" and "latin" not in media:
        assert answer.status_code in TAKEN, answer.text


async def test_in_the_end_all_that_was_kept_is_read_or_parked_and_a_neighbour_is_served(door: Hall) -> None:
    await door.hub.settled()
    await door.forward(5)
    left: list[Any] = [row for row in door.rows(t.delivery) if row["state"] not in ("split", "parked")]
    assert left == []
    assert len(door.rows(t.delivery)) > 20, "something was signed"
    await door.good()
