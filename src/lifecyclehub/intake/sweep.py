"""Sweeps look for what webhooks missed, and are the only way in for a connection that polls.

A swept page is kept as a delivery before its cursor: a crash in between only means looking twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from lifecyclehub.connector import Kind, Page
from lifecyclehub.dispatch.tools import Pause, Tools, pause
from lifecyclehub.errors import CallFailed, ConfigurationError, HubError, NeedsReauthorization
from lifecyclehub.insight.clocks import swept_every
from lifecyclehub.intake.directory import Directory
from lifecyclehub.intake.keep import Arrival, keep
from lifecyclehub.jsonio import dumps
from lifecyclehub.messages import Notice
from lifecyclehub.registry.runner import cut_each
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import put_all
from lifecyclehub.store.writer import as_operation
from lifecyclehub.vendor.call import HubCall


@dataclass(frozen=True, slots=True)
class Swept:
    """How far a sweep of a kind came."""

    connection: str
    kind: str
    cursor: str | None
    at: datetime
    found: int


def _cursors(conn: Connection) -> dict[tuple[str, str], Row]:
    return {(row["connection"], row["kind"]): dict(row) for row in conn.execute(select(tables.cursor)).mappings()}


def _came_to(conn: Connection, item: Swept) -> None:
    row = {"connection": item.connection, "kind": item.kind, "value": item.cursor, "swept_at": item.at, "found": item.found}
    put_all(conn, tables.cursor, [row])


came_to = as_operation(_came_to)


class Sweeper:
    """Sweeps what is due, one kind of one connection at a time."""

    def __init__(self, tools: Tools, directory: Callable[[], Directory], kept: Callable[[Arrival], None]) -> None:
        self._tools, self._directory, self._kept = tools, directory, kept
        self._under_way: set[tuple[str, str]] = set()

    async def tick(self) -> None:
        """Sweep every kind whose time has come."""
        cursors = await self._tools.store.read(_cursors)
        now = self._tools.clock.now()
        for connection in list(self._directory().connections.values()):
            connector = self._tools.registry.connectors.get(connection["connector"])
            if connector is None or connection["state"] != "active":
                continue
            for kind in connector.about.kinds:
                last = cursors.get((connection["id"], kind.id))
                if self._due(connection, kind, last, now):
                    await self.sweep(connection, kind, (last or {}).get("value"), (last or {}).get("found") or 0)

    @staticmethod
    def _due(connection: Row, kind: Kind, last: Row | None, now: datetime) -> bool:
        every = swept_every(connection, kind)
        return every is not None and (last is None or last["swept_at"] is None or now - last["swept_at"] >= every)

    async def sweep(self, connection: Row, kind: Kind, cursor: str | None, found: int = 0, *, full: bool = False) -> int:
        """Sweep one kind from a cursor (None: from now on) and give how many notices came. Failures wait for the next time."""
        key = (connection["id"], kind.id)
        if key in self._under_way:
            return 0
        self._under_way.add(key)
        count = 0
        try:
            target = await self._tools.targets(connection["id"])
            connector = self._tools.registry.get(connection["connector"])
            call = HubCall(self._tools.client, target, errand_s=600.0)
            pages = connector.sweep(call, kind.id, cursor, full=full)
            async for page in cut_each(connector.about.id, "sweep", pages, 4 * target.timeout_s):
                count += await self._keep(connection, page)
                cursor = page.cursor if page.cursor is not None else cursor
                await self._tools.store.run(came_to, Swept(*key, cursor, self._tools.clock.now(), found + count))
        except NeedsReauthorization as error:
            await self._tools.store.run(pause, Pause(connection["id"], str(error)))
        except (CallFailed, ConfigurationError, HubError):
            await self._tools.store.run(came_to, Swept(*key, cursor, self._tools.clock.now(), found + count))
        finally:
            self._under_way.discard(key)
        return count

    async def _keep(self, connection: Row, page: Page) -> int:
        if not page.notices:
            return 0
        body = dumps([notice_as_json(one) for one in page.notices]).encode()
        arrival = Arrival(
            id=self._tools.ids.new("dlv"),
            endpoint=None,
            connection=connection["id"],
            connector=connection["connector"],
            way="sweep",
            door="sweep",
            vendor_key=None,
            headers={},
            body=body,
            received_at=self._tools.clock.now(),
        )
        await self._tools.store.run(keep, arrival)
        self._kept(arrival)
        return len(page.notices)


def notice_as_json(notice: Notice) -> dict[str, object]:
    """Write a swept notice: hints only, never values."""
    return {
        "kind": notice.kind,
        "record_id": notice.record_id,
        "account": notice.account,
        "at": notice.at.isoformat() if notice.at else None,
        "version": notice.version,
        "change": notice.change,
        "into": notice.into,
    }


def swept_notices(body: bytes) -> list[Notice]:
    """Read the notices of a swept page."""
    return [
        Notice(
            kind=one["kind"],
            record_id=one["record_id"],
            account=one["account"],
            at=datetime.fromisoformat(one["at"]) if one["at"] else None,
            version=one["version"],
            change=one["change"],
            into=one["into"],
        )
        for one in json.loads(body)
    ]
