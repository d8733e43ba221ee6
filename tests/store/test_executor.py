"""The executor groups what is asked into one commit, and confirms nothing that was not committed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from lifecyclehub.errors import LostRace
from lifecyclehub.store.database import open_engine
from lifecyclehub.store.writer import Store, StoreBusy, StoreClosed
from tests.support.shop import Shop, sheet, write, written

pytestmark = pytest.mark.anyio


async def outcomes(*asked: Any) -> list[Any]:
    return await asyncio.gather(*asked, return_exceptions=True)


async def ask_all(shop: Shop, operation: Any, items: Sequence[Any]) -> list[Any]:
    """Ask for each item in one batch; gives results or errors."""
    async with shop.queue():
        asked = [asyncio.ensure_future(shop.store.run(operation, item)) for item in items]
        await asyncio.sleep(0)
    return await outcomes(*asked)


async def test_what_waits_together_is_committed_together_and_in_order(shop: Shop) -> None:
    before = shop.store.counts.commits

    assert await ask_all(shop, write, [(n, "a") for n in range(50)]) == list(range(50))

    assert [line for line, _ in await shop.lines()] == list(range(50))
    assert shop.store.counts.commits == before + 2, "one for the door, one for all fifty"
    assert shop.store.counts.largest_batch == 50


async def test_an_operation_runs_once_for_all_its_items_and_each_asker_gets_its_own_result(shop: Shop) -> None:
    calls: list[list[int]] = []

    def double(_: Connection, items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        return [2 * one for one in items]

    assert await ask_all(shop, double, [3, 1, 2]) == [6, 2, 4]
    assert calls == [[3, 1, 2]]


async def test_items_asked_for_together_stand_or_fall_together(shop: Shop) -> None:
    with pytest.raises(IntegrityError):
        await shop.store.run_all(write, [(1, "a"), (2, "b"), (1, "again")])

    assert await shop.lines() == []


async def test_only_the_operation_that_fails_fails(shop: Shop) -> None:
    await shop.store.run(write, (7, "there before"))

    found = await ask_all(shop, write, [(6, "good"), (7, "bad"), (8, "good")])

    assert found[0] == 6
    assert isinstance(found[1], IntegrityError)
    assert found[2] == 8
    assert await shop.lines() == [(6, "good"), (7, "there before"), (8, "good")]
    assert shop.store.counts.fallbacks == 1


async def test_nothing_falls_back_in_the_good_case(shop: Shop) -> None:
    for start in range(0, 100, 10):
        await ask_all(shop, write, [(n, "a") for n in range(start, start + 10)])

    assert shop.store.counts.fallbacks == 0
    assert len(await shop.lines()) == 100


async def test_an_operation_that_raises_on_its_own_tells_its_asker_what(shop: Shop) -> None:
    def raises(_: Connection, items: Sequence[str]) -> list[str]:
        if "bad" in items:
            raise ZeroDivisionError("no")
        return list(items)

    good, bad = await ask_all(shop, raises, ["good", "bad"])

    assert good == "good"
    assert isinstance(bad, ZeroDivisionError)


async def test_a_transaction_that_an_operation_ended_confirms_nothing_it_rolled_back(shop: Shop) -> None:
    """Some errors end the whole transaction behind our back; what comes after would be committed statement by statement."""

    def ends(conn: Connection, items: Sequence[int]) -> list[int]:
        conn.connection.cursor().execute("ROLLBACK")
        return list(items)

    async with shop.queue():
        before = asyncio.ensure_future(shop.store.run(write, (1, "before")))
        ending = asyncio.ensure_future(shop.store.run(ends, 2))
        after = asyncio.ensure_future(shop.store.run(_other_write, (3, "after")))
        await asyncio.sleep(0)
    found = await outcomes(before, ending, after)

    assert found[0] == 1
    assert isinstance(found[1], StoreBusy)
    assert found[2] == 3
    assert await shop.lines() == [(1, "before"), (3, "after")], "confirmed, so it is there; and it is there once"
    assert shop.store.counts.fallbacks == (1 if _sqlite(shop) else 0)


async def test_only_the_one_writer_of_sqlite_commits_different_operations_together(shop: Shop) -> None:
    """Two writers that each hold what the other one's next operation needs would wait for each other."""
    before = shop.store.counts.commits

    async with shop.queue():
        asked = [asyncio.ensure_future(shop.store.run(one, (n, "a"))) for n, one in enumerate((write, _other_write, write))]
        await asyncio.sleep(0)
    assert await outcomes(*asked) == [0, 1, 2]

    assert shop.store.counts.commits - before == (2 if _sqlite(shop) else 3), "the door's, and those"


