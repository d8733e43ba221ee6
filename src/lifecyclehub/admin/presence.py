"""Being there: the home is this process's alone, the store knows that it lives, and what it may do is asked before it acts."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import Connection, Engine, bindparam, func, make_url, select

from lifecyclehub.admin.hosts import host_fingerprint, is_confirmed
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.ports import Clock
from lifecyclehub.settings import Settings
from lifecyclehub.store import leases, tables
from lifecyclehub.store.database import SQLITE
from lifecyclehub.store.leases import Beat, LetGo, beat, forget, let_go
from lifecyclehub.store.sql import Query
from lifecyclehub.store.writer import Store

BEAT_S: Final = 5.0
LOCK: Final = "hub.lock"

ASLEEP, LOOKING, AWAKE = 0, 1, 2
"""What a process may do: only take in and show; look at the tools too; write to them too."""


def may_do(conn: Connection, fingerprint: str) -> int:
    """Say what a process in this home may do now."""
    row = conn.execute(select(tables.installation)).mappings().one()
    if not row["outbound_allowed"] or not is_confirmed(conn, fingerprint):
        return ASLEEP
    return LOOKING if _must_look_back(row["restored_at"], row["looked_back_at"]) else AWAKE


def _must_look_back(restored: datetime | None, looked: datetime | None) -> bool:
    return restored is not None and (looked is None or looked < restored)


def serves_one(engine: Engine) -> bool:
    """Tell whether a database serves only one hub: SQLite does."""
    return engine.dialect.name == "sqlite"


class Locks:
    """Holds a home, and an embedded store's file, for one process: the same file can be reached from two homes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: list[IO[str]] = []

    def take(self) -> None:
        """Take both. Raises ConfigurationError while another hub has one of them."""
        self._take(self._settings.home / LOCK, "another hub is running on this home.", str(self._settings.home))
        url = make_url(self._settings.database)
        if url.drivername == SQLITE and url.database and url.database != ":memory:":
            place = Path(url.database).resolve()
            try:
                self._take(place.with_name(f"{place.name}-hub"), "another hub is running on this database.", str(place))
            except ConfigurationError:
                self.leave()
                raise

    def _take(self, file: Path, what: str, where: str) -> None:
        lock = file.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise ConfigurationError(what, where=where, mend="Stop it, or use another home.") from error
        self._held.append(lock)
        with contextlib.suppress(OSError):  # for people only; on a full disk it is missing
            os.ftruncate(lock.fileno(), 0)
            os.pwrite(lock.fileno(), str(os.getpid()).encode(), 0)

    def leave(self) -> None:
        """Let another process have them."""
        while self._held:
            self._held.pop().close()


class Presence:
    """One process's place among those that work on a store."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, hub: str, *, alone: bool) -> None:
        """`alone`: this process has the store for itself."""
        self._store, self._clock, self._hub, self.alone = store, clock, hub, alone
        self.fingerprint = host_fingerprint(settings)
        self._locks = Locks(settings)
        self.arrived = False

    def take_home(self) -> None:
        """Take the home, and an embedded store's file. Raises ConfigurationError while another hub has one of them."""
        self._locks.take()

    def leave_home(self) -> None:
        """Let another process have the home."""
        self._locks.leave()

    async def arrive(self) -> list[str]:
        """Say that this process lives, and that those which had its home, or its store alone, do so no more; give all these."""
        over = await self._store.run(beat, self._beat(starting=True))
        self.arrived = True
        return over

    async def others_over(self) -> list[str]:
        """Say again that this process lives; give the hubs that live no more, to be taken over."""
        if self.alone:
            return []
        return await self._store.run(beat, self._beat(starting=False))

    async def at_work(self) -> int:
        """Count the hubs that live and may call the tools, this one among them."""
        return 1 if self.alone else await self._store.read(working_hubs, self._clock.now())

    async def taken_over(self, hubs: Sequence[str]) -> None:
        """Forget hubs whose work is in other hands now."""
        await self._store.run_all(forget, [(one, self._clock.now()) for one in hubs])

    async def leave(self) -> None:
        """Say that this process is going; what it leaves is another one's from now on."""
        await self._store.run(let_go, LetGo(self._hub, self.fingerprint, self._clock.now()))

    def _beat(self, *, starting: bool) -> Beat:
        return Beat(self._hub, self.fingerprint, self._clock.now(), alone=self.alone, starting=starting)


def working_hubs(conn: Connection, now: datetime) -> int:
    """Count the hubs that live in homes that may call the tools."""
    return int(_WORKING.all(conn, at=leases.database_time(conn, now))[0]["hubs"])


_WORKING = Query(select(func.count().label("hubs")).select_from(leases.working_at(bindparam("at")).subquery()))


def installation_of(conn: Connection) -> dict[str, Any]:
    """Give the installation. Raises ConfigurationError when there is none."""
    row = conn.execute(select(tables.installation)).mappings().first()
    if row is None:
        raise ConfigurationError("the database holds no installation.", mend="Run `lifecyclehub init` first.")
    return dict(row)
