"""What the steps work with, made once by the hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy import Connection, update

from lifecyclehub.ports import Clock, Ids, Randomness
from lifecyclehub.registry.registry import Registry
from lifecyclehub.registry.runner import PluginRunner
from lifecyclehub.store import tables
from lifecyclehub.store.writer import Store, as_operation
from lifecyclehub.vendor.client import Client
from lifecyclehub.vendor.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Store, connectors, clock and so on. `holder` names this process in claims."""

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


@dataclass(frozen=True, slots=True)
class Pause:
    """A connection that needs new credentials, and the vendor's words."""

    connection: str
    reason: str


def _pause(conn: Connection, item: Pause) -> None:
    """Pause a connection, and let every hub notice, so that none calls that tool in vain."""
    table, installation = tables.connection, tables.installation
    statement = update(table).where(table.c.id == item.connection, table.c.state != "paused")
    if conn.execute(statement.values(state="paused", reason=item.reason[:500])).rowcount:
        conn.execute(update(installation).values(configured=installation.c.configured + 1))


pause = as_operation(_pause)
