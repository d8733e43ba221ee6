"""Hooks do not last: vendors switch them off, forget them, or let them end. They are asked after, and made again."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import Connection, select, update

from lifecyclehub.admin.endpoint_rows import ENDING
from lifecyclehub.admin.endpoints import ByHandSteps, end_old, subscribe
from lifecyclehub.connector import Door, Health, Subscription
from lifecyclehub.dispatch.tools import Pause, pause
from lifecyclehub.errors import HubError, NeedsReauthorization
from lifecyclehub.registry.runner import cut
from lifecyclehub.store import tables
from lifecyclehub.store.leases import Hold, LetGo, hold, let_go
from lifecyclehub.store.sql import Query
from lifecyclehub.store.things import Row
from lifecyclehub.store.writer import Operation, as_operation
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.retry import next_try

if TYPE_CHECKING:
    from lifecyclehub.hub import Hub

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

ACTIVE: Final = "active"
FAILING: Final = "failing"
BY_HAND: Final = "by hand"

PROBE_EVERY: Final = timedelta(hours=1)
PROBE_SILENT: Final = timedelta(minutes=10)
"""How often a hook is asked after, and how often one that is silent for longer than it should be."""

BY_HAND_EVERY: Final = timedelta(days=1)
SHORTEST_LEAD: Final = timedelta(days=1)
LONGEST_LEAD: Final = timedelta(days=7)
"""How long before its end a hook is made again: a fifth of its lifetime, within these."""

_TURN_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was learnt about a subscription."""

    subscription: str
    now: datetime
    state: str
    reason: str | None
    expires_at: datetime | None
    failed: bool = False
    not_before: datetime | None = None


def _note(conn: Connection, item: _Found) -> None:
    table = tables.subscription
    failures = table.c.failures + 1 if item.failed else 0
    values = {"state": item.state, "reason": item.reason, "last_probe": item.now, "not_before": item.not_before}
    mine = (table.c.id == item.subscription) & (table.c.state != ENDING)
    conn.execute(update(table).where(mine).values(failures=failures, expires_at=item.expires_at, **values))


_noting = as_operation(_note)


def _standing(conn: Connection) -> list[Row]:
    """Give all subscriptions, each with its endpoint's door and when that was heard last."""
    return _STANDING.all(conn)


_own, _endpoint = tables.subscription, tables.endpoint
_STANDING: Final = Query(
    select(
        _own,
        _endpoint.c.door,
        _endpoint.c.connector,
        _endpoint.c.last_heard.label("heard"),
        _endpoint.c.resource.label("wanted"),
    )
    .join(_endpoint, _endpoint.c.id == _own.c.endpoint)
    .where(_endpoint.c.state != "closed")
    .order_by(_own.c.id)
)


