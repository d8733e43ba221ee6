"""A connector's own code cannot stop the hub."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lifecyclehub.errors import PluginHangs, PluginRaised, RecordGone, TryAgain
from lifecyclehub.registry import PluginRunner, cut, cut_each
from lifecyclehub.registry import runner as runner_module

pytestmark = pytest.mark.anyio


@pytest.fixture
async def runner() -> AsyncIterator[PluginRunner]:
    made = PluginRunner(hang_after_s=0.1)
    yield made
    made.close()


def double(number: int) -> int:
    return 2 * number


async def test_a_function_runs_beside_the_event_loop(runner: PluginRunner) -> None:
    assert await runner.call("a", double, 21) == 42
    assert await runner.call("a", threading.get_ident) != threading.get_ident()


async def test_one_connector_has_one_daemon_thread(runner: PluginRunner) -> None:
    idents = await asyncio.gather(*(runner.call("a", threading.get_ident) for _ in range(200)))
    assert len(set(idents)) == 1
    assert await runner.call("b", threading.get_ident) not in idents
    assert await runner.call("a", lambda: threading.current_thread().daemon)


async def test_what_is_asked_while_the_thread_works_is_the_next_batch() -> None:
    runner = PluginRunner()
    hops = 0
    loop = asyncio.get_running_loop()
    threadsafe = loop.call_soon_threadsafe

    def counting(*args: Any, **more: Any) -> asyncio.Handle:
        nonlocal hops
        hops += getattr(args[0], "__name__", "") == "_finish"
        return threadsafe(*args, **more)

    loop.call_soon_threadsafe = counting  # type: ignore[assignment,method-assign]
    try:
        go, began = threading.Event(), threading.Event()

        def first() -> None:
            began.set()
            go.wait(5)

        answers: list[asyncio.Future[Any]] = [asyncio.ensure_future(runner.call("a", first))]
        await asyncio.to_thread(began.wait, 5)
        answers += [asyncio.ensure_future(runner.call("a", double, number)) for number in range(50)]
        await asyncio.sleep(0)
        go.set()
        assert (await asyncio.gather(*answers))[1:] == [2 * number for number in range(50)]
    finally:
        del loop.call_soon_threadsafe
        runner.close()
    assert hops == 2


@pytest.mark.parametrize("error", [ValueError("no\nsuch"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1)])
async def test_whatever_a_function_raises_is_wrapped_and_hurts_nobody_else(runner: PluginRunner, error: BaseException) -> None:
    def bad() -> None:
        raise error

    results = await asyncio.gather(runner.call("a", bad), runner.call("a", double, 4), return_exceptions=True)
    assert results[1] == 8
    assert isinstance(results[0], PluginRaised)
    assert results[0].error is error
    assert str(results[0]).startswith("connector a: ")
    assert f"raised {type(error).__name__}" in str(results[0])
    assert "\n" not in str(results[0])
    assert await runner.call("a", double, 5) == 10


async def test_a_generator_does_its_work_in_the_thread(runner: PluginRunner) -> None:
    def read() -> Iterator[int]:
        yield threading.get_ident()

    assert list(await runner.call("a", read)) == [await runner.call("a", threading.get_ident)]


async def test_a_generator_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "MAX_ITEMS", 10)

    def endless() -> Iterator[int]:
        while True:
            yield 1

    runner = PluginRunner()
    with pytest.raises(PluginRaised, match="more than 10 items"):
        await runner.call("a", endless)
    runner.close()


async def test_a_connector_that_hangs_is_given_up_and_the_others_go_on(runner: PluginRunner) -> None:
    release = threading.Event()
    stuck = asyncio.ensure_future(runner.call("a", release.wait, 10))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(runner.call("a", double, 1))
    assert await runner.call("b", double, 2) == 4
    for answer in (stuck, waiting):
        with pytest.raises(PluginHangs, match="Start the hub again"):
            await answer
    assert runner.hanging == {"a"}
    began = time.monotonic()
    with pytest.raises(PluginHangs):
        await runner.call("a", double, 1)
    assert time.monotonic() - began < 0.05
    assert await runner.call("b", double, 3) == 6
    threads = [thread for thread in threading.enumerate() if thread.name == "connector a"]
    release.set()
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()
    await asyncio.sleep(0)
    assert runner.hanging == {"a"}  # coming back late changes nothing
    assert await runner.call("b", double, 4) == 8


async def test_a_caller_that_gave_up_does_not_disturb_its_batch(runner: PluginRunner) -> None:
    first = asyncio.ensure_future(runner.call("a", double, 1))
    second = asyncio.ensure_future(runner.call("a", double, 2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 4
    assert first.cancelled() or first.done()


async def test_more_than_a_batch_is_answered_in_order(runner: PluginRunner) -> None:
    seen: list[int] = []
    await asyncio.gather(*(runner.call("a", seen.append, number) for number in range(1000)))
    assert seen == list(range(1000))


async def test_a_call_costs_little_when_there_is_much_to_do() -> None:
    runner = PluginRunner()
    await runner.call("a", double, 0)
    began = time.perf_counter()
    for _ in range(5):
        await asyncio.gather(*(runner.call("a", double, number) for number in range(2000)))
    spent = (time.perf_counter() - began) / 10_000
    runner.close()
    assert spent < 300e-6, f"{spent * 1e6:.0f} µs a call"  # measured 15-20 µs; a shared machine may be slow


async def test_an_async_method_is_cut_at_its_time() -> None:
    with pytest.raises(TryAgain, match=r"connector a: fetch was cut after 0\.05 s") as caught:
        await cut("a", "fetch", asyncio.sleep(30), 0.05)
    assert caught.value.sent is True


async def test_a_method_that_ignores_being_cancelled_is_left_behind() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    with pytest.raises(TryAgain):
        await asyncio.wait_for(cut("a", "fetch", stubborn(), 0.02), 2)
    release.set()
    await asyncio.sleep(0)


async def test_errors_of_the_contract_come_through_and_others_are_wrapped() -> None:
    async def gone() -> None:
        raise RecordGone("it is gone")

    async def leaves() -> None:
        raise SystemExit(1)

    async def wrong() -> None:
        raise KeyError("x")

    with pytest.raises(RecordGone):
        await cut("a", "fetch", gone(), 1)
    with pytest.raises(PluginRaised, match="connector a: fetch raised SystemExit: 1"):
        await cut("a", "fetch", leaves(), 1)
    with pytest.raises(PluginRaised, match="KeyError"):
        await cut("a", "fetch", wrong(), 1)


async def test_who_gives_up_takes_the_method_along() -> None:
    ended = asyncio.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    caller = asyncio.ensure_future(cut("a", "fetch", long(), 30))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(ended.wait(), 1)


async def test_pages_are_cut_one_by_one_and_the_iterator_is_closed() -> None:
    closed: list[int] = []

    async def pages(stall: bool) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
            if stall:
                await asyncio.sleep(30)
        finally:
            closed.append(1)

    assert [page async for page in cut_each("a", "sweep", pages(False), 1)] == [1, 2]
    stalling = cut_each("a", "sweep", pages(True), 0.05)
    seen = [await anext(stalling), await anext(stalling)]
    with pytest.raises(TryAgain):
        await anext(stalling)
    assert (seen, closed) == ([1, 2], [1, 1])
