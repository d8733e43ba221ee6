"""A database that cannot take writes now: who asked hears it, nothing is lost, and it recovers."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from lifecyclehub.store import database
from lifecyclehub.store.database import open_engine
from lifecyclehub.store.writer import Store, StoreBusy
from tests.support.shop import Shop, sheet, write, written

pytestmark = pytest.mark.anyio

LONG = "x" * 50_000


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    return sqlite_engine


def page_limit(store: Store, pages: int) -> None:
    """Make the disk full: every connection may grow the file to so many pages and no further."""
    with store.engine.connect() as conn:
        conn.exec_driver_sql("ROLLBACK")
        conn.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        conn.exec_driver_sql("BEGIN")


def pages_now(store: Store) -> int:
    with store.engine.connect() as conn:
        return int(conn.execute(text("PRAGMA page_count")).scalar() or 0)


async def test_a_full_disk_is_said_and_loses_nothing_and_passes(shop: Shop) -> None:
    await shop.store.run(write, (1, "kept"))
    page_limit(shop.store, pages_now(shop.store))

    with pytest.raises(StoreBusy, match="full"):
        await shop.store.run(write, (2, LONG))
    assert await shop.lines() == [(1, "kept")]

    page_limit(shop.store, 1_000_000)
    assert await shop.store.run(write, (2, LONG)) == 2
    assert len(await shop.lines()) == 2


async def test_what_still_fits_on_a_full_disk_is_kept_all_the_same(shop: Shop) -> None:
    await shop.store.run(write, (1, "kept"))
    page_limit(shop.store, pages_now(shop.store))

    async with shop.queue():
        asked = [asyncio.ensure_future(shop.store.run(write, one)) for one in ((2, "small"), (3, LONG), (4, "small"))]
        await asyncio.sleep(0)
    small, large, other = await asyncio.gather(*asked, return_exceptions=True)

    assert (small, other) == (2, 4)
    assert isinstance(large, StoreBusy)
    assert [line for line, _ in await shop.lines()] == [1, 2, 4]


async def test_a_database_locked_by_another_program_fails_all_that_wait_at_once(shop: Shop) -> None:
    """Each would wait ten seconds for the lock; together they wait once."""
    _impatient(shop.store.engine)
    other = open_engine(str(shop.store.engine.url))
    began: list[int] = []

    def counted(conn: Any, items: Any) -> list[int]:
        began.append(len(items))
        return write(conn, items)

    async with shop.queue():
        asked = [asyncio.ensure_future(shop.store.run(counted, (n, "a"))) for n in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        shop.store.engine.dialect.do_commit = _then_lock(shop.store.engine.dialect.do_commit, other)  # type: ignore[method-assign]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in found} == {StoreBusy}
    assert began == [], "no transaction, no operation"

    _then_lock.held.close()
    other.dispose()
    assert await shop.store.run(counted, (1, "a")) == 1
    assert await shop.lines() == [(1, "a")]


def _impatient(engine: Engine) -> None:
    with engine.connect() as conn:
        conn.exec_driver_sql("ROLLBACK")
        conn.exec_driver_sql("PRAGMA busy_timeout=1")
        conn.exec_driver_sql("BEGIN")


class _ThenLock:
    """After the next commit another program takes the write lock and keeps it."""

    held: Any

    def __call__(self, commit: Any, other: Engine) -> Any:
        done: list[bool] = []

        def either(connection: Any) -> None:
            commit(connection)
            if not done:
                done.append(True)
                self.held = other.connect()
                self.held.begin()

        return either


_then_lock = _ThenLock()


def read_only(store: Store, yes: int) -> None:
    with store.engine.connect().execution_options(write=False) as conn:
        conn.exec_driver_sql(f"PRAGMA query_only={yes}")


async def test_a_read_only_database_is_said_and_loses_nothing(shop: Shop) -> None:
    await shop.store.run(write, (1, "kept"))
    read_only(shop.store, 1)

    with pytest.raises(StoreBusy, match="readonly"):
        await shop.store.run(write, (2, "a"))

    read_only(shop.store, 0)
    assert await shop.store.run(write, (2, "a")) == 2
    assert await shop.lines() == [(1, "kept"), (2, "a")]


async def test_a_fault_of_what_was_asked_is_not_called_busy(shop: Shop) -> None:
    def wrong(conn: Any, items: Any) -> list[Any]:
        conn.execute(text("INSERT INTO nowhere VALUES (1)"))
        return list(items)

    with pytest.raises(Exception, match="no such table") as caught:
        await shop.store.run(wrong, 1)
    assert not isinstance(caught.value, StoreBusy)


async def test_a_postgres_server_that_is_gone_is_busy_and_recovers(postgres_engine: Engine) -> None:
    with postgres_engine.begin() as conn:
        sheet.create(conn)
    store = Store(postgres_engine, writers=1)

    def cut_off(conn: Any, items: Any) -> list[Any]:
        pid = conn.connection.dbapi_connection.info.backend_pid
        with postgres_engine.begin() as admin:
            admin.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        return write(conn, items)

    try:
        await store.run(write, (1, "kept"))
        with pytest.raises(StoreBusy):
            await store.run(cut_off, (2, "lost with the connection, and nobody was told that it is there"))
        assert await store.run(write, (3, "a")) == 3
        assert [line for line, _ in await store.read(written)] == [1, 3]
    finally:
        await asyncio.to_thread(store.close)


async def test_a_postgres_server_that_cannot_be_reached_is_busy() -> None:
    store = Store(open_engine(f"postgresql+psycopg://nobody@/none?host=/tmp/no-such-folder-{os.getpid()}"), writers=1)
    try:
        with pytest.raises(StoreBusy):
            await store.run(write, (1, "a"))
    finally:
        await asyncio.to_thread(store.close)


def test_what_the_databases_address_says_itself_counts(postgres_url: str) -> None:
    assert "options=" in postgres_url
    own = open_engine(f"{postgres_url}%20-clock_timeout%3D7000")
    with own.connect().execution_options(write=False) as conn:
        waits = [
            conn.exec_driver_sql(f"SHOW {name}").scalar() for name in ("lock_timeout", "idle_in_transaction_session_timeout")
        ]
    own.dispose()
    assert waits == ["7s", "30s"]


# --- several programs on one PostgreSQL -------------------------------------------------------------------------------


def change(conn: Connection, items: Sequence[tuple[int, str]]) -> list[int]:
    for line, words in items:
        conn.execute(update(sheet).where(sheet.c.line == line).values(text=words))
    return [line for line, _ in items]


@pytest.fixture
async def shared(postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A store with three lines, on a server that other programs use too; a lock is waited for only shortly."""
    monkeypatch.setattr(database, "LOCK_WAIT_MS", 300)
    monkeypatch.setattr(database, "IDLE_MS", 1000)
    with postgres_engine.begin() as conn:
        sheet.create(conn)
        write(conn, [(1, "a"), (2, "b"), (3, "c")])
    store = Store(open_engine(postgres_engine.url.render_as_string(hide_password=False)), writers=1)
    try:
        yield store
    finally:
        await asyncio.to_thread(store.close)
        store.engine.dispose()


