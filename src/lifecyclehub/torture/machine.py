"""A machine with a hub on it, which can be killed, stalled and started again; several of them may share one store."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lifecyclehub.errors import DeliveryRejected
from lifecyclehub.hub import Hub, Workings
from lifecyclehub.intake.receive import Incoming
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.torture.database import PUBLIC
from lifecyclehub.torture.loop import PROCESS, Process
from lifecyclehub.torture.manners import watched
from lifecyclehub.torture.ports import SeededRandomness, VirtualRunner, VirtualStore, VirtualTimers
from lifecyclehub.torture.rules import in_force

if TYPE_CHECKING:
    from lifecyclehub.torture.network import Hook
    from lifecyclehub.torture.world import World

# How long a tick that has nothing to do may wait: in the chaos, and after it.
_LONG: Final = {"effects": (20.0, 900.0), "notices": (20.0, 900.0), "configuration": (60.0, 3600.0), "sweeps": (60.0, 300.0)}
_LONG_TICK: Final = (20.0, 3600.0)
_PRESENT: Final = (5.0, 20.0)  # a hub that shares its store says that it lives, and must within its lease
BY_STORE: Final = ("effects", "notices")  # what is due for these is written in the store


def _ring(waiting: asyncio.Future[bool]) -> None:
    if not waiting.done():
        waiting.set_result(True)


class Machine:
    """One machine: a home, and the process in it, if one lives."""

    def __init__(self, world: World, number: int) -> None:
        self._world, self.number = world, number
        self.settings = world.database.settings
        if number:
            self.settings = replace(self.settings, home=self.settings.home / f"machine-{number}")
            self.settings.home.mkdir(exist_ok=True)
            world.database.share_key(self.settings.home)
            world.database.confirm_all([self.settings])
        self.process: Process | None = None
        self.hub: Hub | None = None
        self._sleepers: dict[str, list[asyncio.Future[bool]]] = {}

    @property
    def living(self) -> bool:
        """Tell whether a hub runs here, awake or not."""
        return self.hub is not None and self.process is not None and self.process.alive

    def workings(self, process: Process) -> Workings:
        """Give what a hub of this world runs on."""
        world = self._world
        database, plan = world.database, world.plan
        return Workings(
            engine=lambda _url: database.engine,
            alone=lambda _engine: database.dialect == "sqlite" and plan.hubs == 1,
            store=lambda engine: VirtualStore(engine, world, process),
            runner=lambda: VirtualRunner(world),
            timers=lambda: VirtualTimers(self),
            applied=lambda conn, *_: in_force(conn, plan.characters, database.settings, world.edition),
        )

    def boot(self) -> None:
        """Start a hub, as the machine's supervisor does."""
        if self.process is not None and self.process.alive:
            return  # somebody else started it meanwhile
        world = self._world
        process = self.process = Process(world.next_name())
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        world.note("starts", process.name)
        context.run(self._construct, process)
        if self.hub is not None:
            starting = world.loop.create_task(self.hub.start(), context=context)
            starting.add_done_callback(lambda done: self._started(process, done), context=contextvars.Context())

    def _construct(self, process: Process) -> None:
        world = self._world
        if world.store_is_busy():
            self.hub = None
            self.kill(5.0)
            return
        self.hub = Hub(
            self.settings,
            registry=world.registry,
            clock=world.clock,
            randomness=SeededRandomness(f"{process.name} {world.plan.seed}"),
            transport=lambda _private: world.network,
            workings=self.workings(process),
        )
        vars(self.hub.client)["send"] = watched(self.hub.client.send)

    def _started(self, process: Process, done: asyncio.Task[None]) -> None:
        if process.alive and not done.cancelled() and (error := done.exception()) is not None:
            self._world.note("did not start", type(error).__name__, error)
            self.kill(5.0)

    def kill(self, down_s: float) -> None:
        """End the hub's process now; the supervisor starts another one later."""
        self.bury()
        self._world.outside(down_s, self.boot)

    def bury(self) -> None:
        """End the hub's process now."""
        if self.process is not None:
            self.process.die()
            self.process.interrupted = self._world.loop.time()
        if self.hub is not None:
            self.hub.presence.leave_home()
            self._world.graves.append(self.hub)
        self._sleepers.clear()
        self.process = self.hub = None

    def stall(self, seconds: float) -> None:
        """Stop the hub's process as SIGSTOP does, and let it go on later."""
        process = self.process
        if process is not None:
            process.stalled = True
            process.interrupted = self._world.loop.time()
            self._world.outside(seconds, lambda: self._world.loop.resume(process))

    def wake(self) -> None:
        """Let a stalled process go on now."""
        if self.process is not None and self.process.stalled:
            self._world.loop.resume(self.process)

    async def restart(self) -> None:
        """Stop the hub in good order and start another one."""
        hub, process = self.hub, self.process
        if hub is None or process is None or not hub.ready:
            return
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        stopping = self._world.loop.create_task(hub.stop(), context=context)
        await asyncio.wait({stopping}, timeout=60)
        if process.alive and process is self.process:
            self.bury()
            self.boot()

    # --- a webhook arrives ------------------------------------------------------------------------------------------------

    async def ring(self, hook: Hook) -> int:
        """Bring a webhook to the hub as the web server does, and give the status that the vendor sees (0: none)."""
        hub, process = self.hub, self.process
        if hub is None or process is None or not process.alive:
            return 0
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        answering = self._world.loop.create_task(self._receive(hub, hook), context=context)
        done, _ = await asyncio.wait({answering}, timeout=10)
        return answering.result() if done and not answering.cancelled() else 0

    async def _receive(self, hub: Hub, hook: Hook) -> int:
        if not hub.ready:
            return 503
        path = f"/hooks/end_{hook.vendor}"
        incoming = Incoming(
            endpoint=f"end_{hook.vendor}", method="POST", url=PUBLIC + path, headers=hook.headers(), body=hook.body
        )
        try:
            return (await hub.reception.receive(incoming)).status
        except DeliveryRejected as rejection:
            return rejection.status
        except (StoreBusy, StoreClosed):
            return 503

    # --- ticks that have nothing to do --------------------------------------------------------------------------------------

    def note(self, *what: object) -> None:
        """Write a line of the trace."""
        self._world.note(*what)

    def stir(self, *names: str) -> None:
        """Let ticks look again when they are to come; without names all of them, soon."""
        for name in names or tuple(self._sleepers):
            for one in self._sleepers.pop(name, ()):
                if not one.done():
                    one.set_result(False)

    def next_beat(self, name: str, seconds: float) -> Awaitable[None]:
        """Wait until a tick is to come: when something is due, else seldom. A hub in production ticks in vain."""
        shared = name == "presence" and self._world.plan.hubs > 1
        longest = (_PRESENT if shared else _LONG.get(name, _LONG_TICK))[self._world.calm]
        return self._beat(name, seconds, max(seconds, longest))

    async def _beat(self, name: str, seconds: float, longest: float) -> None:
        world = self._world
        began = world.loop.time()
        while True:
            due = world.next_due() if name in BY_STORE else None
            wait = longest if due is None else (due - world.clock.now()).total_seconds()
            wait = min(max(wait, seconds), longest) - (world.loop.time() - began)
            if wait <= 0:
                return
            waiting: asyncio.Future[bool] = world.loop.create_future()
            self._sleepers.setdefault(name, []).append(waiting)
            bell = world.loop.call_later(wait, _ring, waiting)
            if await waiting:
                return
            bell.cancel()
            if name not in BY_STORE:
                await asyncio.sleep(seconds)
                return
