"""While much is asked, the one writer of SQLite lets work gather; who somebody outside waits for goes first."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, Engine

from lifecyclehub.store import writer
from tests.support.shop import Shop, write

pytestmark = pytest.mark.anyio
LONG_S = 1_000.0


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    return sqlite_engine


class Busy:
    """A store that has just made a commit which took long, by a clock that stands still unless it is moved."""

    def __init__(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shop, self.now = shop, 0.0
        monkeypatch.setattr(shop.store, "_clock", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(writer, "_GATHER_S", LONG_S)

    async def work(self, asks: int) -> None:
        def slow(_: Connection, items: Sequence[int]) -> list[int]:
            self.now += LONG_S
            return list(items)

        async with self.shop.queue():
            asked = [asyncio.ensure_future(self.shop.store.run(slow, one)) for one in range(asks)]
            await asyncio.sleep(0)
        await asyncio.gather(*asked)


@pytest.fixture
def busy(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Busy:
    return Busy(shop, monkeypatch)


def at_once(conn: Connection, items: Sequence[tuple[int, str]]) -> list[int]:
    return write(conn, items)


async def test_what_is_urgent_waits_for_no_company(busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_QUIET_S", LONG_S)
    monkeypatch.setattr(writer, "_URGENT", {at_once})
    await busy.work(asks=8)

    other = asyncio.ensure_future(busy.shop.store.run(write, (1, "work")))
    await asyncio.sleep(0)
    assert await busy.shop.store.run(at_once, (2, "urgent")) == 2
    assert not other.done()
    assert await busy.shop.lines() == [(2, "urgent")]

    busy.now += LONG_S  # its time is over
    assert await busy.shop.store.run(at_once, (3, "urgent")) == 3
    assert await other == 1


async def test_what_gathers_is_committed_together(busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_QUIET_S", LONG_S)
    monkeypatch.setattr(writer, "_URGENT", {at_once})
    await busy.work(asks=8)
    before = busy.shop.store.counts.commits

    asked = [asyncio.ensure_future(busy.shop.store.run(write, (1, "work")))]
    await asyncio.sleep(0)
    await busy.shop.store.run(at_once, (2, "urgent"))
    asked.append(asyncio.ensure_future(busy.shop.store.run(write, (3, "work"))))
    await asyncio.sleep(0)
    await busy.shop.store.run(at_once, (4, "urgent"))
    assert [line for line, _ in await busy.shop.lines()] == [2, 4]
    busy.now += LONG_S
    await busy.shop.store.run(at_once, (5, "urgent"))

    assert await asyncio.gather(*asked) == [1, 3]
    assert busy.shop.store.counts.commits == before + 3, "one for each that was urgent; the last brought the others along"


async def test_nothing_gathers_for_longer_than_something_comes(busy: Busy) -> None:
    await busy.work(asks=8)

    assert await busy.shop.store.run(write, (1, "work")) == 1, "by a clock that stands still, for nobody else asks"


async def test_nothing_waits_where_little_is_asked(busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_QUIET_S", LONG_S)
    await busy.work(asks=7)

    assert await busy.shop.store.run(write, (1, "work")) == 1


async def test_what_came_in_with_the_end_is_finished_before_the_store_closes(busy: Busy) -> None:
    began, go, store = threading.Event(), threading.Event(), busy.shop.store

    def holding(_: Connection, items: Sequence[int]) -> list[int]:
        busy.now += LONG_S
        began.set()
        assert go.wait(10)
        return list(items)

    async with busy.shop.queue():
        asked = [asyncio.ensure_future(store.run(holding, one)) for one in range(8)]
        await asyncio.sleep(0)
    await asyncio.to_thread(began.wait, 10)
    late = asyncio.ensure_future(store.run(write, (1, "work")))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(asyncio.to_thread(busy.shop.close))
    await asyncio.to_thread(until, lambda: store._asks.qsize() == 2)
    go.set()
    await closing

    assert await asyncio.gather(*asked, late) == [*range(8), 1]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
