"""A tool that fails too often is spared, for everybody alike, and no attempt is used meanwhile."""

from __future__ import annotations

from datetime import datetime

import httpx
import pytest

from lifecyclehub.errors import Spared, TryAgain
from lifecyclehub.messages import Request
from lifecyclehub.store.breakers import Opened
from lifecyclehub.vendor.breakers import Breakers
from tests.support.reach import START, MovedClock, client, target

pytestmark = pytest.mark.anyio
GET = Request(method="GET", path="/deals/1")


class Rows:
    """The rows that all processes share."""

    def __init__(self) -> None:
        self.rows: dict[str, Opened] = {}
        self.writes = 0
        self.probing = self.busy = False

    async def opened(self, connection: str, breaker: Opened) -> bool:
        if self.busy:
            return False
        self.writes += 1
        self.rows[connection] = breaker
        self.probing = False
        return True

    async def closed(self, connection: str) -> None:
        self.writes += 1
        self.rows.pop(connection, None)

    async def may_probe(self, connection: str, now: datetime, until: datetime) -> bool:
        assert connection in self.rows
        before, self.probing = self.probing, True
        return not before


async def failing(breakers: Breakers, times: int) -> None:
    for _ in range(times):
        await breakers.note("con_1", "status 503")


async def test_only_a_change_is_written() -> None:
    rows = Rows()
    breakers = Breakers(MovedClock(), rows)
    await failing(breakers, 9)
    assert rows.writes == 0
    await failing(breakers, 5)
    assert rows.writes == 1
    assert (rows.rows["con_1"].pause_s, rows.rows["con_1"].reason) == (30, "status 503")


async def test_a_second_process_spares_the_tool_too_and_one_of_them_tries_again() -> None:
    rows, clock = Rows(), MovedClock()
    one, two = Breakers(clock, rows), Breakers(clock, rows)
    await failing(one, 10)
    assert two.wait_s("con_1") == 0
    two.learn(rows.rows)
    assert one.wait_s("con_1") == two.wait_s("con_1") == 30

    clock.at += 30
    await two.pass_through("con_1")
    with pytest.raises(Spared, match="calls wait for 2 s"):
        await one.pass_through("con_1")
    await two.note("con_1", "status 503")
    one.learn(rows.rows)
    assert one.wait_s("con_1") == 60

    clock.at += 60
    await one.pass_through("con_1")
    await one.note("con_1", None)
    two.learn(rows.rows)
    assert (rows.rows, one.wait_s("con_1"), two.wait_s("con_1")) == ({}, 0, 0)


async def test_while_one_call_tries_again_the_others_of_its_process_wait() -> None:
    breakers, clock = Breakers(MovedClock()), None
    await failing(breakers, 10)
    clock = breakers._clock
    clock.at += 30  # type: ignore[attr-defined]
    await breakers.pass_through("con_1")
    with pytest.raises(Spared):
        await breakers.pass_through("con_1")


async def test_a_pause_survives_a_restart() -> None:
    clock = MovedClock()
    breakers = Breakers(clock)
    row = Opened(open_until=clock.now(), pause_s=480, probe_until=None, since=START, reason="status 503")
    breakers.learn({"con_1": row})
    await breakers.pass_through("con_1")
    await breakers.note("con_1", "status 503")
    assert breakers.wait_s("con_1") == 900


async def test_a_tool_is_spared_also_while_the_store_takes_no_word_of_it() -> None:
    rows, clock = Rows(), MovedClock()
    breakers = Breakers(clock, rows)
    rows.busy = True
    await failing(breakers, 10)
    breakers.learn(rows.rows)  # what is read does not know of it
    assert breakers.wait_s("con_1") == 30
    clock.at += 30
    breakers.learn(rows.rows)
    await breakers.pass_through("con_1")  # nobody else can know of this pause either
    rows.busy = False
    await breakers.note("con_1", "status 503")
    assert (breakers.wait_s("con_1"), rows.rows["con_1"].pause_s) == (60, 60)
    breakers.learn({})  # another process saw the tool answer
    assert breakers.wait_s("con_1") == 0


async def test_calls_that_fail_open_it_and_then_nothing_is_sent() -> None:
    calls = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(503)

    sender = client(answer)
    for _ in range(10):
        await sender.send(target(), GET)
    with pytest.raises(Spared) as spared:
        await sender.send(target(), GET)
    assert (calls, spared.value.sent, spared.value.after) == (10, False, 30)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429])
async def test_what_we_did_wrong_ourselves_does_not_count(status: int) -> None:
    sender = client(lambda _: httpx.Response(status))
    for _ in range(30):
        try:
            await sender.send(target(), GET)
        except Spared:
            raise
        except TryAgain:
            continue
