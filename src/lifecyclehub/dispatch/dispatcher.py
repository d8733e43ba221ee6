"""Steps 7 and 8 put together: what is prepared is performed, what is uncertain is looked up, what waits goes on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.lookup import Lookup
from lifecyclehub.dispatch.perform import Flow, Performer
from lifecyclehub.dispatch.prepared import Prepared, Receipt
from lifecyclehub.dispatch.receipt import WriteReceipts, open_held, open_settled
from lifecyclehub.dispatch.tools import Pause, Tools, pause
from lifecyclehub.dispatch.upkeep import Advance, DueEffect, Parking, due_effects, expire, hold, park, waiting_effects
from lifecyclehub.errors import PluginHangs
from lifecyclehub.rules import Rules
from lifecyclehub.store.writer import Operation, StoreBusy, StoreClosed

logger = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

ROOM = 5_000  # effects under way or waiting in memory; what is more is only remembered by its id
_CHUNK = 200
_BUSY_S = 1.0  # between two tries to write a receipt


class Dispatcher:
    """Performs effects and keeps them moving. `reopened` is told of notices that waited for an effect."""

    def __init__(self, tools: Tools, rules: Rules, reopened: Callable[[list[str]], Awaitable[None]]) -> None:
        self._tools, self._reopened = tools, reopened
        self.flow = Flow()
        self._stranded: set[str] = set()  # ready, but not sent: another one goes first, no room, or the database was busy
        self._under_way: dict[str, object] = {}  # being sent or looked up, each by one worker at a time
        self._left_held = False  # notices that waited for an effect could not be opened
        self.use(rules)

    def use(self, rules: Rules) -> None:
        """Work with these rules from now on."""
        tools = self._tools
        self.rules = rules
        self._advance = Advance(rules, tools.ids, tools.clock)
        self._receipts = WriteReceipts(rules, tools.ids, tools.clock, tools.randomness)
        self._performer = Performer(tools, TakeClaims(tools.ids, tools.clock), self.receive, self._once_more, self._park)
        self._lookup = Lookup(tools, self._performer, self._learned, self._park)

    def submit(self, prepared: Iterable[Prepared]) -> None:
        """Perform what is prepared, as soon as there is room. While the hub stops, it stays ready in the store."""
        if self.flow.stopping:
            return
        for one in prepared:
            if one.effect in self._under_way or len(self._under_way) >= ROOM:
                self._stranded.add(one.effect)
            else:
                self._under_way[one.effect] = one
                self.flow.start(self._perform(one))

    async def _perform(self, prepared: Prepared) -> None:
        try:
            if await self._performer.perform(prepared):
                self._stranded.add(prepared.effect)
        except (StoreBusy, StoreClosed):
            self._stranded.add(prepared.effect)
        except PluginHangs as error:
            await self._tools.store.run(hold, Parking(prepared.effect, "connection", str(error), self._tools.clock.now()))
        except Exception as error:
            logger.exception("the effect %s met an error", prepared.effect)
            await self._park(prepared.effect, "error", f"{type(error).__name__}: {error}")
        finally:
            if self._under_way.get(prepared.effect) is prepared:
                del self._under_way[prepared.effect]

    async def _once_more(self, effects: Iterable[str]) -> None:
        """Prepare again what was not sent, because its values had changed."""
        again = list(effects)
        for one in again:
            self._under_way.pop(one, None)
        await self.advance(again)

    async def receive(self, receipt: Receipt) -> None:
        """Write a receipt, then let go on what waited for it."""
        if receipt.outcome is None:
            await self._pause_for(receipt)
        woken = await self._surely(self._receipts, receipt)
        try:
            await self._reopen(receipt.effect)
            await self.advance(woken)
        except (StoreBusy, StoreClosed):  # the answer is kept; what it sets free goes on with the tick
            self._left_held = True
            self._stranded.update(woken)

    async def _reopen(self, effect: str) -> None:
        notices = await self._tools.store.run(open_held, effect)
        if notices:
            await self._reopened(notices)

    async def _surely(self, operation: Operation[T, R], item: T) -> R:
        """Write, again and again while the database is busy: what a vendor answered is told only once."""
        while True:
            try:
                return await self._tools.store.run(operation, item)
            except StoreBusy:
                if self.flow.stopping:
                    raise
                await self._tools.clock.sleep(_BUSY_S)

    async def _pause_for(self, receipt: Receipt) -> None:
        row = await self._tools.store.read(self._lookup.row, receipt.effect)
        if row is not None and row["connection"]:
            await self._surely(pause, Pause(row["connection"], receipt.detail or "the vendor refuses our credentials"))

    async def advance(self, effects: Iterable[str]) -> None:
        """Check waiting effects again, and perform those that may go."""
        waiting = list(effects)
        for start in range(0, len(waiting), _CHUNK):
            chunk = waiting[start : start + _CHUNK]
            for prepared in await self._advanced(chunk):
                self.submit(prepared)

    async def _advanced(self, effects: Sequence[str]) -> Sequence[Sequence[Prepared]]:
        """Check effects together; one that cannot even be checked is parked, and keeps none of the others."""
        try:
            return await self._tools.store.run_all(self._advance, effects)
        except (StoreBusy, StoreClosed, DBAPIError):
            raise
        except Exception as error:
            if len(effects) > 1:
                return [prepared for one in effects for prepared in await self._advanced((one,))]
            logger.exception("the effect %s cannot be checked", effects[0])
            await self._park(effects[0], "error", f"{type(error).__name__}: {error}")
            return ()

    async def _park(self, effect: str, reason: str, detail: str) -> None:
        await self._tools.store.run(park, Parking(effect, reason, detail, self._tools.clock.now()))
        await self._reopen(effect)

    # --- what time brings ---------------------------------------------------------------------------------------------

    async def recover(self) -> int:
        """At a start: claims that nobody holds any more are in doubt; then everything that waits is looked at."""
        count = await self._tools.store.run(expire, (self._tools.clock.now(), self._tools.holder))
        await self._tools.store.run(open_settled, None)
        await self.advance_all()
        return count

    async def advance_all(self) -> None:
        """Look at every waiting effect again: after a start, or when a switch, mapping or connection changed."""
        after = ""
        while waiting := await self._tools.store.read(waiting_effects, after):
            await self.advance(waiting)
            after = waiting[-1]

    async def tick(self) -> None:
        """Send again, look up, or ask about what is due; put claims without an answer in doubt."""
        store, now = self._tools.store, self._tools.clock.now()
        due = [one for one in await store.read(due_effects, now) if one.id not in self._under_way]
        again = [one.id for one in due if one.state == "ready"]
        for one in due:
            if one.state != "ready":
                self._under_way[one.id] = one
                self.flow.start(self._look(one))
        stranded = sorted(self._stranded - self._under_way.keys())[: max(ROOM - len(self._under_way), 0)]
        self._stranded.difference_update(stranded)
        try:
            await self.advance(dict.fromkeys((*again, *stranded)))
            if self._left_held:
                await self._reopened(await store.run(open_settled, None))
                self._left_held = False
        except StoreBusy:
            self._stranded.update(stranded)
            raise
        await store.run(expire, (now - self._lookup.grace, None))

    async def _look(self, due: DueEffect) -> None:
        try:
            await self._lookup.run(due)
        finally:
            if self._under_way.get(due.id) is due:
                del self._under_way[due.id]

    async def _learned(self, receipt: Receipt) -> None:
        """Write what a look-up came to; from then on the effect may be sent."""
        self._under_way.pop(receipt.effect, None)
        await self.receive(receipt)
