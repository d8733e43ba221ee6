"""What the steps work with, made once by the hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select, update

from lifecyclehub.ports import Clock, Ids, Randomness, base32
from lifecyclehub.registry.registry import Registry
from lifecyclehub.registry.runner import PluginRunner
from lifecyclehub.store import tables
from lifecyclehub.store.writer import Store, as_operation
from lifecyclehub.vault.erased import ErasedPeople
from lifecyclehub.vendor.client import Client
from lifecyclehub.vendor.target import Target


@dataclass(frozen=True, slots=True)
class Restored:
    """The store was put back at `at` to what it was at `since`: what happened between is forgotten, and happened all the same."""

    since: datetime
    at: datetime
    looked: datetime | None = None  # since then every tool was looked at; whatever was met later is new to us

    @property
    def over(self) -> datetime:
        """When what is forgotten was over, by our clock: at the restore, or once the tools were looked at, whichever is later."""
        return max(self.at, self.looked or self.at)

    def met_later(self, thing: str) -> bool:
        """Tell whether a thing of ours was first met after every tool had been looked at; its id says when."""
        looked = self.looked
        return looked is not None and thing.rpartition("_")[2] > base32(int(looked.timestamp() * 1000) + 1, 9)


def restored_of(installation: Mapping[str, Any]) -> Restored | None:
    """Give between which moments a restore made the store forget, None where there was none."""
    since, at = installation["restored_from"], installation["restored_at"]
    return Restored(since, at, installation["looked_back_at"]) if since is not None and at is not None else None


@dataclass(slots=True, kw_only=True)
class Tools:
    """Store, connectors that can be used now, clock and so on. `holder` names this process in claims."""

    store: Store
    registry: Registry
    runner: PluginRunner
    client: Client
    clock: Clock
    ids: Ids
    randomness: Randomness
    holder: str
    installation: str
    targets: Callable[[str], Awaitable[Target]]
    people: ErasedPeople
    restored: Callable[[], Restored | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Pause:
    """A connection that needs new credentials, and the vendor's words."""

    connection: str
    reason: str
    began: datetime | None = None  # when the call that was refused began


def _pause(conn: Connection, item: Pause) -> bool:
    """Pause a connection, and let every hub notice, so that none calls that tool in vain. Tells whether it is paused.

    A call that began before the credentials were renewed was refused with the old ones: that says nothing now.
    """
    table, installation = tables.connection, tables.installation
    mine = table.c.id == item.connection
    statement = update(table).where(mine, table.c.state == "active")
    if item.began is not None:
        statement = statement.where(or_(table.c.active_since.is_(None), table.c.active_since <= item.began))
    if conn.execute(statement.values(state="paused", reason=item.reason[:500])).rowcount:
        conn.execute(update(installation).values(configured=installation.c.configured + 1))
        return True
    return conn.execute(select(table.c.state).where(mine)).scalar() in ("paused", "removed")


pause = as_operation(_pause)
