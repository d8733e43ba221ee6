"""An event loop whose time is virtual, and processes in it that can be killed or stalled between any two steps."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import warnings
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from typing import Any, Final

EPOCH: Final = datetime(2027, 3, 1, 8, 0, tzinfo=UTC)
MOST_STEPS: Final = 500_000  # a scenario has some thousands
PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class Stuck(Exception):
    """Nothing is left that could ever happen, and the scenario still waits."""


class Endless(Exception):
    """Much more happened than any scenario calls for: the hub goes in circles."""


class Process:
    """A hub's process. Dead, none of its code runs any more; stalled, it runs later, as after SIGSTOP and SIGCONT."""

    def __init__(self, name: str) -> None:
        self.name, self.alive, self.stalled = name, True, False
        self.interrupted: float | None = None  # when it was stalled or died last
        self.kept: list[asyncio.Handle] = []

    def die(self) -> None:
        """End at once: nothing is unwound, no `finally` runs, what was in memory is lost."""
        self.alive = False
        self.kept.clear()


def _closed(coro: Any) -> None:
    """Close a coroutine that was killed in the middle; what its clean-up says is nobody's business."""
    for _ in range(3):
        with contextlib.suppress(BaseException):
            Context().run(coro.close)
            return


class _Step(asyncio.TimerHandle):
    """What is to run at a moment, with nothing of what a debugger would want of it."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(  # what the base class does besides would cost as much as a step
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> None:
        self._when, self._callback, self._args = when, callback, args
        self._context = copy_context() if context is None else context
        self._cancelled = False

    def __lt__(self, other: object) -> bool:
        """Steps of one moment have no order of their own: the heap's stays."""
        return False

    def _run(self) -> None:
        try:
            self._context.run(self._callback, *self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:  # noqa: BLE001, S110 (asyncio would only log it)
            pass

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None  # type: ignore[assignment]  # as the base class does


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in order and jumps to the next timer when nothing is ready."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0
        self.steps = 0
        self.endless: str | None = None
        self._steps: list[tuple[float, _Step]] = []
        self.set_task_factory(self._remembered)
        self._begun: list[tuple[asyncio.Future[Any], Any]] = []
        self._room = 1000  # so many are remembered before those that are over are forgotten

    def _remembered(self, loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None) -> asyncio.Future[Any]:
        made: asyncio.Future[Any] = asyncio.Task(coro, loop=loop, context=context)
        self._begun.append((made, coro))
        if len(self._begun) > self._room:
            self._begun = [one for one in self._begun if not one[0].done()]
            self._room = 2 * len(self._begun) + 1000
        return made

    def sweep_away(self) -> None:
        """Close what dead processes left in the middle: the garbage collector must not do it at a moment of its own."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what was not begun yet is not awaited any more
            for made, coro in self._begun:
                if not made.done():
                    made._log_destroy_pending = False  # type: ignore[attr-defined]
                    _closed(coro)
        self._begun.clear()

    def time(self) -> float:
        return self._virtual

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run it at once: there is one thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 (handed to whoever waits)
            future.set_exception(error)
        return future

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        made = _Step(self._virtual, callback, args, context)
        self._ready.append(made)  # type: ignore[attr-defined]
        return made

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        made = _Step(when, callback, args, context)
        heapq.heappush(self._steps, (when, made))
        return made

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        made = _Step(self._virtual + delay, callback, args, context)
        heapq.heappush(self._steps, (made._when, made))
        return made

    def resume(self, process: Process) -> None:
        """Let a stalled process go on where it stood."""
        process.stalled = False
        self._ready.extend(process.kept)  # type: ignore[attr-defined]
        process.kept.clear()

    def _jump(self, scheduled: list[tuple[float, _Step]]) -> None:
        while scheduled and scheduled[0][1]._cancelled:
            heapq.heappop(scheduled)
        if not scheduled:
            raise Stuck
        self._virtual = max(self._virtual, scheduled[0][0])

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._steps  # type: ignore[attr-defined]
        if self.endless is not None or self.steps > MOST_STEPS:
            raise Endless(self.endless or f"more than {MOST_STEPS} steps")
        if not ready:
            self._jump(scheduled)
        while scheduled and scheduled[0][0] <= self._virtual:
            ready.append(heapq.heappop(scheduled)[1])
        for _ in range(len(ready)):
            step = ready.popleft()
            if step._cancelled:
                continue
            process = step._context.get(PROCESS)
            if process is not None:
                if not process.alive:
                    continue
                if process.stalled:
                    process.kept.append(step)
                    continue
            self.steps += 1
            step._run()

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """A generator of a process that ended is simply gone."""

    def _process_events(self, event_list: Any) -> None: ...

    def _write_to_self(self) -> None: ...


class VirtualClock:
    """A machine's clock: its wall time may jump, its monotonic time does not."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time()) + self.ahead

    def monotonic(self) -> float:
        return 1000.0 + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