async def test_what_another_program_has_locked_is_busy_soon_and_holds_nobody_else_up(
    shared: Store, postgres_engine: Engine
) -> None:
    """Somebody left a transaction open: without an end to the wait no delivery would be kept any more."""
    with postgres_engine.connect() as other:
        other.execute(update(sheet).where(sheet.c.line == 1).values(text="theirs, not committed"))
        async with asyncio.timeout(8):
            asked = [shared.run(change, one) for one in ((1, "x"), (2, "ours"), (1, "y"), (3, "ours too"))]
            found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in found] == [StoreBusy, int, StoreBusy, int]
        other.rollback()
    assert await shared.run(change, (1, "ours at last")) == 1
    assert await shared.read(written) == [(1, "ours at last"), (2, "ours"), (3, "ours too")]


async def test_a_hub_that_stands_still_in_the_middle_gives_up_its_locks(shared: Store) -> None:
    """As if its machine slept: the server ends its transaction, and what it did in it is undone."""
    still = open_engine(shared.engine.url.render_as_string(hide_password=False))
    try:
        with still.connect() as conn:
            conn.execute(update(sheet).where(sheet.c.line == 1).values(text="half done"))
            async with asyncio.timeout(8):
                while True:
                    try:
                        assert await shared.run(change, (1, "ours")) == 1
                        break
                    except StoreBusy:
                        continue
            with pytest.raises(DBAPIError) as caught:
                conn.execute(text("SELECT 1"))
            assert caught.value.connection_invalidated
    finally:
        still.dispose()
    assert (1, "ours") in await shared.read(written)


async def test_a_question_to_a_database_that_is_away_says_busy_and_not_that_the_question_is_wrong(shop: Shop) -> None:
    def away(conn: Any) -> None:
        raise OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked"))

    def wrong(conn: Any) -> None:
        conn.execute(text("SELECT no_such_column FROM sheet"))

    with pytest.raises(StoreBusy):
        await shop.store.read(away)
    with pytest.raises(OperationalError):
        await shop.store.read(wrong)
