"""Sweeps look for what webhooks missed, and are the only way in for a connection that polls.

What changed is looked for every few minutes, in windows that overlap; everything is listed every night, and as an import
when a person asks. A swept page is kept as deliveries before its cursor: a crash in between only means looking twice.
Connections are swept side by side, so that one whose vendor does not answer keeps nobody waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from lifecyclehub.connector import Connector, Kind, Page
from lifecyclehub.dispatch.perform import Flow
from lifecyclehub.dispatch.tools import Pause, Tools, pause
from lifecyclehub.errors import HubError, NeedsReauthorization
from lifecyclehub.insight.clocks import CHANGES, FULL, IMPORT, next_pass
from lifecyclehub.intake.budget import Budget, next_day
from lifecyclehub.intake.directory import Directory
from lifecyclehub.intake.keep import Arrival, keep
from lifecyclehub.intake.known import to_look_at
from lifecyclehub.intake.missed import Judge
from lifecyclehub.intake.missing import look_for_missing
from lifecyclehub.intake.page import swept
from lifecyclehub.intake.passes import Came, Place, Stopped, Take, came_to, free_all, read_passes, stop, take
from lifecyclehub.messages import Notice
from lifecyclehub.registry.runner import cut_each
from lifecyclehub.store.things import Row
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.retry import next_try
from lifecyclehub.vendor.target import DEFAULT_TIMEOUT_S

logger = logging.getLogger(__name__)

CHUNK: Final = 50  # notices that are handed on at a time
PAGES_S: Final = 4  # a page may take so many times a request
_BACKGROUND: Final = (FULL, IMPORT)


class _Ends(HubError):
    """A pass ends early, and goes on later from where it is: the text says why."""

    def __init__(self, reason: str | None, not_before: datetime | None = None) -> None:
        self.reason, self.not_before = reason, not_before
        super().__init__(reason or "the hub stops")


class TakesUp(Protocol):
    """Who works on what was kept."""

    def offer(self, arrival: Arrival) -> None: ...
    async def room(self, connection: str) -> None: ...
    def waiting(self, connection: str) -> int: ...


class Sweeper:
    """Sweeps what is due: the connections side by side, the kinds of each one after the other."""

    def __init__(self, tools: Tools, directory: Callable[[], Directory], intake: TakesUp) -> None:
        self._tools, self._directory, self._intake = tools, directory, intake
        self.budget = Budget(tools.store, tools.client.calls)
        self.flow = Flow(limit=1_000)
        self._judge = Judge(tools)
        self._at_work: set[tuple[str, bool]] = set()

    async def recover(self, *, alone: bool) -> None:
        """At a start: go on with every pass that was under way. `alone`: no other hub works on this store."""
        if alone:
            await self._tools.store.run(free_all, None)

    async def tick(self) -> None:
        """Begin to sweep every kind whose time has come, and judge what webhooks did not announce."""
        now = self._tools.clock.now()
        await self.budget.note(now)
        passes = await self._tools.store.read(read_passes)
        for connection in list(self._directory().connections.values()):
            connector = self._tools.registry.connectors.get(connection["connector"])
            if connector is None or connection["state"] != "active":
                continue
            # What changed lately does not wait for a list of everything.
            for background, ways in ((False, (CHANGES,)), (True, _BACKGROUND)):
                due = [
                    (kind, way)
                    for way in ways
                    for kind in connector.about.kinds
                    if self._is_due(connection, kind, way, passes.get(Place(connection["id"], kind.id, way)), now)
                ]
                if due and (connection["id"], background) not in self._at_work:
                    self._at_work.add((connection["id"], background))
                    place = (connection["id"], background)
                    self.flow.start(self._each(connection, due, background=background), partial(self._at_work.discard, place))
        await self._judge.tick(now)  # last: whatever it meets keeps no sweep waiting

    def _is_due(self, connection: Row, kind: Kind, way: str, last: Row | None, now: datetime) -> bool:
        if last is not None and last["holder"] not in (None, self._tools.holder) and last["held_until"] > now:
            return False  # another hub is at it
        moment = next_pass(connection, kind, way, last)
        return moment is not None and moment <= now

    async def _each(self, connection: Row, due: Iterable[tuple[Kind, str]], *, background: bool) -> None:
        try:
            for kind, way in due:
                if not self._stops(connection["id"]):
                    await self.sweep(connection, kind, way)
        finally:
            self._at_work.discard((connection["id"], background))

    def _stops(self, connection: str) -> bool:
        """Tell whether nothing more is to be looked for: the hub stops, or the connection was paused meanwhile."""
        known = self._directory().connections.get(connection)
        return self.flow.stopping or known is None or known["state"] != "active"

    async def sweep(self, connection: Row, kind: Kind, way: str = CHANGES) -> None:
        """Go on with a pass, or begin one. Failures wait for the next time, and say why."""
        try:
            await self._sweep(connection, kind, Place(connection["id"], kind.id, way))
        except (StoreBusy, StoreClosed):
            return  # what was kept is kept; the next tick goes on with it

    async def _sweep(self, connection: Row, kind: Kind, place: Place) -> None:
        hold, now = await self._hold(connection["id"]), self._tools.clock.now()
        row = await self._tools.store.run(take, Take(place, self._tools.holder, now, now + hold))
        if row is None:
            return
        try:
            await _Pass(self._tools, self._intake, self.budget, self._stops, connection, kind, place, row, hold).run()
        except (StoreBusy, StoreClosed):
            raise
        except _Ends as end:
            await self._stop(place, end.reason, end.not_before)
        except NeedsReauthorization as error:
            await self._tools.store.run(pause, Pause(connection["id"], str(error), now))
            await self._fail(place, row, error)
        except HubError as error:
            await self._fail(place, row, error)
        except Exception as error:
            logger.exception("sweeping %s of %s failed", kind.id, connection["id"])
            await self._fail(place, row, error)

    async def _hold(self, connection: str) -> timedelta:
        """Give for how long a pass is taken: a page's time and a while. What is wrong here the pass meets again."""
        try:
            timeout_s = (await self._tools.targets(connection)).timeout_s
        except Exception:  # noqa: BLE001
            timeout_s = DEFAULT_TIMEOUT_S
        return timedelta(seconds=(PAGES_S + 1) * timeout_s)

    async def _fail(self, place: Place, row: Row, error: Exception) -> None:
        now = self._tools.clock.now()
        failures = row["failures"] + 1
        when = next_try(now, failures, now, getattr(error, "after", None), self._tools.randomness)
        await self._stop(place, f"{type(error).__name__}: {error}"[:500], when, failed=True)

    async def _stop(self, place: Place, reason: str | None, not_before: datetime | None, *, failed: bool = False) -> None:
        stopped = Stopped(place=place, holder=self._tools.holder, reason=reason, not_before=not_before, failed=failed)
        await self._tools.store.run(stop, stopped)


