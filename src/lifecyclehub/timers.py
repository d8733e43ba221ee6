"""What time brings: APScheduler only ticks; what is due is read from the store, so a tick may be lost or come twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

logger = logging.getLogger(__name__)
logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a tick that is slower than its interval is no news

Tick = Callable[[], Awaitable[None]]


class Timers:
    """Calls ticks again and again, never two of the same at once. A tick that fails is logged and comes again."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._under_way: set[asyncio.Task[None] | None] = set()

    def every(self, seconds: float, name: str, tick: Tick) -> None:
        """Call `tick` every so many seconds."""

        async def guarded() -> None:
            runner = asyncio.current_task()
            self._under_way.add(runner)
            try:
                await tick()
            except Exception:
                logger.exception("the tick %s failed; it comes again in %s s", name, seconds)
            finally:
                self._under_way.discard(runner)

        self._scheduler.add_job(
            guarded, IntervalTrigger(seconds=seconds), id=name, name=name, max_instances=1, coalesce=True, misfire_grace_time=None
        )

    def start(self) -> None:
        """Begin to tick."""
        self._scheduler.start()

    def stop(self) -> None:
        """Tick no more; a tick under way goes on to its end."""
        if self._scheduler.running:
            self._scheduler.remove_all_jobs()  # shutting it down would cut them off in the middle

    async def over(self) -> None:
        """After `stop`: wait for ticks under way."""
        while running := {one for one in self._under_way if one is not None and one is not asyncio.current_task()}:
            await asyncio.wait(running)
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
