"""The store's executor: operations on lists, grouped into one commit.

An operation is a plain function of a Connection and a list of items that gives as many results. Whoever calls waits
until the commit returned. Operations touch nothing but the connection, so that a lost batch can run again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from lifecyclehub.errors import HubError, LostRace
from lifecyclehub.ports import SystemClock
from lifecyclehub.store.database import in_transaction, snapshot

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")
Operation = Callable[[Connection, Sequence[T]], Sequence[R]]

_BUSY_FROM = 8  # asks in one commit: then more is on its way, and is worth waiting for
_GATHER_S = 0.025  # at most; and never longer than the commit before took
_QUIET_S = 0.002  # without a new ask: nothing more is on its way

_TRIES = 8  # of one item alone, when another writer got in the way
_HURRIED_MS = 100


class StoreClosed(HubError):
    """The store is closing; nothing was written."""


class StoreBusy(HubError):
    """The database cannot take writes now (disk full, locked, gone). Nothing was written."""


@dataclass(slots=True)
class _Ask:
    operation: Operation[Any, Any]
    items: Sequence[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Sequence[Any]]
    results: Sequence[Any] = ()
    error: BaseException | None = None


@dataclass(slots=True)
class Counts:
    """How the executor fared. `fallbacks`: batches that had to run item by item; zero in the good case."""

    commits: int = 0
    operations: int = 0
    fallbacks: int = 0
    largest_batch: int = field(default=0)


class Store:
    """Runs operations on threads of its own: one on SQLite, several on PostgreSQL. The code is the same."""

    def __init__(self, engine: Engine, *, writers: int | None = None, batch: int = 512) -> None:
        self.engine, self._clock = engine, SystemClock()
        self.counts = Counts()
        self._batch = batch
        self._asks: queue.SimpleQueue[_Ask | None] = queue.SimpleQueue()
        self._closed = self._ended = False
        count = writers or (1 if engine.dialect.name == "sqlite" else 4)
        self._threads = [threading.Thread(target=self._work, name=f"store-{n}", daemon=True) for n in range(count)]
        self._readers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="store-read")
        for thread in self._threads:
            thread.start()

    async def run(self, operation: Operation[T, R], item: T) -> R:
        """Run an operation for one item in the next commit, and give its result once that commit returned."""
        return (await self.run_all(operation, (item,)))[0]

    async def run_all(self, operation: Operation[T, R], items: Sequence[T]) -> Sequence[R]:
        """Run an operation for several items that stand or fall together."""
        if self._closed:
            raise StoreClosed("the store is closed")
        loop = asyncio.get_running_loop()
        ask = _Ask(operation, items, loop, loop.create_future())
        self._asks.put(ask)
        return await ask.future

    async def read(self, question: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Answer a question from a consistent snapshot; `question` takes a Connection first and must not write.

        Raises StoreBusy while the database cannot be reached: that is no fault of what was asked. StoreClosed at the end.
        """
        if self._ended:
            raise StoreClosed("the store is closed")

        def answer() -> R:
            try:
                with snapshot(self.engine) as conn, conn.begin():
                    return question(conn, *args, **kwargs)
            except DBAPIError as error:
                if _is_busy(error):
                    raise StoreBusy(str(error.orig)) from None
                raise

        return await asyncio.get_running_loop().run_in_executor(self._readers, answer)

    def now(self, operation: Operation[T, R], item: T) -> R:
        """Run one operation at once on the calling thread, in its own commit (command line, start-up)."""
        with self.engine.connect() as conn, conn.begin():
            return operation(conn, (item,))[0]

    def close(self) -> None:
        """Finish what was asked, then stop."""
        self._closed = True
        for _ in self._threads:
            self._asks.put(None)
        for thread in self._threads:
            thread.join(timeout=30)
        while not self._asks.empty():  # asked while the last thread was ending
            if (late := self._asks.get()) is not None:
                late.error = StoreClosed("the store is closed")
                self._answer([late])
        self._ended = True
        self._readers.shutdown(wait=True)

    # --- on the writer threads ----------------------------------------------------------------------------------------

    def _work(self) -> None:
        if self.engine.dialect.name == "sqlite":
            self._work_alone()
        else:
            self._work_with_others()

    def _work_with_others(self) -> None:
        """Give each operation a transaction of its own.

        Settling shares all open creates with others that settle; two writers that did so, and then had receipts of these to
        write, would wait for each other.
        """
        end = False
        while not end:
            asks, end = self._take()
            for together in _by_operation(asks):
                self._finish(together)

    def _work_alone(self) -> None:
        """Commit everything together; while much is asked, let it gather, but what is urgent."""
        gathered: list[_Ask] = []
        until, end = 0.0, False
        while not end:
            asks, end = self._take(until - self._clock.monotonic() if gathered else None)
            urgent = [one for one in asks if one.operation in _URGENT]
            gathered += [one for one in asks if one.operation not in _URGENT]
            began = self._clock.monotonic()
            if not asks or end or began >= until or len(gathered) >= self._batch:
                together, gathered = urgent + gathered, []
                self._finish(together)
                ended = self._clock.monotonic()
                until = ended + min(ended - began, _GATHER_S) if len(together) >= _BUSY_FROM else 0.0
            else:
                self._finish(urgent)

    def _take(self, seconds: float | None = None) -> tuple[list[_Ask], bool]:
        """Wait until something is asked, not longer than so many seconds, and take all that is; tell whether to end."""
        asks: list[_Ask] = []
        try:
            ask = self._asks.get(timeout=None if seconds is None else min(max(seconds, 0.0), _QUIET_S))
            while ask is not None:
                asks.append(ask)
                if len(asks) == self._batch:
                    return asks, False
                ask = self._asks.get_nowait()
        except queue.Empty:
            return asks, False
        return asks, True

    def _finish(self, asks: list[_Ask]) -> None:
        if asks:
            self.counts.largest_batch = max(self.counts.largest_batch, len(asks))
            self._commit_together(asks)
            self._answer(asks)

    def _commit_together(self, asks: list[_Ask]) -> None:
        began = False
        try:
            with self.engine.connect() as conn, conn.begin():
                began = True
                self._run_groups(conn, asks)
            self.counts.commits += 1
            self.counts.operations += len(asks)
        except BaseException as error:  # noqa: BLE001 (each asker gets its own error below)
            if not began and isinstance(error, DBAPIError) and _is_busy(error):
                for ask in asks:  # no transaction can be had: trying for each would only wait as often
                    ask.error = StoreBusy(str(error.orig))
                return
            if len(asks) > 1:
                self.counts.fallbacks += 1
            waited = _is_locked(error)  # the lock was waited for already: not once more for each of them
            for ask in asks:
                self._commit_alone(ask, hurried=waited)

    def _commit_alone(self, ask: _Ask, *, hurried: bool = False) -> None:
        for attempt in range(_TRIES):
            try:
                with self.engine.connect() as conn, conn.begin():
                    if hurried:
                        conn.exec_driver_sql(f"SET LOCAL lock_timeout = {_HURRIED_MS}")
                    results = ask.operation(conn, ask.items)
                    _still_ours(conn)
                ask.results, ask.error = results, None
                self.counts.commits += 1
                self.counts.operations += 1
            except LostRace as error:
                ask.error = error
                if attempt < _TRIES - 1:
                    continue
            except DBAPIError as error:
                ask.error = error
                if _is_lost_race(error) and attempt < _TRIES - 1:
                    continue
                if _is_busy(error):
                    ask.error = StoreBusy(str(error.orig))
            except BaseException as error:  # noqa: BLE001 (handed to the asker)
                ask.error = error
            return

    @staticmethod
    def _run_groups(conn: Connection, asks: list[_Ask]) -> None:
        for members in _by_operation(asks):
            operation = members[0].operation
            items = [item for ask in members for item in ask.items]
            results = operation(conn, items)
            _still_ours(conn)
            if len(results) != len(items):
                raise HubError(f"{operation} gave {len(results)} results for {len(items)} items")
            position = 0
            for ask in members:
                ask.results = results[position : position + len(ask.items)]
                position += len(ask.items)

    @staticmethod
    def _answer(asks: list[_Ask]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Ask]] = {}
        for ask in asks:
            by_loop.setdefault(ask.loop, []).append(ask)
        for loop, members in by_loop.items():
            try:
                loop.call_soon_threadsafe(_resolve, members)
            except RuntimeError:  # the loop is gone: nobody waits any more, what was committed stays
                continue


