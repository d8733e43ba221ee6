"""A tool that changes its ways: a field is gone, has another type, or a value that nobody knows. Later it is mended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from lifecyclehub.store import tables
from lifecyclehub.torture.elements import DRIFTS, Fault
from lifecyclehub.torture.violation import Violation

if TYPE_CHECKING:
    from lifecyclehub.torture.vendor import Record, Vendor
    from lifecyclehub.torture.world import World

_KIND: Final = {"crm": "crm.deal", "projects": "projects.project", "desk": "desk.ticket"}
_FIELD: Final = "status"
_KNOWN: Final = ("open", "won", "lost", "closed", "solved")
_TABLES: Final = {"crm": tables.deal, "projects": tables.project, "desk": tables.ticket}


class Drift:
    """One change of a tool's ways, for a while."""

    def __init__(self, world: World, vendor: Vendor, how: str) -> None:
        self._world, self._vendor, self._how = world, vendor, how
        self._began = vendor.now()
        self.kind = _KIND[vendor.name]
        self.met: set[str] = set()  # records that the hub was shown in the new way: by an answer, or a webhook that it took

    def bend(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """Show a record's fields in the new way."""
        if kind != self.kind or _FIELD not in data:
            return data
        match self._how:
            case "field gone":
                return {name: value for name, value in data.items() if name != _FIELD}
            case "other type":
                return data | {_FIELD: {"value": data[_FIELD], "since": 1}}
            case _:
                return data | {_FIELD: f"{data[_FIELD]}-reviewed"}

    def looked_at(self, record: Record) -> None:
        """Note that a process which lives looks at a record."""
        if record.kind == self.kind and (self._vendor.caller is None or self._vendor.caller.alive):
            self.met.add(record.id)

    def told(self, entries: Sequence[dict[str, Any]]) -> None:
        """Note what a webhook brought that was answered 2xx: a record in the new way may be in it."""
        for one in entries:
            shown = one.get("record")
            if shown is None or one["kind"] != self.kind or datetime.fromisoformat(one["at"]) < self._began:
                continue
            if shown["data"].get(_FIELD) not in _KNOWN:
                self.met.add(one["id"])

    def end(self) -> Iterator[Violation]:
        """F7: when it ends, each record that was met is parked or not yet worked on, and nothing else was believed.

        One that is deleted by now is no question any more.
        """
        notice, delivery, thing = tables.notice, tables.delivery, _TABLES[self._vendor.name]
        with self._world.database.engine.connect().execution_options(write=False) as conn, conn.begin():
            mine = notice.c.kind == self.kind
            waits = notice.c.state.in_(("parked", "open", "held"))
            waiting = set(conn.execute(select(notice.c.record_id).where(mine, waits)).scalars())
            unread = delivery.c.state.in_(("open", "held")) & (delivery.c.connector == self._vendor.name)
            arriving = conn.execute(select(func.count()).where(unread)).scalar_one()
            known = set(conn.execute(select(thing.c.status)).scalars())
            why = conn.execute(select(notice.c.detail).where(mine, notice.c.state == "parked")).scalars()
            silent = [detail for detail in why if not detail]
        if silent:
            yield Violation("F7", f"{self.kind}: parked, and nobody is told why")
        if strange := known - {*_KNOWN, None}:
            yield Violation("F7", f"{self.kind}: {sorted(map(str, strange))} was believed")
        there = {one.id for one in self._vendor.alive(self.kind)}
        if (swallowed := (self.met & there) - waiting) and not arriving:
            yield Violation("F7", f"{self.kind}: {sorted(swallowed)} came in a way that nobody knows, and nothing is parked")


def drift(world: World, fault: Fault) -> None:
    """Let a tool change its ways until the fault's seconds are over."""
    vendor = world.vendors[fault.where]
    if vendor.drift is not None:
        return
    made = vendor.drift = Drift(world, vendor, DRIFTS[fault.kind])

    def mend() -> None:
        if vendor.drift is made:
            world.drifted += list(made.end())
            vendor.drift = None
            world.note("mended", vendor.name)

    vendor.mend = mend
    world.outside(fault.seconds, mend)
