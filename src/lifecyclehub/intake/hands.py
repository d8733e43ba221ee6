"""What this hub has in hand: its own, what is nobody's where it is quickest, and what hubs left that died."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from lifecyclehub.dispatch.perform import Flow
from lifecyclehub.dispatch.tools import Tools
from lifecyclehub.intake.keep import Arrival
from lifecyclehub.intake.notices import notices_of, open_delivery
from lifecyclehub.intake.taking import Free, Left, left_behind, let_go_of, suspect, take_free, take_left
from lifecyclehub.store.things import Row


class Hands:
    """Says what may be worked on here now, so that no other hub does the same."""

    def __init__(self, tools: Tools, flow: Flow) -> None:
        self._tools, self._flow = tools, flow
        self._alone: set[str] = set()  # deliveries that a hub may have died of: each is worked on by itself

    async def deliveries(self, found: Iterable[Arrival]) -> list[Arrival]:
        """Give those that are in this hub's hands, or come there now."""
        found = [one for one in found if one.id not in self._alone]
        free = await self._free("delivery", [one.id for one in found if one.holder is None])
        return [one for one in found if one.holder is not None or one.id in free]

    async def notices(self, found: Iterable[Row], at_work: set[str]) -> list[Row]:
        """Give those that are in this hub's hands, or come there now, but what it is just working on."""
        found = [row for row in found if row["id"] not in at_work and row["delivery"] not in self._alone]
        free = await self._free("notice", [row["id"] for row in found if row["holder"] is None])
        return [row for row in found if row["holder"] is not None or row["id"] in free]

    async def _free(self, what: str, ids: Sequence[str]) -> frozenset[str]:
        return await self._tools.store.run(take_free, Free(what, tuple(ids), self._tools.holder)) if ids else frozenset()

    async def take_over(
        self, split: Callable[[Arrival], Awaitable[Sequence[Row]]], work: Callable[[Row], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]] | None:
        """Take over what dead hubs had in hand. What several may have died of is given as work for one after the other."""
        found = await self._tools.store.run(take_left, Left(self._tools.holder, self._tools.clock.now()))
        suspects = [one for one in found.deliveries if one not in self._alone]
        if not suspects:
            return None
        self._alone.update(suspects)

        async def one_by_one() -> None:
            try:
                for one in suspects:
                    if self._flow.stopping:
                        return
                    await self._by_itself(one, split, work)
                    self._alone.discard(one)
            finally:
                self._alone.difference_update(suspects)

        return one_by_one

    async def _by_itself(
        self, delivery: str, split: Callable[[Arrival], Awaitable[Sequence[Row]]], work: Callable[[Row], Awaitable[None]]
    ) -> None:
        """Work on a delivery, or on what is open of it, and count before it is begun that the process may die of it."""
        store = self._tools.store
        await store.run(suspect, delivery)
        arrival = await store.read(open_delivery, delivery)
        rows = await store.read(notices_of, delivery, self._tools.clock.now()) if arrival is None else await split(arrival)
        for row in rows:
            await work(row)

    def none_alone(self) -> None:
        """Work on no delivery by itself any more: whoever was to do so did not begin."""
        self._alone.clear()

    async def left_behind(self) -> bool:
        """Tell whether dead hubs have something in hand."""
        return await self._tools.store.read(left_behind, Left(self._tools.holder, self._tools.clock.now()))

    async def let_go(self) -> None:
        """Leave to other hubs what is not begun or finished."""
        await self._tools.store.run(let_go_of, self._tools.holder)
