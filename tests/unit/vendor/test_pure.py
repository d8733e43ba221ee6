"""When to try again, when to pause a connection, how often to call."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecyclehub.connector import Rate
from lifecyclehub.errors import TryAgain
from lifecyclehub.vendor.breaker import Breaker, after_call, before_call
from lifecyclehub.vendor.rates import RateLimits
from lifecyclehub.vendor.retry import next_try
from tests.support.reach import START, Middle, MovedClock


class Seeded(random.Random):
    """The spread of one seed."""

    def bytes(self, count: int) -> bytes:
        return self.randbytes(count)


S = timedelta(seconds=1)
H = timedelta(hours=1)


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 1), (2, 5), (3, 30), (4, 120), (5, 600), (6, 1800), (7, 3600), (8, 3600), (50, 3600)]
)
def test_the_waits_grow_as_promised(attempts: int, seconds: int) -> None:
    assert next_try(START, attempts, START, None, Middle()) == START + seconds * S


@given(st.integers(1, 100), st.integers(0, 2**32))
def test_the_spread_is_a_fifth_at_most(attempts: int, seed: int) -> None:
    usual = next_try(START, attempts, START, None, Middle())
    moment = next_try(START, attempts, START, None, Seeded(seed))
    assert usual is not None
    assert moment is not None
    assert 0.8 * (usual - START) <= moment - START <= 1.2 * (usual - START)


def test_after_72_hours_it_is_given_up() -> None:
    assert next_try(START, 60, START + 70.9 * H, None, Middle()) is not None
    assert next_try(START, 60, START + 71.1 * H, None, Middle()) is None
    assert next_try(START, 1, START + 73 * H, 5.0, Middle()) is None


@given(st.floats(0, 1e12), st.integers(0, 2**32))
def test_the_vendors_wish_is_obeyed_and_capped_at_a_day(after: float, seed: int) -> None:
    moment = next_try(START, 1, START, after, Seeded(seed))
    assert moment is not None
    assert min(after, 86400.0) - 1e-5 <= (moment - START).total_seconds() <= 86400.0


def failing(count: int, *, ok: int = 0, breaker: Breaker | None = None, at: datetime = START) -> Breaker:
    breaker = breaker or Breaker()
    for good in [True] * ok + [False] * count:
        breaker = after_call(breaker, at, ok=good)
    return breaker


def test_the_breaker_opens_at_ten_calls_with_seven_failures() -> None:
    assert before_call(failing(9), START)[0] == "go"
    assert before_call(failing(10), START)[0] == "wait"
    assert before_call(failing(6, ok=4), START)[0] == "go"
    assert before_call(failing(7, ok=3), START)[0] == "wait"


def test_failures_are_forgotten_after_a_minute() -> None:
    breaker = failing(9)
    assert before_call(after_call(breaker, START + 70 * S, ok=False), START + 70 * S)[0] == "go"
    assert before_call(after_call(breaker, START + 40 * S, ok=False), START + 40 * S)[0] == "wait"


def test_after_the_pause_one_probe_goes_and_the_others_wait() -> None:
    breaker = failing(10)
    assert before_call(breaker, START + 29 * S)[0] == "wait"
    permit, breaker = before_call(breaker, START + 30 * S)
    assert permit == "probe"
    assert before_call(breaker, START + 31 * S)[0] == "wait"
    assert after_call(breaker, START + 31 * S, ok=True) == Breaker()


def test_each_failed_probe_doubles_the_pause_up_to_a_quarter_of_an_hour() -> None:
    breaker, now, pauses = failing(10), START, []
    for _ in range(8):
        assert breaker.open_until is not None
        pauses.append((breaker.open_until - now).total_seconds())
        now = breaker.open_until
        permit, breaker = before_call(breaker, now)
        assert permit == "probe"
        breaker = after_call(breaker, now, ok=False)
    assert pauses == [30, 60, 120, 240, 480, 900, 900, 900]


def test_a_late_answer_from_before_the_pause_does_not_close_the_breaker() -> None:
    breaker = failing(10)
    assert after_call(breaker, START + 5 * S, ok=True) == breaker


def test_a_probe_that_got_lost_is_replaced_after_a_minute() -> None:
    _, breaker = before_call(failing(10), START + 30 * S)
    assert before_call(breaker, START + 95 * S)[0] == "probe"


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0.5, 20)), min_size=1, max_size=2), st.lists(st.floats(0, 5), max_size=40))
def test_no_span_ever_holds_more_requests_than_declared(rates: list[tuple[int, float]], gaps: list[float]) -> None:
    import asyncio

    async def run() -> None:
        clock, declared = MovedClock(), [Rate(limit=limit, per_s=span) for limit, span in rates]
        limits, moments = RateLimits(clock), []
        for gap in gaps:
            clock.at += gap
            await limits.wait("c", "g", declared, clock.monotonic() + 1e9)
            moments.append(clock.at)
        for rate in declared:
            for first, last in zip(moments, moments[rate.limit :], strict=False):
                assert last - first >= rate.per_s - 1e-6

    asyncio.run(run())


@pytest.mark.anyio
async def test_connections_count_apart_but_connections_of_a_grant_together() -> None:
    clock = MovedClock()
    limits = RateLimits(clock)
    own, shared = Rate(limit=1, per_s=10), Rate(limit=2, per_s=100, scope="grant")
    far = clock.monotonic() + 1000
    await limits.wait("a", "g", [own, shared], far)
    await limits.wait("b", "g", [own, shared], far)
    assert clock.at == 0
    await limits.wait("c", "g", [own, shared], far)
    assert clock.at == 100


@pytest.mark.anyio
@pytest.mark.parametrize(("limit", "hubs"), [(6, 2), (5, 2), (3, 3), (1, 3), (2, 5)])
async def test_hubs_that_send_side_by_side_keep_a_rate_together(limit: int, hubs: int) -> None:
    clock, rate = MovedClock(), [Rate(limit=limit, per_s=10)]
    limits = RateLimits(clock)
    far = clock.monotonic() + 1e9
    await limits.wait("c", "g", rate, far)
    limits.hubs = hubs  # the others came while it was sending alone
    began, count = clock.at, 0
    while clock.at < began + 300:
        await limits.wait("c", "g", rate, far)
        count += 1
    assert hubs * (count - 2) <= limit * 30  # each of them at most so many; and the one that came too late to count
    assert count >= 30 * (limit // hubs or limit / hubs), "and a share that is not used by halves"


@pytest.mark.anyio
async def test_a_days_budget_is_no_rate_that_hubs_divide() -> None:
    clock = MovedClock()
    limits = RateLimits(clock)
    limits.hubs = 2
    for _ in range(4):
        await limits.wait("c", "g", [Rate(limit=4, per_s=86_400)], clock.monotonic() + 10)
    assert clock.at == 0


@pytest.mark.anyio
async def test_a_turn_after_the_deadline_is_refused_and_uses_nothing_up() -> None:
    clock = MovedClock()
    limits = RateLimits(clock)
    rates = [Rate(limit=1, per_s=10)]
    await limits.wait("a", "g", rates, clock.monotonic() + 30)
    for _ in range(3):
        with pytest.raises(TryAgain) as caught:
            await limits.wait("a", "g", rates, clock.monotonic() + 5)
    assert (caught.value.sent, caught.value.after) == (False, 10)
    await limits.wait("a", "g", rates, clock.monotonic() + 30)
    assert clock.at == 10


@pytest.mark.anyio
async def test_who_waits_for_a_vendors_quiet_waits_on_when_it_asks_for_more() -> None:
    clock = MovedClock()
    limits = RateLimits(clock)
    sleep = clock.sleep

    async def asked_for_more(seconds: float) -> None:
        await sleep(seconds)
        if clock.at in (10, 110):
            limits.pause("a", 20)

    clock.sleep = asked_for_more  # type: ignore[method-assign]
    limits.pause("a", 10)
    await limits.wait("a", "g", (), clock.monotonic() + 100)
    assert clock.at == 30

    clock.at = 100
    limits.pause("a", 10)
    with pytest.raises(TryAgain) as refused:
        await limits.wait("a", "g", (), clock.monotonic() + 20)
    assert (clock.at, refused.value.sent, refused.value.after) == (110, False, 20)
