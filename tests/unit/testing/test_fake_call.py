"""A fake call answers as a test says, and as the core would hand it on."""

from __future__ import annotations

import pytest

from lifecyclehub.connector import Call
from lifecyclehub.errors import NeedsReauthorization, RecordGone, TryAgain
from lifecyclehub.messages import Request
from lifecyclehub.testing import NOW, FakeCall, Unanswered, reply

pytestmark = pytest.mark.anyio


def get(path: str, *query: tuple[str, str]) -> Request:
    return Request(method="GET", path=path, query=query)


async def test_the_most_exact_answer_is_given_and_requests_are_kept() -> None:
    call = FakeCall({"GET /a": reply(200, {"which": "any"}), "GET /a?page=2": reply(200, {"which": "second"})})
    assert (await call.send(get("/a", ("page", "2"), ("limit", "5")))).json() == {"which": "second"}
    assert (await call.send(get("/a"))).json() == {"which": "any"}
    assert [request.query for request in call.requests] == [(("page", "2"), ("limit", "5")), ()]


async def test_a_list_is_used_up_in_order() -> None:
    call = FakeCall({"GET /a": [reply(200, 1), RecordGone("a")]})
    assert (await call.send(get("/a"))).json() == 1
    with pytest.raises(RecordGone):
        await call.send(get("/a"))
    with pytest.raises(Unanswered, match="more often"):
        await call.send(get("/a"))


async def test_what_nobody_expected_fails_and_says_what_is_answered() -> None:
    call = FakeCall({"GET /a": reply(200)})
    with pytest.raises(Unanswered, match=r"nothing answers GET /b\?x=1; answered are: GET /a"):
        await call.send(get("/b", ("x", "1")))


async def test_the_statuses_that_the_core_raises_are_raised() -> None:
    call = FakeCall({"GET /a": reply(401), "GET /b": reply(429, None, {"Retry-After": "7"}), "GET /c": reply(500, "<p>")})
    with pytest.raises(NeedsReauthorization):
        await call.send(get("/a"))
    with pytest.raises(TryAgain) as raised:
        await call.send(get("/b"))
    assert raised.value.after == 7
    assert (await call.send(get("/c"))).body == b"<p>"


async def test_a_function_may_answer_everything() -> None:
    call = FakeCall(lambda request: reply(200, [request.path]), account="9", settings={"team": "1"})
    assert (await call.send(get("/x"))).json() == ["/x"]
    plain: Call = call
    assert (plain.account, plain.settings, plain.now()) == ("9", {"team": "1"}, NOW)