def _sqlite(shop: Shop) -> bool:
    return shop.store.engine.dialect.name == "sqlite"


def _other_write(conn: Connection, items: Sequence[tuple[int, str]]) -> list[int]:
    return write(conn, items)


async def test_an_error_that_rolls_back_on_its_own_confirms_nothing(shop: Shop) -> None:
    """As SQLite does on some errors: the transaction is gone, and the error is about one operation only."""

    def rolls_back_and_raises(conn: Connection, items: Sequence[int]) -> list[int]:
        conn.connection.cursor().execute("ROLLBACK")
        raise ZeroDivisionError(f"{items}")

    async with shop.queue():
        good = asyncio.ensure_future(shop.store.run(write, (1, "good")))
        bad = asyncio.ensure_future(shop.store.run(rolls_back_and_raises, 2))
        await asyncio.sleep(0)
    found = await outcomes(good, bad)

    assert found[0] == 1
    assert isinstance(found[1], ZeroDivisionError)
    assert await shop.lines() == [(1, "good")]


async def test_nobody_hears_of_a_result_before_its_commit_returned(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bool] = []
    holding, go = threading.Event(), threading.Event()
    dialect = shop.store.engine.dialect
    commit = dialect.do_commit

    def slow(connection: Any) -> None:
        holding.set()
        assert go.wait(10)
        commit(connection)

    monkeypatch.setattr(dialect, "do_commit", slow)
    asked = asyncio.ensure_future(shop.store.run(write, (1, "a")))
    asked.add_done_callback(lambda _: heard.append(go.is_set()))
    await asyncio.to_thread(holding.wait, 10)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asked.done(), "it is not committed yet"
    go.set()

    assert await asked == 1
    assert heard == [True]


