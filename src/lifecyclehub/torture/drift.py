"""A tool that changes its ways: a field is gone, has another type, or a value that nobody knows. Later it is mended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from lifecyclehub.store import tables
from lifecyclehub.torture.elements import DRIFTS, Fault
from lifecyclehub.torture.violation import Violation

if TYPE_CHECKING:
    from lifecyclehub.torture.vendor import Vendor
    from lifecyclehub.torture.world import World

_KIND: Final = {"crm": "crm.deal", "projects": "projects.project", "desk": "desk.ticket"}
_FIELD: Final = "status"
_SETTLED_S: Final = 5.0  # what was shown so long ago was judged
_TABLES: Final = {"crm": tables.deal, "projects": tables.project, "desk": tables.ticket}


class Drift:
    """One change of a tool's ways, for a while."""

    def __init__(self, world: World, vendor: Vendor, how: str) -> None:
        self._world, self._vendor, self._how = world, vendor, how
        self.kind = _KIND[vendor.name]
        self.met: set[str] = set()  # records that were shown in the new way, and by when each was so last
        self._last = 0.0

    def bend(self, kind: str, record: str, data: dict[str, Any]) -> dict[str, Any]:
        """Show a record's fields in the new way."""
        if kind != self.kind or _FIELD not in data:
            return data
        self.met.add(record)
        self._last = self._world.loop.time()
        match self._how:
            case "field gone":
                return {name: value for name, value in data.items() if name != _FIELD}
            case "other type":
                return data | {_FIELD: {"value": data[_FIELD], "since": 1}}
            case _:
                return data | {_FIELD: f"{data[_FIELD]}-reviewed"}

    def end(self) -> Iterator[Violation]:
        """F7: when it ends, whatever was met is parked or not yet worked on, and nothing else was believed."""
        notice, thing = tables.notice, _TABLES[self._vendor.name]
        with self._world.database.engine.connect().execution_options(write=False) as conn, conn.begin():
            waiting = notice.c.state.in_(("parked", "open", "held"))
            seen = conn.execute(select(func.count()).where(notice.c.kind == self.kind, waiting)).scalar_one()
            open_ones = conn.execute(select(func.count()).where(tables.delivery.c.state == "open")).scalar_one()
            known = set(conn.execute(select(thing.c.status)).scalars())
            why = conn.execute(select(notice.c.detail).where(notice.c.kind == self.kind, notice.c.state == "parked")).scalars()
            silent = [detail for detail in why if not detail]
        if silent:
            yield Violation("F7", f"{self.kind}: parked, and nobody is told why")
        if strange := known - {"open", "won", "lost", "closed", "solved", None}:
            yield Violation("F7", f"{self.kind}: {sorted(map(str, strange))} was believed")
        settled = self._world.hub is not None and self._world.loop.time() - self._last > _SETTLED_S
        if self.met and not seen and not open_ones and settled:
            yield Violation("F7", f"{self.kind}: {sorted(self.met)} came in a way that nobody knows, and nothing is parked")


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
