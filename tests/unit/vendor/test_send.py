"""What goes out, what comes back, and what each failure means."""

from __future__ import annotations

import base64
import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import respx

from lifecyclehub.connector import Auth, Rate
from lifecyclehub.errors import ConfigurationError, NeedsReauthorization, Spared, TryAgain
from lifecyclehub.messages import Reply, Request
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.client import retry_after
from tests.support.reach import BEARER, START, KeptGrants, MovedClock, client, target, tokens

pytestmark = pytest.mark.anyio
GET = Request(method="GET", path="/deals/1")
POST = Request(method="POST", path="/deals", json={"name": "Brücke", "amount": Decimal("10.50")})


async def test_a_request_carries_credentials_account_and_exact_json() -> None:
    seen: list[httpx.Request] = []

    def vendor(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json={"id": 5}, headers={"X-Thing": "a"})

    reply = await client(vendor).send(target(account_header="Papaya-Account"), POST)
    assert reply == Reply(status=201, headers=reply.headers, body=b'{"id":5}')
    assert reply.headers["x-thing"] == "a"
    assert str(seen[0].url) == "https://api.papaya.example/v1/deals"
    assert seen[0].headers["authorization"] == "Bearer canary-token-1"
    assert seen[0].headers["papaya-account"] == "acc-7"
    assert seen[0].content == '{"amount":10.50,"name":"Brücke"}'.encode()


async def test_respx_can_play_the_vendor() -> None:
    router = respx.Router()
    route = router.get("https://api.papaya.example/v1/deals/1").respond(200, json={"id": "1"})
    reply = await client(transport=lambda _private: httpx.MockTransport(router.async_handler)).send(target(), GET)
    assert reply.json() == {"id": "1"}
    assert route.call_count == 1


async def test_a_plugin_cannot_replace_the_credentials() -> None:
    seen: list[httpx.Request] = []

    def vendor(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    forged = (("Authorization", "Bearer mine"), ("Cookie", "a=b"), ("Host", "evil.example"), ("Idempotency-Key", "k-1"))
    await client(vendor).send(target(), Request(method="GET", path="/me", headers=forged))
    assert seen[0].headers["authorization"] == "Bearer canary-token-1"
    assert seen[0].headers["host"] == "api.papaya.example"
    assert seen[0].headers["idempotency-key"] == "k-1"
    assert "cookie" not in seen[0].headers


async def test_a_cookie_of_one_reply_is_not_sent_with_the_next_request() -> None:
    seen: list[str | None] = []

    def vendor(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"set-cookie": "session=of-another; Path=/"})

    sender = client(vendor)
    await sender.send(target(), GET)
    await sender.send(target(), GET)
    assert seen == [None, None]


async def test_a_redirect_is_a_reply_and_is_not_followed() -> None:
    seen: list[str] = []

    def vendor(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://evil.example/"})

    reply = await client(vendor).send(target(), GET)
    assert (reply.status, seen) == (302, ["api.papaya.example"])


@pytest.mark.parametrize("path", ["deals", "/a/../b", "/a/%2e%2E/b", "/a#b", "/a\\b", "/a\r\nX: y", "https://evil.example/"])
async def test_a_path_that_could_lead_elsewhere_is_refused_before_sending(path: str) -> None:
    with pytest.raises(ConfigurationError, match="nothing was sent"):
        await client(lambda _request: pytest.fail("sent")).send(target(), Request(method="GET", path=path))


async def test_a_path_with_two_slashes_stays_at_its_host() -> None:
    hosts: list[str] = []

    def vendor(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(200)

    await client(vendor).send(target(), Request(method="GET", path="//evil.example/x"))
    await client(vendor).send(target(), Request(method="GET", path="/@evil.example/x"))
    assert hosts == ["api.papaya.example", "api.papaya.example"]


async def test_a_host_that_is_not_declared_is_never_called() -> None:
    with pytest.raises(ConfigurationError, match="does not declare"):
        await client(lambda _request: pytest.fail("sent")).send(target(), Request(method="GET", path="/x", host="files"))


async def test_a_header_with_a_line_break_is_refused_before_sending() -> None:
    request = Request(method="GET", path="/x", headers=(("X-A", "b\r\nX-Evil: c"),))
    with pytest.raises(ConfigurationError, match="control character"):
        await client(lambda _request: pytest.fail("sent")).send(target(), request)


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        (httpx.ConnectError("no route"), False),
        (httpx.ConnectTimeout("slow"), False),
        (httpx.PoolTimeout("full"), False),
        (httpx.ReadTimeout("silent"), True),
        (httpx.WriteError("broken pipe"), True),
        (httpx.ReadError("reset"), True),
        (httpx.RemoteProtocolError("half an answer"), True),
        (ConnectionResetError(), True),
    ],
)
async def test_a_fault_says_whether_the_vendor_may_have_seen_the_request(fault: Exception, sent: bool) -> None:
    def vendor(request: httpx.Request) -> httpx.Response:
        raise fault

    with pytest.raises(TryAgain) as caught:
        await client(vendor).send(target(), POST)
    assert caught.value.sent is sent
    assert caught.value.after is None


