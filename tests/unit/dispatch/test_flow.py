"""What is kept in flight: so many things at most, and nothing of what never began is left lying about."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from lifecyclehub.dispatch.perform import Flow

pytestmark = pytest.mark.anyio


async def test_what_is_cancelled_before_it_began_is_closed() -> None:
    flow, go_on = Flow(limit=1), asyncio.Event()
    first, second = _until(go_on), _until(go_on)
    flow.start(first)
    flow.start(second)
    await asyncio.sleep(0)

    for one in list(flow._running):
        one.cancel()
    await flow.drained()
    await asyncio.sleep(0)

    assert [inspect.getcoroutinestate(one) for one in (first, second)] == [inspect.CORO_CLOSED] * 2


async def _until(go_on: asyncio.Event) -> None:
    await go_on.wait()
