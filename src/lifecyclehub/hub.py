"""The one place where everything is wired together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, select, text

from lifecyclehub.admin.applied import AppliedMeanwhile, Applying, InForce, apply_set, read_applied
from lifecyclehub.admin.erasing import Erasures
from lifecyclehub.admin.hosts import host_fingerprint
from lifecyclehub.admin.presence import ASLEEP, AWAKE, BEAT_S, LOOKING, Presence, installation_of, may_do, serves_one
from lifecyclehub.admin.renewal import Prober
from lifecyclehub.admin.restored import LOOK_S, LookedBack, drop_ended, has_looked_back, looked_back
from lifecyclehub.dispatch.dispatcher import Dispatcher
from lifecyclehub.dispatch.tools import Tools, restored_of
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.intake.anew import Anew
from lifecyclehub.intake.answered import close_answered
from lifecyclehub.intake.decide import Decide
from lifecyclehub.intake.directory import Directory, read_directory
from lifecyclehub.intake.notices import Release, release
from lifecyclehub.intake.receive import Reception
from lifecyclehub.intake.sweep import Sweeper
from lifecyclehub.intake.work import Intake, nothing_left
from lifecyclehub.ports import Clock, Ids, Randomness, SystemClock, SystemRandomness
from lifecyclehub.registry.registry import Registry
from lifecyclehub.registry.runner import PluginRunner
from lifecyclehub.rules import Rules
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.breakers import Opened, StoredBreakers, read_breakers
from lifecyclehub.store.database import check_schema, open_engine
from lifecyclehub.store.waits import bring_near
from lifecyclehub.store.writer import Store, StoreBusy, StoreClosed
from lifecyclehub.timers import Tick, Timers
from lifecyclehub.vault import Vault
from lifecyclehub.vault.credentials import StoredGrants
from lifecyclehub.vault.erased import ErasedPeople
from lifecyclehub.vendor.client import Client
from lifecyclehub.vendor.target import DEFAULT_TIMEOUT_S, Target
from lifecyclehub.vendor.transport import TransportFactory

logger = logging.getLogger(__name__)
DRAIN_S = 25.0


def _changing(conn: Connection) -> tuple[int, Mapping[str, Opened]]:
    """Read what others change: how often the configuration was changed, and which breakers are open."""
    return int(conn.execute(text("SELECT configured FROM installation")).scalar() or 0), read_breakers(conn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workings:
    """What the hub's work runs on: database, store, connectors' code, timers, applied rules. A simulation gives its own.

    `alone` tells whether the database serves one hub only.
    """

    engine: Callable[[str], Engine] = open_engine
    alone: Callable[[Engine], bool] = serves_one
    store: Callable[[Engine], Store] = Store
    runner: Callable[[], PluginRunner] = PluginRunner
    timers: Callable[[], Timers] = Timers
    applied: Callable[[Connection, Registry, ZoneInfo, InForce | None], InForce] = read_applied


class Hub:
    """A running installation: reception, intake, dispatcher, timers. `start` begins work, `stop` drains it."""

    def __init__(
        self,
        settings: Settings,
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        transport: TransportFactory | None = None,
        workings: Workings | None = None,
    ) -> None:
        """Open the store and read what was applied. Raises ConfigurationError that says how to mend what is wrong."""
        self.settings = settings
        self.clock = clock or SystemClock()
        self.randomness = randomness or SystemRandomness()
        self.ids = Ids(self.clock, self.randomness)
        self._workings = workings or Workings()
        self.engine = self._workings.engine(settings.database)
        check_schema(self.engine)
        self.vault = Vault.open(settings.home, settings.env)
        with self.engine.connect().execution_options(write=False) as conn:
            self.installation = installation_of(conn)
            self._installed = registry or Registry.load()
            self.in_force = self._workings.applied(conn, self._installed, settings.zone, None)
            self.registry, self.rules = self.in_force.registry, self.in_force.rules
            self.may = may_do(conn, host_fingerprint(settings))
            self.directory = read_directory(conn, self.registry, self.vault, self.clock.now())
        self._configured = self.directory.configured
        self._taking_over = asyncio.Lock()
        self.store = self._workings.store(self.engine)
        self.runner = self._workings.runner()
        holder = self.ids.new("hub")
        self.client = Client(
            clock=self.clock,
            randomness=self.randomness,
            grants=StoredGrants(self.store, self.vault, self.clock, holder),
            transport=transport,
            breakers=StoredBreakers(self.store),
        )
        self.client.may_call = lambda: self.may > ASLEEP
        self._targets: dict[str, Target] = {}
        self.tools = Tools(
            store=self.store,
            registry=self.registry,
            runner=self.runner,
            client=self.client,
            clock=self.clock,
            ids=self.ids,
            randomness=self.randomness,
            holder=holder,
            installation=self.installation["id"],
            targets=self.target,
            people=ErasedPeople(self.vault),
            restored=lambda: restored_of(self.installation),
        )
        self.dispatcher = Dispatcher(self.tools, self.rules, self._reopened, Decide)
        self.anew = Anew(self.tools, self.dispatcher)
        self.intake = Intake(self.tools, self.rules, self.dispatcher, lambda: self.directory)
        self.reception = Reception(
            store=self.store,
            clock=self.clock,
            ids=self.ids,
            vault=self.vault,
            directory=lambda: self.directory,
            reread=self.reread,
            kept=self.intake.offer,
        )
        self.reception.erased = lambda: self.tools.people.known
        self.sweeper = Sweeper(self.tools, lambda: self.directory, self.intake)
        self.prober = Prober(self)
        self.erasures = Erasures(self)
        self.timers = self._workings.timers()
        self.presence = Presence(settings, self.store, self.clock, self.tools.holder, alone=self._workings.alone(self.engine))
        self.ready = False
        self._took_up = ASLEEP  # what it might do when it last took up what was left

    # --- what others ask for ------------------------------------------------------------------------------------------

    async def target(self, connection_id: str) -> Target:
        """Give what is needed to call a connection. Raises ConfigurationError."""
        known = self._targets.get(connection_id)
        if known is None:
            row = self.directory.connections.get(connection_id) or (await self.reread()).connections.get(connection_id)
            if row is None:
                raise ConfigurationError(f"there is no connection {connection_id}.")
            known = self._targets[connection_id] = await self.store.read(self._read_target, row)
        return known

    def _read_target(self, conn: Connection, row: dict[str, Any]) -> Target:
        grant = conn.execute(select(tables.grant).where(tables.grant.c.id == row["grant"])).mappings().one()
        return self.target_of(row, grant["auth"])

    def target_of(self, row: dict[str, Any], auth_name: str) -> Target:
        """Give what is needed to call a connection's row. Raises ConfigurationError."""
        about = self.registry.get(row["connector"]).about
        auth = about.auth(auth_name)
        if auth is None:
            raise ConfigurationError(f"{about.name} has no way in called {auth_name!r}.", where=f"connection {row['name']}")
        settings: dict[str, str] = row["settings"]
        return Target.of(
            connection=row["id"],
            about=about,
            auth=auth,
            grant=row["grant"],
            settings=settings,
            account=row["account_id"],
            self_hosted=settings.get("self_hosted") == "yes",
            timeout_s=float(settings.get("total_s") or DEFAULT_TIMEOUT_S),
        )

    async def reread(self) -> Directory:
        """Read connections, endpoints and secrets anew."""
        self.directory = await self.store.read(self._read_directory)
        return self.directory

    def _read_directory(self, conn: Connection) -> Directory:
        _changing(conn)  # the first question fixes what is seen; a secret that is seen must count as entered by now
        return read_directory(conn, self.registry, self.vault, self.clock.now())

    def public_url(self) -> str:
        """Give the address that vendors call."""
        return self.settings.public_url or f"http://{self.settings.host}:{self.settings.port}"

    # --- work ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the installation, take up what was left, and begin to tick. Raises ConfigurationError if another hub has it."""
        self.presence.take_home()
        over = await self.presence.arrive()
        await self.erasures.take_up()
        await self.store.run(bring_near, self.clock.now())
        await self._keep_joined()
        self.client.breakers.learn((await self.store.read(_changing))[1])
        self._allow(self.may)
        self.client.share_with(await self.presence.at_work())
        await self.sweeper.recover(alone=self.presence.alone)
        await self._take_over(over)
        self.intake.flow.start(self.anew.if_changed(self.rules))
        self.timers.every(0.5, "effects", self._when(AWAKE, self.dispatcher.tick))
        self.timers.every(1.0, "notices", self._when(LOOKING, self.intake.tick))
        self.timers.every(1.0, "configuration", self.look_for_changes)
        self.timers.every(5.0, "sweeps", self._when(LOOKING, self.sweeper.tick))
        self.timers.every(60.0, "hooks", self._when(AWAKE, self.prober.tick))
        self.timers.every(60.0, "held", self._when(LOOKING, self._release_held))
        self.timers.every(60.0, "answered", self._when(LOOKING, self.close_answered))
        self.timers.every(BEAT_S, "presence", self.be_present)
        self.timers.every(LOOK_S, "looking back", self.look_back)
        self.timers.every(3600.0, "secrets", self.drop_secrets)
        self.timers.start()
        self.ready = True

    def _when(self, least: int, tick: Tick) -> Tick:
        async def ticked() -> None:
            if self.may >= least:
                await tick()

        return ticked

    def _allow(self, may: int) -> None:
        """Do from now on what this home may do. What is not begun stays in the store."""
        self.may, self._took_up = may, min(may, self._took_up)
        self.reception.holder = self.tools.holder if may > ASLEEP else None
        self.intake.flow.stopping = self.sweeper.flow.stopping = may == ASLEEP
        self.dispatcher.flow.stopping = may < AWAKE
        if may == ASLEEP:
            logger.warning(
                "nothing is sent to the tools: this home is not one that may, or sending was stopped. "
                "Look at `lifecyclehub status`; `lifecyclehub confirm` allows it."
            )

    async def _take_over(self, over: Sequence[str] = ()) -> None:
        """Take up what was left: by hubs that are over, or by this one while it was not allowed to act."""
        may = self.may
        if may == AWAKE:
            await self.dispatcher.recover()
        if may > ASLEEP:
            await self._release_held()
            await self.intake.take_over()
        if may == AWAKE and over:
            await self.presence.taken_over(over)
        self._took_up = min(may, self.may)

    async def be_present(self) -> None:
        """Say that this hub lives, and take over what was in the hands of one that does so no more."""
        over = await self.presence.others_over()
        self.client.share_with(await self.presence.at_work())
        if over:
            logger.warning("taking over what %s left", ", ".join(over))
            await self._take_over(over)
        elif not self.presence.alone and self.may > ASLEEP and await self.intake.hands.left_behind():
            await self._take_over()
        if self.may == ASLEEP:  # what was just being kept or split when it fell asleep
            await self.intake.hands.let_go()

    async def look_back(self) -> None:
        """After a restore: write to the tools again once each was looked at since."""
        by = self.directory
        if self.may == LOOKING and await self.store.read(looked_back, by, self.registry, self.runner.hanging):
            await self.store.run(has_looked_back, LookedBack(self.clock.now(), by.configured))

    async def close_answered(self) -> None:
        """Ask a person nothing more about what was seen since."""
        await self.store.run(close_answered, self.clock.now())
        await self.erasures.go_on()

    async def drop_secrets(self) -> None:
        """Drop signing secrets whose time is over."""
        await self.store.run(drop_ended, self.clock.now())

    async def look_for_changes(self) -> None:
        """Take over what an admin changed before this call: connections, secrets, switches, the applied set."""
        async with self._taking_over:  # else a look that read the old set, but later has its say, would put it back
            configured, breakers = await self.store.read(_changing)
            self.client.breakers.learn(breakers)
            if configured != self._configured:
                await self.reconfigure()

    async def reconfigure(self) -> None:
        """Read the configuration anew and look at everything that waits with it. Edited files count once they are applied."""
        self.vault.reread()
        configured = (await self.reread()).configured  # others read the directory anew too, but take nothing else over
        self._targets.clear()
        self.installation = await self.store.read(installation_of)
        await self.erasures.notice()
        may = await self.store.read(may_do, self.presence.fingerprint)
        if may != self.may:
            self._allow(may)
        for row in self.directory.connections.values():
            self.client.forget(row["grant"])
        try:
            await self._use_applied()
        except ConfigurationError as error:
            logger.error("the applied rules were not taken over: %s", error)  # noqa: TRY400 (the text says it all)
        if may == ASLEEP:
            await self.intake.hands.let_go()  # another hub, which may, need not wait for this one to end
        elif may > self._took_up:  # also when a busy store broke that off the last time
            await self._take_over()
        else:
            await self._release_held()
            await self.dispatcher.advance_all()
            await self.intake.recover()
        await self.anew.if_changed(self.rules)
        self._configured = configured  # only now: what a busy database kept from being taken over is tried again

    async def _use_applied(self) -> None:
        """Work with the set that counts, and with the connectors that it fits: all at once, so that no door opens unmapped."""
        self.in_force, self.directory = await self.store.read(self._read_applied)
        self.registry = self.tools.registry = self.in_force.registry
        self.use(self.in_force.rules)

    def _read_applied(self, conn: Connection) -> tuple[InForce, Directory]:
        in_force = self._workings.applied(conn, self._installed, self.settings.zone, self.in_force)
        return in_force, read_directory(conn, in_force.registry, self.vault, self.clock.now())

    async def _keep_joined(self) -> None:
        """Keep the set that a connector has just joined, so that what is planned with it can be explained."""
        before, version = self.in_force, self.rules.version
        if before.kept == version:
            return
        who, in_step = "the hub, for a new connector", before.files_set == before.kept
        item = Applying(version, before.source.content(), who, self.clock.now(), before.kept, in_step)
        try:
            await self.store.run(apply_set, item)
        except AppliedMeanwhile:  # by a person, or by another hub that has the connector too
            await self._use_applied()

    async def _release_held(self) -> None:
        """Open what was held for a connection that works: what came while it was resumed met the old directory.

        With several writers that may even be committed after the release, so it is looked at again now and then.
        """
        active = [Release(row["id"]) for row in self.directory.connections.values() if row["state"] == "active"]
        if active:
            await self.store.run_all(release, active)

    def use(self, rules: Rules) -> None:
        """Work with these rules from now on."""
        self.rules = rules
        self.dispatcher.use(rules)
        self.intake.use(rules)

    async def _reopened(self, notices: list[str]) -> None:
        await self.intake.reopened(notices)

    async def settled(self) -> None:
        """Wait until nothing is under way: for tests and the demo."""
        await nothing_left(self.sweeper.flow, self.intake.flow, self.dispatcher.flow)

    async def stop(self) -> None:
        """Take up nothing more, let what is in flight end, and close. What is left is in the store."""
        self.ready = False
        self.timers.stop()
        self.sweeper.flow.stopping = self.intake.flow.stopping = self.dispatcher.flow.stopping = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(self.timers.over(), self.settled()), DRAIN_S)
        await self._leave()
        await self.client.aclose()
        self.runner.close()
        await asyncio.get_running_loop().run_in_executor(None, self.store.close)
        self.engine.dispose()
        self.presence.leave_home()

    async def _leave(self) -> None:
        """Leave what is not finished to others, at once instead of when they notice. A busy store makes them wait for that."""
        with contextlib.suppress(StoreBusy, StoreClosed):
            if self.presence.arrived:
                await self.sweeper.budget.note(self.clock.now())
                await self.intake.hands.let_go()
                await self.presence.leave()


@asynccontextmanager
async def running(settings: Settings, **ports: Any) -> AsyncIterator[Hub]:
    """Run a hub for as long as the block lasts."""
    hub = Hub(settings, **ports)
    try:
        await hub.start()
        yield hub
    finally:
        await hub.stop()
