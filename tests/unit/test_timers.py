"""Ticks come again and again, and none is cut off in the middle."""

from __future__ import annotations

import asyncio

import pytest

from lifecyclehub.timers import Timers

pytestmark = pytest.mark.anyio


async def test_a_tick_under_way_goes_on_to_its_end_when_the_timers_stop() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), False

    async def tick() -> None:
        nonlocal ended
        begun.set()
        await may_end.wait()
        ended = True

    timers = Timers()
    timers.every(0.01, "slow", tick)
    timers.start()
    await begun.wait()
    timers.stop()
    over = asyncio.create_task(timers.over())
    may_end.set()
    await over
    assert ended


async def test_a_tick_that_fails_comes_again() -> None:
    times, again = 0, asyncio.Event()

    async def tick() -> None:
        nonlocal times
        times += 1
        if times == 2:
            again.set()
        raise ValueError("no")

    timers = Timers()
    timers.every(0.01, "failing", tick)
    timers.start()
    async with asyncio.timeout(10):
        await again.wait()
    timers.stop()
    await timers.over()
