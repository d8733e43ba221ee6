"""What an admin does to a store as a whole: puts back a backup, changes the key. The tools know nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import Fernet
from sqlalchemy import select

from lifecyclehub.admin.backup import mark_restored
from lifecyclehub.admin.keys import _write_keys, drop_old_keys, rotate_keys
from lifecyclehub.store import tables
from lifecyclehub.torture.elements import TOOLS, Fault
from lifecyclehub.torture.violation import Violation
from lifecyclehub.vault import Vault

if TYPE_CHECKING:
    from lifecyclehub.torture.world import World

_DOWN_S: Final = 20.0
_FORGET_AFTER_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class Backup:
    """The store as it was with the keys that open it, and what had been answered 2xx by then."""

    store: Any
    keys: tuple[str, ...]
    kept: int
    told: frozenset[str]


class Restores:
    """Backups of one scenario, and what must hold after one was put back."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.at: datetime | None = None  # when one was put back
        self._looked_back = False
        self._swept: set[str] = set()  # tools that were looked at since
        self.early: list[str] = []

    def prepare(self, fault: Fault) -> None:
        """Take the backup in its time, and put it back in its time."""
        world = self._world
        made: list[Backup] = []

        def back_up() -> None:
            hooks = world.hooks
            made.append(Backup(world.database.backup(), world.database.keys(), len(hooks.kept), frozenset(hooks.told)))
            world.note("backed up")

        def put_back() -> None:
            if not world.calm:
                world.fire(fault)
                self._put_back(made[0])

        world.outside(max(fault.nth - fault.seconds, 0.5), back_up)
        world.outside(fault.nth, put_back)

    def _put_back(self, backup: Backup) -> None:
        world = self._world
        for machine in world.machines:
            machine.bury()
        world.database.put_back(backup.store)
        world.database.know_keys(backup.keys)
        del world.hooks.kept[backup.kept :]
        world.hooks.told = set(backup.told)
        now = world.clock.now()
        with world.database.engine.begin() as conn:
            mark_restored(conn, None, now)
        world.database.confirm_all(machine.settings for machine in world.machines)
        self.at, self._swept, self._looked_back = world.vendor_now(), set(), False
        for vendor in world.vendors.values():
            if vendor.rotating is not None:
                vendor.rotating.excused = True
            if vendor.drift is not None:  # what was parked of it is forgotten; it is met again when it is looked at again
                vendor.drift.met.clear()
        for machine in world.machines:
            world.outside(_DOWN_S, machine.boot)

    def heard(self, tool: str, path: str, status: int) -> None:
        """Note what a tool was asked and answered: none may be written to before each was looked at."""
        if self.at is None:
            return
        if path.startswith("/changed/") and status == 200:
            self._swept.add(tool)

    def written(self, tool: str) -> None:
        """Note that a tool is written to: only once the hub says that it has looked back."""
        if self.at is not None and not self._looked_back:
            self.early.append(f"{tool} was written to after a restore, before the tools were looked at")

    def looked_back(self) -> None:
        """Note that the hub says so, if it does: each tool whose connection works must have been looked at."""
        table = tables.connection
        with self._world.database.engine.connect().execution_options(write=False) as conn, conn.begin():
            if conn.execute(select(tables.installation.c.looked_back_at)).scalar() is None:
                return  # it was judged by a configuration that changed meanwhile
            working = set(conn.execute(select(table.c.name).where(table.c.state == "active")).scalars())
        unseen = sorted((working & set(TOOLS)) - self._swept)
        self._looked_back = True
        if unseen:
            self.early.append(f"the hub says that it looked back, and did not look at {', '.join(unseen)}")

    def held(self) -> Iterator[Violation]:
        """I16."""
        return (Violation("I16", one) for one in self.early)


def change_key(world: World, fault: Fault) -> None:
    """Change the key, cut off in the middle when the fault has seconds; drop the old one when all hubs know the new one."""
    world.start(_change_key(world, fault.seconds))


async def _change_key(world: World, cut_off_s: float) -> None:
    database = world.database
    if cut_off_s:  # killed when the new key was written, and nothing more was done
        vault = Vault.open(database.settings.home, database.settings.env)
        _write_keys(database.settings, [Fernet.generate_key().decode(), *vault.keys])
        await asyncio.sleep(cut_off_s)
    rotate_keys(database.settings, database.opened)
    world.stir()
    await asyncio.sleep(_FORGET_AFTER_S)
    drop_old_keys(database.settings, world.clock.now(), database.opened)
    world.note("the old key is gone")