@dataclass
class _Pass:
    """One go at a pass: page by page, each handed on before its cursor is kept."""

    tools: Tools
    intake: TakesUp
    budget: Budget
    stops: Callable[[str], bool]
    connection: Row
    kind: Kind
    place: Place
    row: Row
    hold: timedelta

    def __post_init__(self) -> None:
        self._value: str | None = self.row["value"]

    async def run(self) -> None:
        """Sweep until the last page. Raises _Ends when it has to stop before, and what calls raise."""
        connector = self.tools.registry.get(self.connection["connector"])
        target = await self.tools.targets(self.connection["id"])
        page_s = PAGES_S * target.timeout_s
        # A first look begins where the connection did: whatever kept it from being made until now, or broke it off.
        first = self._value is None and self.place.way == CHANGES
        call = HubCall(self.tools.client, target, errand_s=page_s, since=self.connection["created_at"] if first else None)
        self._check(connector)
        pages = connector.sweep(call, self.kind.id, self._value, full=self.place.way != CHANGES)
        before: Page | None = None
        async for page in cut_each(connector.about.id, "sweep", pages, page_s):
            if page == before and not page.last:
                raise HubError(f"{connector.about.name}'s list of {self.kind.id} does not get on: it gave the same page twice")
            await self._page(connector, page)
            if page.last:
                return
            before = page
            self._check(connector)
            call.deadline = self.tools.clock.monotonic() + page_s
        raise HubError(f"{connector.about.name} ended the list of {self.kind.id} without its last page")

    def _check(self, connector: Connector) -> int:
        """Give how many records may be looked at next. Raises _Ends when it is to stop, or the day's calls are used up."""
        if self.stops(self.connection["id"]):
            raise _Ends(None)
        left = self.budget.left(self.connection, connector.about)
        if left is None:
            return CHUNK
        left -= self.intake.waiting(self.connection["id"])  # each of them is a call at least
        if left <= 0:
            now = self.tools.clock.now()
            spent = self.budget.spent(self.connection["id"])
            raise _Ends(f"{spent} calls were made today; looking for more goes on tomorrow", next_day(now))
        return min(left, CHUNK)

    async def _page(self, connector: Connector, page: Page) -> None:
        if any(one.kind != self.kind.id for one in page.notices):
            raise HubError(f"{connector.about.name} listed records of another kind than {self.kind.id}")
        since = None if self.place.way == IMPORT else self.connection["created_at"]
        wanted = await self.tools.store.read(to_look_at, self.connection["id"], self.kind, page.notices, since)
        handed = 0
        while handed < len(wanted):
            await self.intake.room(self.connection["id"])
            some = wanted[handed : handed + self._check(connector)]
            await self._hand_on(some)
            handed += len(some)
        listed = tuple(one.record_id for one in page.notices if one.change == "changed")
        if page.last and self.place.way == FULL:
            kept = await look_for_missing(self.tools, self.connection, self.kind, self.row["began_at"], listed)
            for arrival in kept:
                self.intake.offer(arrival)
        now = self.tools.clock.now()
        whole = page.last and self.place.way != CHANGES
        self._value = None if whole else page.cursor if page.cursor is not None else self._value
        mine = await self.tools.store.run(
            came_to,
            Came(
                place=self.place,
                holder=self.tools.holder,
                value=self._value,
                now=now,
                until=now + self.hold,
                listed=listed,
                found=len(wanted),
                last=page.last,
            ),
        )
        if not mine:
            raise _Ends(None)  # another worker went on with it

    async def _hand_on(self, notices: Sequence[Notice]) -> None:
        way = "import" if self.place.way == IMPORT else "sweep"
        arrival = swept(self.tools, self.connection, notices, way=way)
        await self.tools.store.run(keep, arrival)
        self.intake.offer(arrival)
