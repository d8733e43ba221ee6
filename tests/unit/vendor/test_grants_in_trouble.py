"""What a busy store, an odd answer and another process do not do to credentials."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from lifecyclehub.errors import NeedsReauthorization, Spared, TryAgain
from lifecyclehub.store.writer import StoreBusy
from lifecyclehub.vendor.grants import Tokens
from tests.support.grants import GET, rotating
from tests.support.reach import ROTATING, MovedClock, client, target, tokens

pytestmark = pytest.mark.anyio


async def test_tokens_that_cannot_be_kept_for_minutes_are_not_used_either() -> None:
    grants, vendor = rotating()
    grants.fail_saves = 3
    clock = MovedClock()
    sender = client(vendor, grants=grants, clock=clock)
    for _ in range(3):
        with pytest.raises(OSError, match="disk is full"):
            await sender.send(target(auth=ROTATING), GET)
        clock.at += 61  # what is known in memory counts for a minute
    assert "called" not in grants.journal
    assert (await sender.send(target(auth=ROTATING), GET)).status == 200
    assert vendor.issued == 1


async def test_a_changed_configuration_does_not_lose_tokens_that_could_not_be_kept_yet() -> None:
    grants, vendor = rotating()
    grants.fail_saves = 1
    sender = client(vendor, grants=grants)
    with pytest.raises(OSError, match="disk is full"):
        await sender.send(target(auth=ROTATING), GET)
    sender.forget("gra_1")  # a switch was made, or another connection added
    assert (await sender.send(target(auth=ROTATING), GET)).status == 200
    assert vendor.issued == 1


async def test_what_an_admin_entered_counts_more_than_tokens_that_could_not_be_kept() -> None:
    grants, vendor = rotating()
    grants.fail_saves = 1
    sender = client(vendor, grants=grants)
    with pytest.raises(OSError, match="disk is full"):
        await sender.send(target(auth=ROTATING), GET)
    vendor.refresh = "r-admin"
    grants.tokens["gra_1"] = tokens(client_id="id:1", client_secret="canary-s/1", refresh_token="r-admin")
    sender.forget("gra_1")
    assert (await sender.send(target(auth=ROTATING), GET)).status == 200
    assert vendor.token_requests[-1].content.decode().endswith("r-admin")


async def test_a_token_that_was_simply_refused_is_not_said_to_be_lost() -> None:
    grants, vendor = rotating()
    vendor.refresh = "revoked in the tool"
    for _ in range(2):
        with pytest.raises(NeedsReauthorization, match=r"refused to renew the access \(invalid_grant\)"):
            await client(vendor, grants=grants).send(target(auth=ROTATING), GET)


@pytest.mark.parametrize("fault", [httpx.ConnectError("refused"), httpx.Response(429)])
async def test_a_refresh_that_reached_nobody_is_not_said_to_be_lost(fault: httpx.Response | Exception) -> None:
    grants, vendor = rotating()

    def out_of_order(_request: httpx.Request) -> httpx.Response:
        if isinstance(fault, Exception):
            raise fault
        return fault

    with pytest.raises(TryAgain) as caught:
        await client(out_of_order, grants=grants).send(target(auth=ROTATING), GET)
    assert caught.value.sent is False
    vendor.refresh = "revoked in the tool"
    with pytest.raises(NeedsReauthorization, match=r"refused to renew the access \(invalid_grant\)"):
        await client(vendor, grants=grants).send(target(auth=ROTATING), GET)


async def test_a_token_endpoint_that_has_had_too_many_requests_is_left_alone_for_as_long_as_it_says() -> None:
    grants, _ = rotating()
    with pytest.raises(TryAgain) as caught:
        await client(lambda _r: httpx.Response(429, headers={"retry-after": "90"}), grants=grants).send(
            target(auth=ROTATING), GET
        )
    assert caught.value.after == 90


@pytest.mark.parametrize("wish", [8, 3600])
async def test_no_access_is_renewed_while_the_vendor_wants_quiet(wish: int) -> None:
    grants, vendor = rotating()
    clock, renewed = MovedClock(), []
    refusal = iter([httpx.Response(429, headers={"retry-after": str(wish)})])

    async def tool(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            renewed.append(clock.at)
            return await vendor(request)
        return next(refusal, None) or await vendor(request)

    sender = client(tool, grants=grants, clock=clock)
    with pytest.raises(TryAgain):
        await sender.send(target(auth=ROTATING), GET)
    renewed.clear()
    grants.tokens["gra_1"] = replace(grants.tokens["gra_1"], access=None)
    sender.forget("gra_1")
    if wish < 30:
        assert (await sender.send(target(auth=ROTATING), GET)).status == 200
        assert renewed == [8.0]
    else:
        with pytest.raises(Spared):
            await sender.send(target(auth=ROTATING), GET)
        assert (renewed, clock.slept) == ([], [])


async def test_a_wait_for_quiet_that_ends_a_little_early_is_over() -> None:
    class Rounding(MovedClock):
        async def sleep(self, seconds: float) -> None:
            assert seconds > 1e-6, "it slept for what was rounded off"
            await super().sleep(seconds - 1e-9)

    grants, vendor = rotating()
    sender = client(vendor, grants=grants, clock=Rounding())
    sender._rates.pause("con_1", 8)
    assert await sender._granted(target(auth=ROTATING), 1030.0)
    assert vendor.issued == 1


@pytest.mark.parametrize("connection", ["con_1", "con_2"])
async def test_quiet_that_is_wished_for_once_a_renewal_has_begun_counts_for_that_connection_alone(connection: str) -> None:
    grants, vendor = rotating()
    clock, hold = MovedClock(), grants.hold
    sender = client(vendor, grants=grants, clock=clock)

    async def held(grant_id: str) -> bool:
        sender._rates.pause("con_1", 3600)  # as a 429 does
        return await hold(grant_id)

    grants.hold = held  # type: ignore[method-assign]
    one = replace(target(auth=ROTATING), connection=connection)
    if connection == "con_2":
        assert (await sender.send(one, GET)).status == 200
        return
    with pytest.raises(TryAgain) as caught:
        await sender.send(one, GET)
    assert (vendor.issued, caught.value.sent) == (0, False)
    with pytest.raises(Spared):  # the next one knows for how long
        await sender.send(one, GET)
    assert (await sender.send(replace(one, connection="con_2"), GET)).status == 200


@pytest.mark.parametrize("odd", ["canary\r\nx-other: 1", "canary\u00fc", " ", "a\x00b"])
async def test_an_access_token_that_fits_in_no_header_is_no_answer(odd: str) -> None:
    grants, _ = rotating()
    with pytest.raises(TryAgain, match="something else") as caught:
        await client(lambda _r: httpx.Response(200, json={"access_token": odd}), grants=grants).send(target(auth=ROTATING), GET)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("what", ["load", "hold", "save"])
async def test_while_the_store_is_busy_nothing_was_sent(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grants, vendor = rotating()

    async def busy(*_: object) -> Any:
        raise StoreBusy("database is locked")

    monkeypatch.setattr(grants, what, busy)
    with pytest.raises(TryAgain) as caught:
        await client(vendor, grants=grants).send(target(auth=ROTATING), GET)
    assert caught.value.sent is False
    assert "called" not in grants.journal


# --- several processes ------------------------------------------------------------------------------------------------


async def test_while_another_process_renews_a_grant_this_one_waits_and_takes_what_came_of_it() -> None:
    grants, vendor = rotating()
    grants.holders["gra_1"] = "another"
    clock = MovedClock()
    sender = client(vendor, grants=grants, clock=clock)
    waits = 0

    async def sleep(seconds: float) -> None:
        nonlocal waits
        waits += 1
        if waits == 3:  # the other one has it now
            vendor.refresh, vendor.access = "r-9", "canary-a-9"
            secrets = {**grants.tokens["gra_1"].secrets, "refresh_token": SecretStr("r-9")}
            grants.tokens["gra_1"] = Tokens(secrets=secrets, access=SecretStr("canary-a-9"), expires_at=None)
        clock.at += seconds

    clock.sleep = sleep  # type: ignore[method-assign]
    assert (await sender.send(target(auth=ROTATING), GET)).status == 200
    assert (vendor.token_requests, waits) == ([], 3)


async def test_what_an_admin_entered_while_an_answer_was_on_its_way_is_not_overwritten() -> None:
    grants, vendor = rotating()

    def entered() -> None:
        grants.tokens["gra_1"] = tokens(client_id="id:1", client_secret="canary-s/1", refresh_token="r-admin")

    vendor.before_answer = entered
    sender = client(vendor, grants=grants)
    with pytest.raises(NeedsReauthorization):
        await sender.send(target(auth=ROTATING), GET)
    assert grants.tokens["gra_1"].secrets["refresh_token"].get_secret_value() == "r-admin"


async def test_the_right_to_renew_is_given_back_whatever_came_of_it() -> None:
    grants, vendor = rotating()
    vendor.refresh = "another"
    with pytest.raises(NeedsReauthorization):
        await client(vendor, grants=grants).send(target(auth=ROTATING), GET)
    assert grants.holders == {}
