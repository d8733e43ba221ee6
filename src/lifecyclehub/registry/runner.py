"""Runs a connector's own code where it cannot stop the hub: in batches beside the event loop, under a watchdog."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import islice
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from lifecyclehub.errors import HubError, PluginHangs, PluginRaised, TryAgain

T = TypeVar("T")

HANG_AFTER_S: Final = 5.0
MAX_BATCH: Final = 64
MAX_ITEMS: Final = 100_000


class _Asked(NamedTuple):
    function: Callable[..., Any]
    args: tuple[Any, ...]
    answer: asyncio.Future[Any]


_Batch: TypeAlias = list[_Asked]
_Results: TypeAlias = list[tuple[bool, Any]]


class PluginRunner:
    """One daemon thread per connector. What is asked while it works is its next batch: one hop per batch."""

    def __init__(self, *, hang_after_s: float = HANG_AFTER_S) -> None:
        self._hang_after_s = hang_after_s
        self._lanes: dict[str, _Lane] = {}

    @property
    def hanging(self) -> set[str]:
        """The ids of the connectors that hang; they stay so until the hub is started again."""
        return {name for name, lane in self._lanes.items() if lane.hangs}

    async def call(self, connector_id: str, function: Callable[..., T], *args: Any) -> T:
        """Run a plain function of a connector and give its result (an iterator's items as a list).

        Raises `PluginRaised` for whatever it raises, and `PluginHangs` when its batch does not come back in time
        or the connector hangs already. Other connectors go on.
        """
        lane = self._lanes.get(connector_id)
        if lane is None:
            lane = self._lanes[connector_id] = _Lane(connector_id, self._hang_after_s, asyncio.get_running_loop())
        result: T = await lane.ask(function, args)
        return result

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        for lane in self._lanes.values():
            lane.close()


class _Lane:
    """One connector's queue and thread. Everything here but `_work` runs on the event loop."""

    def __init__(self, connector_id: str, hang_after_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.hangs = False
        self._connector_id, self._hang_after_s, self._loop = connector_id, hang_after_s, loop
        self._waiting: _Batch = []
        self._running: _Batch | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        threading.Thread(target=self._work, name=f"connector {connector_id}", daemon=True).start()

    def ask(self, function: Callable[..., Any], args: tuple[Any, ...]) -> asyncio.Future[Any]:
        if self.hangs:
            raise self._hang(function)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(_Asked(function, args, answer))
        if self._running is None and len(self._waiting) == 1:
            self._loop.call_soon(self._start)  # what is asked in the same turn goes along
        return answer

    def close(self) -> None:
        self._batches.put(None)

    def _start(self) -> None:
        if self._running is not None or self.hangs or not self._waiting:
            return
        self._running, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        self._watchdog = self._loop.call_later(self._hang_after_s, self._abandon, self._running)
        self._batches.put(self._running)

    def _finish(self, batch: _Batch, results: _Results) -> None:
        if batch is not self._running:
            return  # it was abandoned: nobody waits any more
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._running = None
        for asked, (ok, result) in zip(batch, results, strict=True):
            if asked.answer.done():
                continue
            if ok:
                asked.answer.set_result(result)
            else:
                asked.answer.set_exception(PluginRaised(self._connector_id, _name(asked.function), result))
        self._start()

    def _abandon(self, batch: _Batch) -> None:
        if batch is not self._running:
            return
        self.hangs, self._running = True, None
        self.close()
        for asked in (*batch, *self._waiting):
            if not asked.answer.done():
                asked.answer.set_exception(self._hang(asked.function))
        self._waiting.clear()

    def _hang(self, function: Callable[..., Any]) -> PluginHangs:
        return PluginHangs(
            self._connector_id,
            _name(function),
            f"was not finished after {self._hang_after_s:g} s. The connector's work is held. Start the hub again; "
            "if it comes back, upgrade the connector or tell its author.",
        )

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            results = [_result(asked) for asked in batch]
            try:
                self._loop.call_soon_threadsafe(self._finish, batch, results)
            except RuntimeError:
                return  # the loop is closed: the hub has ended


def _result(asked: _Asked) -> tuple[bool, Any]:
    try:
        result = asked.function(*asked.args)
        if isinstance(result, Iterator):  # a generator would do its work on the event loop
            result = _taken(result)
    except BaseException as error:  # noqa: BLE001 (SystemExit too: a plugin must not end the hub)
        return False, error
    return True, result


def _taken(items: Iterator[Any]) -> list[Any]:
    taken = list(islice(items, MAX_ITEMS + 1))
    if len(taken) > MAX_ITEMS:
        raise OverflowError(f"gave more than {MAX_ITEMS} items")
    return taken


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__name__)


async def cut(connector_id: str, what: str, waiting: Awaitable[T], seconds: float) -> T:
    """Wait for a connector's async method, at most `seconds`. It is left behind even if it ignores being cancelled.

    Errors of the contract come through; raises `TryAgain` when cut, `PluginRaised` for anything else it raises.
    """
    runner = asyncio.get_running_loop().create_task(_shielding(connector_id, what, waiting))
    try:
        done, _ = await asyncio.wait({runner}, timeout=max(seconds, 0.0))
    except asyncio.CancelledError:
        _leave(runner)
        raise
    if not done:
        _leave(runner)
        raise TryAgain(f"connector {connector_id}: {what} was cut after {seconds:g} s")
    return runner.result()


async def cut_each(connector_id: str, what: str, pages: AsyncIterator[T], seconds: float) -> AsyncIterator[T]:
    """Give what an async iterator of a connector gives, each item within `seconds`. Raises as `cut`."""
    try:
        while True:
            try:
                yield await cut(connector_id, what, _next(pages), seconds)
            except _Exhausted:
                return
    finally:
        close = getattr(pages, "aclose", None)
        if close is not None:
            await cut(connector_id, what, close(), seconds)


class _Exhausted(HubError):
    """The iterator has no more items (StopAsyncIteration cannot pass through a future)."""


async def _next(pages: AsyncIterator[T]) -> T:
    try:
        return await anext(pages)
    except StopAsyncIteration:
        raise _Exhausted from None


def _leave(runner: asyncio.Task[Any]) -> None:
    runner.cancel()
    runner.add_done_callback(lambda done: done.cancelled() or done.exception())


async def _shielding(connector_id: str, what: str, waiting: Awaitable[T]) -> T:
    try:
        return await waiting
    except (HubError, asyncio.CancelledError):
        raise
    except BaseException as error:  # SystemExit in a task would end the event loop
        raise PluginRaised(connector_id, what, error) from error
