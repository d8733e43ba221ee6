"""What the hub's work runs on in a simulation: store, plugin runner, timers and randomness in one thread and virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine

from lifecyclehub.errors import LostRace, PluginRaised
from lifecyclehub.registry.runner import PluginRunner
from lifecyclehub.store.writer import Counts, Operation, Store, StoreBusy, StoreClosed, _Ask, _resolve
from lifecyclehub.timers import Tick, Timers
from lifecyclehub.torture.loop import Process

if TYPE_CHECKING:
    from lifecyclehub.torture.machine import Machine
    from lifecyclehub.torture.world import World


class SeededRandomness:
    """Jitter and ids from a seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


def name_of(operation: Any) -> str:
    """Give an operation's name, as crash points call it."""
    cells = getattr(operation, "__closure__", None)  # of what `as_operation` made
    inner = cells[0].cell_contents if cells and operation.__name__ == "operation" else operation
    return getattr(inner, "__name__", None) or type(inner).__name__


class VirtualStore(Store):
    """The store's own way of grouping and committing, on one thread, with a moment between asking, committing and answering."""

    def __init__(self, engine: Engine, world: World, process: Process) -> None:
        self.engine, self.counts = engine, Counts()
        self._world, self._process = world, process
        self._batch, self._closed = 512, False
        self._asked: list[_Ask] = []
        self._turn: asyncio.TimerHandle | None = None

    async def run_all(self, operation: Operation[Any, Any], items: Sequence[Any]) -> Sequence[Any]:
        if self._closed:
            raise StoreClosed("the store is closed")
        loop = asyncio.get_running_loop()
        ask = _Ask(operation, items, loop, loop.create_future())
        self._asked.append(ask)
        if self._turn is None:
            self._turn = loop.call_later(self._world.moment(), self._commit)
        return await ask.future

    async def read(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(self._world.moment())
        if self._world.store_is_busy():
            raise StoreBusy("the database is locked")
        with self.engine.connect().execution_options(write=False) as conn, conn.begin():
            answer = question(conn, *args, **kwargs)
        await asyncio.sleep(self._world.moment())
        return answer

    def close(self) -> None:
        self._closed = True
        if self._asked:
            self._commit()

    def _commit(self) -> None:
        self._turn = None
        asks, self._asked = self._asked[: self._batch], self._asked[self._batch :]
        world = self._world
        names = [name_of(ask.operation) for ask in asks]
        if world.points(self._process, names, "before"):
            return
        if world.store_is_busy():
            for ask in asks:
                ask.error = StoreBusy("the database is locked")
        elif world.points(self._process, names, "inside", lambda: self._roll_back(asks)):
            return
        else:
            self._really(asks)
            world.written(names)
        if world.points(self._process, names, "after"):
            return
        loop = asyncio.get_running_loop()
        if self._closed:
            _resolve(asks)
        else:
            loop.call_later(world.moment() + world.slow_commit(), _resolve, asks)
        if self._asked:
            self._turn = loop.call_later(world.moment(), self._commit)

    def _really(self, asks: list[_Ask]) -> None:
        match self._world.store_fault():
            case "lost race":
                for ask in asks:
                    ask.operation = _once_lost(ask.operation)
                self._commit_together(asks)
            case "unknown commit":  # it was committed, and an error came instead of the answer: everything runs again
                self._commit_together(asks)
                for ask in asks:
                    self._commit_alone(ask)
            case _:
                self._commit_together(asks)

    def _roll_back(self, asks: list[_Ask]) -> None:
        """Do it all, and die before the commit."""
        with self.engine.connect() as conn:
            transaction = conn.begin()
            with contextlib.suppress(Exception):  # it is rolled back anyway
                self._run_groups(conn, asks)
            transaction.rollback()


def _once_lost(operation: Operation[Any, Any]) -> Operation[Any, Any]:
    """Lose the first race after everything was written."""
    tried = False

    def again(conn: Connection, items: Sequence[Any]) -> Sequence[Any]:
        nonlocal tried
        results = operation(conn, items)
        if not tried:
            tried = True
            raise LostRace("another worker was quicker")
        return results

    return again


class VirtualRunner(PluginRunner):
    """Runs a connector's code in place, a moment later."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def call(self, connector_id: str, function: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(self._world.moment())
        try:
            result = function(*args)
            return list(result) if hasattr(result, "__next__") else result
        except Exception as error:
            raise PluginRaised(connector_id, getattr(function, "__qualname__", "function"), error) from error


class VirtualTimers(Timers):
    """Ticks in virtual time, and seldom while nothing is due: a hub in production ticks in vain."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._ticks: list[tuple[float, str, Tick]] = []
        self._beating: list[asyncio.Future[None]] = []
        self._ticking: list[asyncio.Future[None]] = []

    def every(self, seconds: float, name: str, tick: Tick) -> None:
        self._ticks.append((seconds, name, tick))

    def start(self) -> None:
        self._beating = [asyncio.ensure_future(self._beat(*one)) for one in self._ticks]

    def stop(self) -> None:
        for one in self._beating:
            one.cancel()

    async def over(self) -> None:
        """Wait for ticks under way."""
        while self._ticking:
            await asyncio.wait(set(self._ticking))

    async def _beat(self, seconds: float, name: str, tick: Tick) -> None:
        while True:
            await self._machine.next_beat(name, seconds)
            ticking = asyncio.ensure_future(self._guarded(name, tick))
            self._ticking.append(ticking)
            ticking.add_done_callback(self._ticking.remove)
            await asyncio.shield(ticking)

    async def _guarded(self, name: str, tick: Tick) -> None:
        try:
            await tick()
        except Exception as error:  # noqa: BLE001 (a tick that fails comes again)
            self._machine.note("tick failed", name, type(error).__name__, error)