async def test_after_the_deadline_nothing_is_sent() -> None:
    clock = MovedClock()
    sender = client(lambda _request: pytest.fail("sent"), clock=clock)
    with pytest.raises(TryAgain) as caught:
        await sender.send(target(), POST, deadline_monotonic=clock.monotonic())
    assert caught.value.sent is False


async def test_on_sent_is_told_once_even_when_the_request_goes_out_again() -> None:
    told: list[int] = []
    answers = iter([401, 200])
    machine = KeptGrants({"gra_1": tokens(client_id="c", client_secret="s")})

    def vendor(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": "a", "expires_in": 900})
        return httpx.Response(next(answers))

    from tests.support.reach import MACHINE

    await client(vendor, grants=machine).send(target(auth=MACHINE), POST, on_sent=lambda: told.append(1))
    assert told == [1]


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("315360000", 86400.0),
        ("Mon, 02 Mar 2026 09:01:30 GMT", 90.0),
        ("Mon, 02 Mar 2026 08:00:00 GMT", 0.0),
        ("Fri, 31 Dec 2099 23:59:59 GMT", 86400.0),
        ("-5", 0.0),
        ("soon", None),
        ("nan", None),
        ("", None),
        ("٣", None),
    ],
)
async def test_too_many_requests_carries_the_vendors_wish(header: str, after: float | None) -> None:
    assert retry_after(Reply(status=429, headers={"retry-after": header}), START) == after


async def test_a_429_means_that_nothing_was_done_and_quietens_the_connection() -> None:
    clock, calls = MovedClock(), []

    def vendor(request: httpx.Request) -> httpx.Response:
        calls.append(clock.at)
        return httpx.Response(429, headers={"retry-after": "3"}) if len(calls) == 1 else httpx.Response(200)

    sender = client(vendor, clock=clock)
    with pytest.raises(TryAgain) as caught:
        await sender.send(target(), POST)
    assert (caught.value.sent, caught.value.after) == (False, 3.0)
    await sender.send(target(), POST)
    assert calls == [0.0, 3.0]


@pytest.mark.parametrize(("wish", "spared"), [("59", False), ("60", True), ("86400", True)])
async def test_waiting_for_a_quota_is_no_attempt(wish: str, spared: bool) -> None:
    sender = client(lambda _: httpx.Response(429, headers={"retry-after": wish}), clock=MovedClock())
    with pytest.raises(TryAgain) as caught:
        await sender.send(target(), POST)
    assert (isinstance(caught.value, Spared), caught.value.after, caught.value.sent) == (spared, float(wish), False)


async def test_a_wish_longer_than_the_deadline_is_refused_at_once_without_sending() -> None:
    clock, calls = MovedClock(), []

    def vendor(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        return httpx.Response(429, headers={"retry-after": "3600"})

    sender = client(vendor, clock=clock)
    for _ in range(2):
        with pytest.raises(TryAgain) as caught:
            await sender.send(target(), POST)
        assert caught.value.sent is False
    assert caught.value.after == pytest.approx(3600)
    assert (calls, clock.slept) == ([1], [])


async def test_a_401_on_a_fixed_token_needs_reauthorization() -> None:
    with pytest.raises(NeedsReauthorization, match="con_1"):
        await client(lambda _request: httpx.Response(401)).send(target(), GET)


async def test_a_declared_rate_is_never_exceeded() -> None:
    clock, moments = MovedClock(), []

    def vendor(request: httpx.Request) -> httpx.Response:
        moments.append(clock.at)
        return httpx.Response(200)

    sender, tool = client(vendor, clock=clock), target(rates=(Rate(limit=3, per_s=10),))
    for _ in range(8):
        await sender.send(tool, GET)
    assert moments == [0, 0, 0, 10, 10, 10, 20, 20]


async def test_an_oversize_reply_is_cut_off_after_decompression() -> None:
    import gzip

    bomb = gzip.compress(bytes(3_000_000))
    assert len(bomb) < 10_000

    def vendor(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=bomb, headers={"content-encoding": "gzip"})

    with pytest.raises(TryAgain, match="more than 1000000 bytes") as caught:
        await client(vendor).send(target(size_cap=1_000_000), GET)
    assert caught.value.sent is True
    assert len((await client(vendor).send(target(size_cap=3_000_000), GET)).body) == 3_000_000


async def test_a_reply_compressed_twice_is_not_unpacked() -> None:
    def vendor(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b"x"), headers={"content-encoding": "gzip, gzip"})

    with pytest.raises(TryAgain, match="compressed more than once"):
        await client(vendor).send(target(), GET)