def _by_operation(asks: Sequence[_Ask]) -> list[list[_Ask]]:
    groups: dict[Operation[Any, Any], list[_Ask]] = {}
    for ask in asks:
        groups.setdefault(ask.operation, []).append(ask)
    return list(groups.values())


def _still_ours(conn: Connection) -> None:
    """Refuse to confirm what an error already rolled back: later statements would have committed one by one."""
    if not in_transaction(conn):
        raise StoreBusy("the database ended the transaction")


def _resolve(asks: list[_Ask]) -> None:
    for ask in asks:
        if ask.future.done():
            continue
        if ask.error is not None:
            ask.future.set_exception(ask.error)
        else:
            ask.future.set_result(ask.results)


def _is_lost_race(error: DBAPIError) -> bool:
    """Tell serialization failures and deadlocks, which only ask to run the transaction again."""
    return getattr(error.orig, "sqlstate", None) in ("40001", "40P01")


def _is_locked(error: BaseException) -> bool:
    """Tell that another program on the server held a lock for longer than we wait: a session left open, a machine that slept."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == "55P03"


_SQLITE_BUSY = ("locked", "database or disk is full", "readonly database", "disk i/o error", "unable to open database file")
# Connection lost, read-only, stood still for too long, out of disk, memory or connections, locked, shutting down.
_POSTGRES_BUSY = ("08", "25006", "25P03", "53", "55P03", "57P", "58")


def _is_busy(error: DBAPIError) -> bool:
    """Tell faults of the database's surroundings, which pass, from faults of what was asked."""
    if error.connection_invalidated:
        return True
    if not hasattr(error.orig, "sqlstate"):
        return any(words in str(error.orig).lower() for words in _SQLITE_BUSY)
    code: str | None = getattr(error.orig, "sqlstate", None)
    if code is None:  # it could not even be reached
        return isinstance(error, OperationalError)
    return code.startswith(_POSTGRES_BUSY)


_URGENT: set[Operation[Any, Any]] = set()


def urgent(operation: Operation[T, R]) -> Operation[T, R]:
    """Mark an operation that somebody outside waits for: it never waits for others to be committed with it."""
    _URGENT.add(operation)
    return operation


def as_operation(function: Callable[[Connection, T], R]) -> Operation[T, R]:
    """Make an operation on lists of a function of one item, for seldom work."""

    def operation(conn: Connection, items: Sequence[T]) -> list[R]:
        return [function(conn, item) for item in items]

    return cast("Operation[T, R]", operation)
