"""Deciding everything anew: after a handoff was switched or the rules changed, what is true already counts again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.exc import DBAPIError

from lifecyclehub.dispatch.dispatcher import Dispatcher
from lifecyclehub.dispatch.tools import Tools
from lifecyclehub.errors import LostRace
from lifecyclehub.insight.decided import DECIDED, decided_version, decided_with
from lifecyclehub.intake.decide import Decide
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import put_all
from lifecyclehub.store.writer import StoreBusy, StoreClosed, as_operation

_CHUNK = 50

Progress = Callable[[int], None]


def _keep(conn: Connection, version: str) -> None:
    put_all(conn, tables.cursor, [{**DECIDED, "value": version}])


def _after(conn: Connection, table: Table, after: str) -> list[str]:
    return list(conn.execute(select(table.c.id).where(table.c.id > after).order_by(table.c.id).limit(_CHUNK)).scalars())


def _mark(conn: Connection, engagement: str) -> None:
    conn.execute(update(tables.engagement).where(tables.engagement.c.id == engagement).values(undecided=True))


_keeping, _marking = as_operation(_keep), as_operation(_mark)
logger = logging.getLogger(__name__)


class Anew:
    """Decides anew for every engagement and client, a few at a time, when rules or switches are other than the last time."""

    def __init__(self, tools: Tools, dispatcher: Dispatcher) -> None:
        self._tools, self._dispatcher = tools, dispatcher

    async def if_changed(self, rules: Rules) -> None:
        """Decide anew unless everything was decided with these rules and switches already, also before a restart."""
        version = await self._version(rules)
        if await self._tools.store.read(decided_with) != version:
            await self.all(rules)

    async def all(self, rules: Rules, progress: Progress | None = None) -> int:
        """Decide anew. Gives how many engagements were looked at; stops early, to go on later, while the hub stops."""
        version = await self._version(rules)
        count = await self._each(rules, tables.engagement, progress)
        if rules.handoffs.per("client"):
            await self._each(rules, tables.client, None)
        if not self._dispatcher.flow.stopping:
            await self._tools.store.run(_keeping, version)
        return count

    async def _version(self, rules: Rules) -> str:
        return await self._tools.store.read(decided_version, rules.version)

    async def _each(self, rules: Rules, table: Table, progress: Progress | None) -> int:
        store, count, after = self._tools.store, 0, ""
        decide = Decide(rules, self._tools.ids, self._tools.clock)
        while not self._dispatcher.flow.stopping and (ids := await store.read(_after, table, after)):
            await self._some(decide, table, ids)
            count, after = count + len(ids), ids[-1]
            if progress is not None:
                progress(count)
        return count

    async def _some(self, decide: Decide, table: Table, ids: Sequence[str]) -> None:
        """Decide for a few; one that cannot be decided on keeps none of the others, and is tried again when the hub starts."""
        try:
            self._dispatcher.submit(await self._tools.store.run(decide, (ids, ()) if table is tables.engagement else ((), ids)))
        except (StoreBusy, StoreClosed, DBAPIError, LostRace):
            raise
        except Exception:
            if len(ids) > 1:
                for one in ids:
                    await self._some(decide, table, (one,))
                return
            logger.exception("cannot decide on %s anew; its next news, or a start, tries again", ids[0])
            if table is tables.engagement:
                await self._tools.store.run(_marking, ids[0])