async def test_a_broken_compression_is_a_passing_fault() -> None:
    def vendor(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b"no gzip"), headers={"content-encoding": "gzip"})

    with pytest.raises(TryAgain) as caught:
        await client(vendor).send(target(), GET)
    assert caught.value.sent is True


@pytest.mark.parametrize(
    "vendor",
    [
        lambda request: httpx.Response(401, text=str(request.headers)),
        lambda request: httpx.Response(429, text=request.headers["authorization"]),
        lambda request: (_ for _ in ()).throw(httpx.ReadError(request.headers["authorization"], request=request)),
        lambda request: (_ for _ in ()).throw(httpx.ConnectError(request.headers["authorization"], request=request)),
    ],
)
async def test_no_secret_shows_in_errors_logs_or_values(vendor: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    grants = KeptGrants({"gra_1": tokens(token="canary-token-1")})
    sender, tool = client(vendor, grants=grants), target()
    with pytest.raises((TryAgain, NeedsReauthorization)) as caught:
        await sender.send(tool, GET)
    shown = [str(caught.value), repr(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)]
    shown += [repr(grants.tokens), str(grants.tokens), repr(sender), repr(tool), caplog.text]
    assert not any("canary" in text for text in shown)


@pytest.mark.parametrize(
    ("auth", "secrets"),
    [
        (BEARER, {"token": "canary-token-1"}),
        (Auth(name="b", kind="basic", label="", secrets=("user", "password")), {"user": "ada", "password": "canary-password"}),
        (Auth(name="h", kind="header", label="", secrets=("token",), header="X-Api-Key"), {"token": "canary-key-1"}),
    ],
)
async def test_a_vendor_that_shows_what_it_was_sent_does_not_get_our_credentials_kept(auth: Auth, secrets: Any) -> None:
    def vendor(request: httpx.Request) -> httpx.Response:
        given = request.headers.get("authorization") or request.headers["x-api-key"]
        seen = given + " " + base64.b64decode(given[6:]).decode() if given.startswith("Basic ") else given
        return httpx.Response(400, json={"error": "bad", "request_headers": seen}, headers={"x-echo": given})

    reply = await client(vendor, grants=KeptGrants({"gra_1": tokens(**secrets)})).send(target(auth=auth), GET)
    said = f"{reply.body!r} {dict(reply.headers)}"
    assert reply.json()["error"] == "bad"
    assert "canary" not in said
    assert base64.b64encode(b"ada:canary-password").decode() not in said


class TestAnErrand:
    async def test_a_read_is_tried_again_within_seconds(self) -> None:
        clock = MovedClock()
        answers: Any = iter([httpx.ReadError("reset"), httpx.Response(503), httpx.Response(200, json={"id": 1})])

        def vendor(request: httpx.Request) -> httpx.Response:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        reply = await HubCall(client(vendor, clock=clock), target()).send(GET)
        assert reply.status == 200
        assert clock.slept == pytest.approx([0.4, 0.8])

    async def test_a_write_is_never_tried_again(self) -> None:
        calls: list[int] = []

        def vendor(request: httpx.Request) -> httpx.Response:
            calls.append(1)
            raise httpx.ReadError("reset")

        with pytest.raises(TryAgain):
            await HubCall(client(vendor), target()).send(POST)
        assert calls == [1]

    async def test_a_read_that_keeps_failing_ends_with_its_last_answer(self) -> None:
        reply = await HubCall(client(lambda _request: httpx.Response(502)), target()).send(GET)
        assert reply.status == 502

    async def test_a_long_wish_is_not_waited_for(self) -> None:
        clock = MovedClock()
        with pytest.raises(TryAgain) as caught:
            await HubCall(client(lambda _r: httpx.Response(429, headers={"retry-after": "60"}), clock=clock), target()).send(GET)
        assert (caught.value.after, clock.slept) == (60.0, [])

    async def test_all_requests_of_an_errand_share_one_deadline(self) -> None:
        clock, calls = MovedClock(), []

        def vendor(request: httpx.Request) -> httpx.Response:
            calls.append(1)
            clock.at += 25
            return httpx.Response(200)

        call = HubCall(client(vendor, clock=clock), target(), errand_s=40)
        await call.send(GET)
        await call.send(GET)
        with pytest.raises(TryAgain) as caught:
            await call.send(GET)
        assert (caught.value.sent, calls) == (False, [1, 1])

    async def test_it_knows_account_settings_and_time(self) -> None:
        call = HubCall(client(lambda _r: httpx.Response(200)), target(settings={"pipeline": "7"}))
        assert (call.account, call.settings["pipeline"], call.now()) == ("acc-7", "7", START + timedelta(0))