async def test_a_commit_that_fails_confirms_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = shop.store.engine.dialect
    commit = dialect.do_commit
    fails = {"times": 1}

    def failing(connection: Any) -> None:
        if fails["times"]:
            fails["times"] -= 1
            connection.rollback() if dialect.name != "sqlite" else connection.execute("ROLLBACK")
            raise OSError("the power went")
        commit(connection)

    async with shop.queue():
        asked = [asyncio.ensure_future(shop.store.run(write, (n, "a"))) for n in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        monkeypatch.setattr(dialect, "do_commit", _after_the_door(commit, failing))
    found = await outcomes(*asked)

    assert found == [0, 1, 2], "each ran again alone"
    assert await shop.lines() == [(0, "a"), (1, "a"), (2, "a")]
    assert fails["times"] == 0


def _after_the_door(commit: Any, then: Any) -> Any:
    """The first commit is the door's own."""
    seen: list[bool] = []

    def either(connection: Any) -> None:
        (then if seen else commit)(connection)
        seen.append(True)

    return either


async def test_a_lost_race_runs_again_on_what_is_true_now(shop: Shop) -> None:
    tries: list[int] = []

    def racing(conn: Connection, items: Sequence[int]) -> list[int]:
        tries.append(len(items))
        if len(tries) < 4:
            raise LostRace("somebody was quicker")
        return write(conn, [(one, "won") for one in items])

    assert await shop.store.run(racing, 5) == 5
    assert len(tries) == 4
    assert await shop.lines() == [(5, "won")]


async def test_a_race_that_is_always_lost_is_given_back(shop: Shop) -> None:
    def racing(_: Connection, items: Sequence[int]) -> list[int]:
        raise LostRace(f"somebody was quicker {len(items)} times")

    with pytest.raises(LostRace):
        await shop.store.run(racing, 5)


async def test_an_operation_with_too_few_results_is_an_error_for_who_asked(shop: Shop) -> None:
    def forgetful(_: Connection, items: Sequence[int]) -> list[int]:
        return list(items)[:-1]

    found = await ask_all(shop, forgetful, [1, 2])

    assert all(isinstance(one, Exception) for one in found)


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline


async def test_closing_ends_what_was_asked_and_takes_no_more(shop: Shop) -> None:
    async with shop.queue():
        asked = [asyncio.ensure_future(shop.store.run(write, (n, "a"))) for n in range(5)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(asyncio.to_thread(shop.close))
        await asyncio.to_thread(_until, lambda: shop.store._closed)
    await closing

    assert await outcomes(*asked) == list(range(5))
    with pytest.raises(StoreClosed):
        await shop.store.run(write, (9, "late"))
    with shop.store.engine.connect() as conn:
        assert len(written(conn)) == 5


async def test_what_came_in_while_the_last_thread_ended_is_told_so(shop: Shop) -> None:
    await asyncio.to_thread(shop.close)
    shop.store._closed = False  # the very moment between the look and the queue
    asked = asyncio.ensure_future(shop.store.run(write, (1, "a")))
    await asyncio.sleep(0)
    await asyncio.to_thread(shop.store.close)

    assert isinstance((await outcomes(asked))[0], StoreClosed)


async def test_a_reader_sees_one_moment_however_long_it_reads(shop: Shop) -> None:
    await shop.store.run(write, (1, "a"))
    began, go = threading.Event(), threading.Event()

    def slowly(conn: Connection) -> tuple[int, int]:
        first = len(written(conn))
        began.set()
        assert go.wait(10)
        return first, len(written(conn))

    reading = asyncio.ensure_future(shop.store.read(slowly))
    await asyncio.to_thread(began.wait, 10)
    await shop.store.run(write, (2, "b"))
    go.set()

    assert await reading == (1, 1)
    assert len(await shop.lines()) == 2


async def test_readers_do_not_wait_for_the_writer(shop: Shop) -> None:
    async with shop.queue():
        assert await asyncio.wait_for(shop.lines(), 5) == []


async def test_several_writers_lose_and_double_nothing(postgres_engine: Engine) -> None:
    with postgres_engine.begin() as conn:
        sheet.create(conn)
        write(conn, [(0, "0")])
    store = Store(postgres_engine, writers=4, batch=8)

    def count(conn: Connection, items: Sequence[int]) -> list[int]:
        now = int(conn.execute(text("SELECT text FROM sheet WHERE line = 0 FOR UPDATE")).scalar() or 0)
        conn.execute(text("UPDATE sheet SET text = :n WHERE line = 0"), {"n": str(now + len(items))})
        return list(items)

    try:
        assert await asyncio.gather(*(store.run(count, n) for n in range(200))) == list(range(200))
        assert await store.read(written) == [(0, "200")]
    finally:
        await asyncio.to_thread(store.close)


async def test_a_deadlock_between_writers_is_run_again(postgres_engine: Engine) -> None:
    with postgres_engine.begin() as conn:
        sheet.create(conn)
        write(conn, [(1, "0"), (2, "0")])
    store = Store(postgres_engine, writers=2, batch=1)
    both = threading.Barrier(2)
    met: list[int] = []

    def crosswise(conn: Connection, items: Sequence[tuple[int, int]]) -> list[None]:
        for first, second in items:
            conn.execute(text("UPDATE sheet SET text = text || '+' WHERE line = :l"), {"l": first})
            if len(met) < 2:
                met.append(first)
                both.wait(10)
            conn.execute(text("UPDATE sheet SET text = text || '+' WHERE line = :l"), {"l": second})
        return [None] * len(items)

    try:
        await asyncio.gather(store.run(crosswise, (1, 2)), store.run(crosswise, (2, 1)))
        assert await store.read(written) == [(1, "0++"), (2, "0++")]
    finally:
        await asyncio.to_thread(store.close)


async def test_a_closed_store_says_so_to_who_asks_as_to_who_writes(sqlite_url: str) -> None:
    store = Store(open_engine(sqlite_url))
    store.close()
    with pytest.raises(StoreClosed):
        await store.read(lambda _: 1)
    with pytest.raises(StoreClosed):
        await store.run(lambda _, items: items, 1)
    store.engine.dispose()
