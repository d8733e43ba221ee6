"""Steps 7 and 8 put together: what is prepared is performed, what is uncertain is looked up, what waits goes on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.lookup import Lookup
from lifecyclehub.dispatch.perform import Flow, Performer
from lifecyclehub.dispatch.prepared import Prepared, Receipt
from lifecyclehub.dispatch.receipt import Aftermath, WriteReceipts, open_held, open_settled
from lifecyclehub.dispatch.stopwatch import Stopwatch
from lifecyclehub.dispatch.tools import Pause, Tools, pause
from lifecyclehub.dispatch.upkeep import (
    Advance,
    DueEffect,
    Parking,
    due_effects,
    expire,
    forgotten_effects,
    have_their_turn,
    hold,
    park,
    undecided,
    waiting_effects,
)
from lifecyclehub.errors import LostRace, PluginHangs
from lifecyclehub.messages import Done
from lifecyclehub.ports import Clock, Ids
from lifecyclehub.rules import Rules
from lifecyclehub.store.writer import Operation, StoreBusy, StoreClosed

logger = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

ROOM = 5_000  # effects under way or waiting in memory; what is more is only remembered by its id
IN_FLIGHT = 512  # effects together
SHARE = 128  # of one connection: enough to keep a tool busy
_CHUNK = 200
_CALM = 16  # things under way up to which deciding anew keeps nobody waiting
_ROUND_S = 60.0  # between two looks for what nobody has in hand any more
_BUSY_S = 1.0  # between two tries to write a receipt


Pair = tuple[Collection[str], Collection[str]]  # engagements and clients
Deciding = Callable[[Rules, Ids, Clock], Operation[Pair, list[Prepared]]]


class Dispatcher:
    """Performs effects and keeps them moving.

    `reopened` is told of notices that waited for an effect. `deciding` makes the operation that decides anew for
    engagements and clients whose links changed: it belongs to step 6.
    """

    def __init__(self, tools: Tools, rules: Rules, reopened: Callable[[list[str]], Awaitable[None]], deciding: Deciding) -> None:
        self._tools, self._reopened, self._deciding = tools, reopened, deciding
        self._stopwatch = Stopwatch(tools.clock)
        self.flow = Flow(IN_FLIGHT, SHARE)
        self._stranded: set[str] = set()  # ready, but not sent: no room, or the database was busy
        self._queued: set[str] = set()  # ready, but another one goes first on their target records
        self._under_way: dict[str, object] = {}  # being sent or looked up, each by one worker at a time
        self._left_held = False  # notices that waited for an effect could not be opened
        self._left_undecided = False  # what receipts linked could not be decided on
        self._undecidable: set[str] = set()
        self._next_round = 0.0
        self.use(rules)

    def use(self, rules: Rules) -> None:
        """Work with these rules from now on."""
        tools = self._tools
        self.rules = rules
        self._advance = Advance(rules, tools.ids, tools.clock)
        self._receipts = WriteReceipts(rules, tools.ids, tools.clock, tools.randomness)
        self._decide = self._deciding(rules, tools.ids, tools.clock)
        claims = TakeClaims(tools.ids, tools.clock, self._stopwatch, tools.restored)
        self._performer = Performer(tools, claims, self.receive, self._once_more, self._park)
        self._lookup = Lookup(tools, self._performer, self._stopwatch, self._learned, self._park)

    def submit(self, prepared: Iterable[Prepared]) -> None:
        """Perform what is prepared, as soon as there is room. While the hub stops, it stays ready in the store."""
        if self.flow.stopping:
            return
        for one in prepared:
            if one.effect in self._under_way or len(self._under_way) >= ROOM:
                self._stranded.add(one.effect)
            else:
                self._queued.discard(one.effect)
                self._under_way[one.effect] = one
                self.flow.start(self._perform(one), partial(self._let_go, one), one.connection)

    async def _perform(self, prepared: Prepared) -> None:
        try:
            if await self._try(prepared):
                self._queued.add(prepared.effect)
        except (StoreBusy, StoreClosed, LostRace):
            self._stranded.add(prepared.effect)
        finally:
            self._let_go(prepared)

    def _let_go(self, one: Prepared | DueEffect) -> None:
        effect = one.id if isinstance(one, DueEffect) else one.effect
        if self._under_way.get(effect) is one:
            del self._under_way[effect]

    async def _try(self, prepared: Prepared) -> bool:
        try:
            return await self._performer.perform(prepared)
        except (StoreBusy, StoreClosed, LostRace):
            raise
        except PluginHangs as error:
            await self._tools.store.run(hold, Parking(prepared.effect, "connection", str(error), self._tools.clock.now()))
        except Exception as error:
            logger.exception("the effect %s met an error", prepared.effect)
            await self._park(prepared.effect, "error", f"{type(error).__name__}: {error}")
        return False

    async def _once_more(self, effects: Iterable[str]) -> None:
        """Prepare again what was not sent, because its values had changed."""
        again = list(effects)
        for one in again:
            self._under_way.pop(one, None)
        await self.advance(again)

    async def receive(self, receipt: Receipt) -> None:
        """Write a receipt, then let go on what waited for it."""
        renewed = receipt.outcome is None and not await self._pause_for(receipt)
        after = await self._surely(self._receipts, receipt)
        if isinstance(receipt.outcome, Done) and not after.still:
            self._stopwatch.stop(receipt.effect)
        try:
            if not after.still:
                await self._reopen(receipt.effect)
            if after.engagement is not None or after.client is not None:
                await self._linked(after)
            await self.advance([receipt.effect, *after.woken] if renewed else after.woken)
        except (StoreBusy, StoreClosed):  # the answer is kept; what it sets free goes on with the tick
            self._left_held = self._left_undecided = True
            self._stranded.update((receipt.effect, *after.woken))

    async def _linked(self, after: Aftermath) -> None:
        """Decide anew for what a receipt linked: at once while there is little to do, else many together with the tick."""
        if after.engagement is not None and self.flow.busy > _CALM:
            self._left_undecided = True  # it is marked in the store
            return
        await self._decide_on([(_some(after.engagement), _some(after.client))])

    async def _decide_on(self, pairs: Sequence[Pair]) -> None:
        """Decide for engagements and clients together; one that cannot be decided on keeps none of the others."""
        try:
            for ready in await self._tools.store.run_all(self._decide, pairs):
                self.submit(ready)
        except (StoreBusy, StoreClosed, DBAPIError):
            raise
        except Exception:
            if len(pairs) > 1:
                for one in pairs:
                    await self._decide_on((one,))
                return
            logger.exception("cannot decide on %s after a receipt; the next news of it, or a start, tries again", pairs[0][0])
            self._undecidable.update(pairs[0][0])

    async def decide_what_is_left(self) -> None:
        """Decide on what receipts linked and nobody decided on: under load, after a crash, or after an admin's word."""
        self._left_undecided = False
        while not self.flow.stopping and (found := await self._tools.store.read(undecided, self._undecidable)):
            await self._decide_on([((engagement,), _some(client)) for engagement, client in found])
            if self.flow.busy > _CALM:  # what is to be sent goes first
                self._left_undecided = True
                return

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

    async def _pause_for(self, receipt: Receipt) -> bool:
        """Pause the connection that refused us. False where its credentials were renewed while this was on its way."""
        row = await self._tools.store.read(self._lookup.row, receipt.effect)
        if row is None or not row["connection"]:
            return True
        said = receipt.detail or "the vendor refuses our credentials"
        return await self._surely(pause, Pause(row["connection"], said, receipt.began_at))

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
        except (StoreBusy, StoreClosed, DBAPIError, LostRace):
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
        self._undecidable.clear()
        await self.decide_what_is_left()
        after = ""
        while waiting := await self._tools.store.read(waiting_effects, after):
            await self.advance(waiting)
            after = waiting[-1]

    async def tick(self) -> None:
        """Send again, look up, or ask about what is due; put claims without an answer in doubt."""
        store, now = self._tools.store, self._tools.clock.now()
        due = [one for one in await store.read(due_effects, now, self._tools.holder) if one.id not in self._under_way]
        again = [one.id for one in due if one.state == "ready"]
        for one in due:
            if one.state != "ready":
                self._under_way[one.id] = one
                self.flow.start(self._look(one), partial(self._let_go, one), one.connection)
        if self._tools.clock.monotonic() >= self._next_round:
            self._next_round = self._tools.clock.monotonic() + _ROUND_S
            self._stranded.update(set(await store.read(forgotten_effects)) - self._queued)
        if self._queued:
            free = await store.read(have_their_turn, sorted(self._queued))
            self._queued.difference_update(free)
            self._stranded.update(free)
        stranded = sorted(self._stranded - self._under_way.keys())[: max(ROOM - len(self._under_way), 0)]
        self._stranded.difference_update(stranded)
        try:
            await self.advance(dict.fromkeys((*again, *stranded)))
            if self._left_held:
                await self._reopened(await store.run(open_settled, None))
                self._left_held = False
            if self._left_undecided:
                await self.decide_what_is_left()
        except (StoreBusy, LostRace):
            self._stranded.update(stranded)
            self._left_undecided = True
            raise
        await store.run(expire, (now - self._lookup.grace, None))

    async def _look(self, due: DueEffect) -> None:
        try:
            await self._lookup.run(due)
        finally:
            self._let_go(due)

    async def _learned(self, receipt: Receipt) -> None:
        """Write what a look-up came to; from then on the effect may be sent."""
        self._under_way.pop(receipt.effect, None)
        await self.receive(receipt)


def _some(one: str | None) -> tuple[str, ...]:
    return () if one is None else (one,)
