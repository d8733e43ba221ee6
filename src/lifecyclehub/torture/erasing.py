"""A person who is erased while a scenario runs: at its end nothing may tell them, and later news of them is ignored (I15)."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from lifecyclehub.admin.erasing import erase_person
from lifecyclehub.admin.persons import find_person
from lifecyclehub.errors import ConfigurationError, NotThere
from lifecyclehub.store import tables
from lifecyclehub.store.writer import StoreBusy
from lifecyclehub.torture.elements import Fault
from lifecyclehub.torture.loop import PROCESS
from lifecyclehub.torture.violation import Violation

if TYPE_CHECKING:
    from lifecyclehub.torture.vendor import Record
    from lifecyclehub.torture.world import World

NAME: Final = "Odalys Nightingale"
PHONE: Final = "+43 660 731 55 29"
_AGAIN_S: Final = 20.0
_ENDS: Final = ("erased", "same as another")


class Erasing:
    """One person of one scenario, and what becomes of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.email = f"odalys-{world.plan.seed}@private.example"
        self.canaries = (self.email, NAME.lower(), "nightingale", PHONE)
        self.contact: Record | None = None
        self.over = False
        self.at: datetime | None = None
        self._bodies: set[str] | None = None

    @property
    def waits(self) -> bool:
        """Tell whether somebody is still to be erased."""
        return self.contact is not None and not self.over

    def met(self) -> str:
        """Enter the person in the CRM, and give the record's id."""
        if self.contact is None:
            data = {"name": NAME, "email": self.email, "phone": PHONE}
            self.contact = self._world.vendors["crm"].make("crm.contact", data)
        return self.contact.id

    async def erase(self, again_s: float) -> None:
        """Erase the person as soon as nothing is in the way, as an admin does; what is cut off, the hub ends by itself."""
        while not self._is_done():
            if not self._has_begun():
                await self._try()
            await asyncio.sleep(_AGAIN_S)
        self.over = True
        self._world.note("erased")
        for number in range(3):  # somebody in the CRM did not hear of it
            self._world.outside(again_s * (number + 1), lambda number=number: self._edit(number))  # type: ignore[misc]

    def _edit(self, number: int) -> None:
        if self.contact is not None and not self._world.calm:
            self._world.vendors["crm"].write(self.contact, phone=PHONE, note=f"{NAME} called again, {number}")

    async def _try(self) -> None:
        world = self._world
        machine = next((one for one in world.machines if one.living and one.hub is not None and one.hub.ready), None)
        if machine is None or machine.hub is None or machine.process is None or machine.process.stalled:
            return
        context = contextvars.Context()
        context.run(PROCESS.set, machine.process)
        trying = world.loop.create_task(self._through(machine.hub), context=context)
        await asyncio.wait({trying}, timeout=300)

    async def _through(self, hub: object) -> None:
        from lifecyclehub.hub import Hub

        assert isinstance(hub, Hub)  # noqa: S101 (whoever calls has one)
        try:
            person = await hub.store.read(find_person, hub.rules, self.email)
            await erase_person(hub, person, "an admin")
        except (NotThere, StoreBusy):
            pass  # not met yet, or not now
        except ConfigurationError as error:
            self._world.note("in the way", error)

    def _has_begun(self) -> bool:
        return self._ask(select(tables.erasure.c.id)) is not None

    def _is_done(self) -> bool:
        done = self._ask(select(tables.erasure.c.done_at).where(tables.erasure.c.done_at.is_not(None)))
        self.at = done
        return done is not None

    def _ask(self, question: object) -> datetime | None:
        with self._world.database.engine.connect().execution_options(write=False) as conn, conn.begin():
            found: datetime | None = conn.execute(question).scalar()  # type: ignore[call-overload]
        return found

    # --- what must hold ---------------------------------------------------------------------------------------------------

    def told_of(self, body_hash: str) -> bool:
        """Tell whether a webhook told of the person: what was kept of it is something else by now."""
        names = (*self.canaries, *((f'"{self.contact.id}"',) if self.contact is not None else ()))
        if self._bodies is None or len(self._bodies) != len(self._world.hooks.sent):
            sent = self._world.hooks.sent
            self._bodies = {hashlib.sha256(one.body).hexdigest() for one in sent if _tells(one.body, names)}
        return body_hash in self._bodies

    def held(self, conn: Connection) -> Iterator[Violation]:
        """I15."""
        if self.at is None:
            if self.contact is not None:
                yield Violation("I15", "the person was never erased")
            return
        for table in tables.metadata.sorted_tables:
            for row in conn.execute(select(table)).mappings():
                for column, value in row.items():
                    if _tells(value, self.canaries):
                        yield Violation("I15", f"{table.name}.{column} tells of who was erased: {str(value)[:80]}")
        if any(one.kind.startswith("clock") for one in self._world.plan.faults):
            return  # what was kept later than it ended, the store's times do not tell then
        notice = tables.notice
        assert self.contact is not None  # noqa: S101 (who was erased was met)
        mine = (notice.c.kind == "crm.contact", notice.c.record_id == self.contact.id, notice.c.kept_at > self.at)
        for one in conn.execute(select(notice).where(*mine)):
            if one.state != "ignored" or one.reason not in _ENDS:
                yield Violation("I15", f"later news of who was erased is {one.state}: {one.reason}")


def _tells(value: object, names: tuple[str, ...]) -> bool:
    text = bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else str(value)
    lower = text.lower()
    return any(one.lower() in lower for one in names)


def erase(world: World, fault: Fault) -> None:
    """Begin to erase the person of this scenario."""
    if world.erasing is not None:
        world.start(world.erasing.erase(fault.seconds))
