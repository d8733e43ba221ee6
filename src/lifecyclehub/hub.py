"""The one place where everything is wired together."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import IO, Any

from sqlalchemy import Connection, select, text

from lifecyclehub.admin.mappings import Applied, record_rules
from lifecyclehub.configuration import read_rules
from lifecyclehub.dispatch.dispatcher import Dispatcher
from lifecyclehub.dispatch.tools import Tools
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.intake.anew import Anew
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
from lifecyclehub.store.database import check_schema, open_engine
from lifecyclehub.store.writer import Store
from lifecyclehub.timers import Timers
from lifecyclehub.vault import Vault
from lifecyclehub.vault.credentials import StoredGrants
from lifecyclehub.vendor.client import Client
from lifecyclehub.vendor.target import DEFAULT_TIMEOUT_S, Target
from lifecyclehub.vendor.transport import TransportFactory

logger = logging.getLogger(__name__)
DRAIN_S = 25.0


def _installation(conn: Connection) -> dict[str, Any]:
    row = conn.execute(select(tables.installation)).mappings().first()
    if row is None:
        raise ConfigurationError("the database holds no installation.", mend="Run `lifecyclehub init` first.")
    return dict(row)


def _configured(conn: Connection) -> int:
    return int(conn.execute(text("SELECT configured FROM installation")).scalar() or 0)


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
    ) -> None:
        """Open the store and read the configuration. Raises ConfigurationError that says how to mend what is wrong."""
        self.settings = settings
        self.clock = clock or SystemClock()
        self.randomness = randomness or SystemRandomness()
        self.ids = Ids(self.clock, self.randomness)
        self.registry = registry or Registry.load()
        self.engine = open_engine(settings.database)
        check_schema(self.engine)
        self.vault = Vault.open(settings.home, settings.env)
        with self.engine.connect().execution_options(write=False) as conn:
            self.installation = _installation(conn)
            self.directory = read_directory(conn, self.registry, self.vault, self.clock.now())
        self._configured = self.directory.configured
        self.rules = read_rules(self.registry, settings, self.installation["id"])
        self.store = Store(self.engine)
        self.runner = PluginRunner()
        self.client = Client(
            clock=self.clock,
            randomness=self.randomness,
            grants=StoredGrants(self.store, self.vault, self.clock),
            transport=transport,
        )
        self._targets: dict[str, Target] = {}
        self.tools = Tools(
            store=self.store,
            registry=self.registry,
            runner=self.runner,
            client=self.client,
            clock=self.clock,
            ids=self.ids,
            randomness=self.randomness,
            holder=self.ids.new("hub"),
            installation=self.installation["id"],
            targets=self.target,
        )
        self.dispatcher = Dispatcher(self.tools, self.rules, self._reopened)
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
        self.sweeper = Sweeper(self.tools, lambda: self.directory, self.intake.offer)
        self.timers = Timers()
        self._lock: IO[str] | None = None
        self.ready = False

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
        self.directory = await self.store.read(read_directory, self.registry, self.vault, self.clock.now())
        return self.directory

    def public_url(self) -> str:
        """Give the address that vendors call."""
        return self.settings.public_url or f"http://{self.settings.host}:{self.settings.port}"

    # --- work ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the installation, take up what was left, and begin to tick. Raises ConfigurationError if another hub has it."""
        self._take_lock()
        await self.dispatcher.recover()
        await self._release_held()
        await self.intake.recover()
        await self.store.run(record_rules, Applied(self.rules, "the hub, at its start", self.clock.now()))
        self.intake.flow.start(self.anew.if_changed(self.rules))
        self.timers.every(0.5, "effects", self.dispatcher.tick)
        self.timers.every(1.0, "notices", self.intake.tick)
        self.timers.every(1.0, "configuration", self.look_for_changes)
        self.timers.every(5.0, "sweeps", self.sweeper.tick)
        self.timers.start()
        self.ready = True

    def _take_lock(self) -> None:
        """One hub on an embedded store: a second one would think that the first one's claims are nobody's."""
        if self.engine.dialect.name != "sqlite":
            return
        self._lock = (self.settings.home / "hub.lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            self._lock = None
            raise ConfigurationError(
                "another hub is running on this home.", where=str(self.settings.home), mend="Stop it, or use another home."
            ) from error
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    async def look_for_changes(self) -> None:
        """Take over what an admin changed meanwhile: connections, secrets, switches, mapping files."""
        if await self.store.read(_configured) != self._configured:
            await self.reconfigure()

    async def reconfigure(self) -> None:
        """Read the configuration anew and look at everything that waits with it. Faulty files change nothing."""
        configured = (await self.reread()).configured  # others read the directory anew too, but take nothing else over
        self._targets.clear()
        for row in self.directory.connections.values():
            self.client.forget(row["grant"])
        try:
            rules = read_rules(self.registry, self.settings, self.installation["id"])
        except ConfigurationError as error:
            logger.error("the configuration was not taken over: %s", error)  # noqa: TRY400 (the text says it all)
            rules = self.rules
        self.use(rules)
        await self.store.run(record_rules, Applied(rules, "the hub, after a change", self.clock.now()))
        await self._release_held()
        await self.dispatcher.advance_all()
        await self.intake.recover()
        await self.anew.if_changed(rules)
        self._configured = configured  # only now: what a busy database kept from being taken over is tried again

    async def _release_held(self) -> None:
        """Open what was held for a connection that works: a delivery that came while it was resumed met the old directory."""
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
        await nothing_left(self.intake.flow, self.dispatcher.flow)

    async def stop(self) -> None:
        """Take up nothing more, let what is in flight end, and close. What is left is in the store."""
        self.ready = False
        self.timers.stop()
        self.intake.flow.stopping = self.dispatcher.flow.stopping = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.settled(), DRAIN_S)
        await self.client.aclose()
        self.runner.close()
        await asyncio.get_running_loop().run_in_executor(None, self.store.close)
        self.engine.dispose()
        if self._lock is not None:
            self._lock.close()


@asynccontextmanager
async def running(settings: Settings, **ports: Any) -> AsyncIterator[Hub]:
    """Run a hub for as long as the block lasts."""
    hub = Hub(settings, **ports)
    try:
        await hub.start()
        yield hub
    finally:
        await hub.stop()


def with_port(settings: Settings, port: int) -> Settings:
    """Give the settings with the port that is really used."""
    return replace(settings, port=port)