class Prober:
    """Asks after hooks whose time it is, the connections side by side, and makes them again where they do not stand."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def tick(self) -> None:
        """Ask after what is due."""
        now = self._hub.clock.now()
        by_connection: dict[str, list[Row]] = {}
        for row in await self._hub.store.read(_standing):
            connection = self._hub.directory.connections.get(row["connection"])
            connector = self._hub.registry.connectors.get(row["connector"])
            door = connector.about.door(row["door"]) if connector is not None else None
            if connection is None or door is None or connection["state"] != "active" or not connection["listens"]:
                continue
            if is_due(row, door, now):
                by_connection.setdefault(row["connection"], []).append(row | {"way": door})
        await asyncio.gather(*(self._each(rows) for rows in by_connection.values()))

    async def _each(self, rows: list[Row]) -> None:
        for row in rows:
            name, holder = f"hook {row['endpoint']}", self._hub.tools.holder
            began = self._hub.clock.now()
            if not await self._turns(hold, Hold(name, holder, _TURN_S, began)):
                continue  # another hub is at it
            try:
                if await self._is_as_read(row):  # else another hub had its turn between our look and ours
                    await self._one(row)
            except NeedsReauthorization as error:
                await self._hub.store.run(pause, Pause(row["connection"], str(error), began))
                return
            except HubError as error:
                await self._failed(row, f"it could not be asked after: {error}")
            finally:
                await self._turns(let_go, LetGo(name, holder, self._hub.clock.now()))

    async def _is_as_read(self, row: Row) -> bool:
        now = {one["id"]: one for one in await self._hub.store.read(_standing)}.get(row["id"])
        return now is not None and all(now[name] == row[name] for name in ("state", "last_probe", "not_before", "failures"))

    async def _turns(self, operation: Operation[T, R], item: T) -> R:
        return (await self._hub.store.run_all(operation, [item]))[0]

    async def _one(self, row: Row) -> None:
        connection = self._hub.directory.connections[row["connection"]]
        if row["state"] == ENDING:
            await end_old(self._hub, connection)
            return
        now, door = self._hub.clock.now(), row["way"]
        if ends_soon(row, door, now):
            await self._renew(row, f"it would have ended on {row['expires_at']:%Y-%m-%d}")
            return
        health = await self._ask(connection, row)
        if not health.ok:
            await self._renew(row, health.reason or "it did not stand any more")
            return
        silent = silent_for(row, door, now)
        if silent is not None and door.heartbeat is not None and silent > 2 * door.heartbeat:
            await self._renew(row, f"nothing came through it for {_hours(silent)}")
            return
        reason = health.reason or None
        if silent is not None:
            reason = f"Nothing came through it for {_hours(silent)}, though the tool says that it stands. {reason or ''}".strip()
        state = ACTIVE if silent is None else FAILING
        await self._hub.store.run(
            _noting,
            _Found(
                subscription=row["id"],
                now=now,
                state=state,
                reason=reason if reason or row["state"] != ACTIVE else row["reason"],
                expires_at=row["expires_at"] if door.lifetime is not None else health.expires_at,
            ),
        )

    async def _ask(self, connection: Row, row: Row) -> Health:
        target = await self._hub.target(connection["id"])
        plugin = self._hub.registry.get(connection["connector"])
        known = Subscription(id=row["vendor_id"], resource=row["resource"], expires_at=row["expires_at"])
        return await cut(plugin.about.id, "probe", plugin.probe(HubCall(self._hub.client, target), known), 2 * target.timeout_s)

    async def _renew(self, row: Row, reason: str) -> None:
        """Make a hook again; where only a person can, say so."""
        connection, now = self._hub.directory.connections[row["connection"]], self._hub.clock.now()
        said = f"Made again on {now:%Y-%m-%d %H:%M} UTC: {reason}."
        logger.warning("the hook %s of %s is made again: %s", row["vendor_id"], connection["name"], reason)
        try:
            made = await subscribe(self._hub, connection, row["door"], resource=row["wanted"], reason=said)
        except NeedsReauthorization:
            raise
        except HubError as error:
            await self._failed(row, f"{reason}; it could not be made again: {error}")
            return
        if isinstance(made, ByHandSteps):
            mend = f"lifecyclehub connections subscribe {connection['name']!r} shows the steps"
            found = _Found(
                subscription=row["id"],
                now=now,
                state=BY_HAND,
                reason=f"{reason}. Only a person can make it again: {mend}.",
                expires_at=row["expires_at"],
                not_before=now + BY_HAND_EVERY,
            )
            await self._hub.store.run(_noting, found)

    async def _failed(self, row: Row, reason: str) -> None:
        now = self._hub.clock.now()
        when = next_try(now, row["failures"] + 1, now, None, self._hub.randomness)
        found = _Found(
            subscription=row["id"],
            now=now,
            state=FAILING,
            reason=reason[:500],
            expires_at=row["expires_at"],
            failed=True,
            not_before=when,
        )
        await self._hub.store.run(_noting, found)


def is_due(row: Row, door: Door, now: datetime) -> bool:
    """Tell whether a subscription is to be asked after now."""
    if row["not_before"] is not None and row["not_before"] > now:
        return False
    if row["state"] in (ENDING, BY_HAND) or row["failures"] or ends_soon(row, door, now):
        return True
    every = PROBE_SILENT if silent_for(row, door, now) is not None else PROBE_EVERY
    last = max((at for at in (row["last_probe"], row["made_at"]) if at is not None), default=None)
    return last is None or now - last >= every


def ends_soon(row: Row, door: Door, now: datetime) -> bool:
    """Tell whether a hook with a lifetime is near its end."""
    if door.lifetime is None or row["expires_at"] is None:
        return False
    lead = min(max(door.lifetime / 5, SHORTEST_LEAD), LONGEST_LEAD)
    return bool(row["expires_at"] - now <= lead)


def silent_for(row: Row, door: Door, now: datetime) -> timedelta | None:
    """Give for how long nothing came, where that is longer than a healthy hook is silent."""
    heard: datetime | None = max((at for at in (row["heard"], row["made_at"]) if at is not None), default=None)
    if door.heartbeat is None or heard is None or now - heard <= door.heartbeat:
        return None
    return now - heard


def _hours(span: timedelta) -> str:
    return f"{span / timedelta(hours=1):.0f} hours"
