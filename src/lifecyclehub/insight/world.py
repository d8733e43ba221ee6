"""What every decision needs besides engagements: connections and switches, small tables that are read whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from lifecyclehub.insight.teammates import Teammates
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.things import Row

_CONNECTIONS = Query(select(tables.connection).order_by(tables.connection.c.id))
_SWITCHES = Query(select(tables.handoff))


@dataclass(slots=True)
class World:
    """Connections by id, removed ones too, and the switches of handoffs; teammates are read when they are asked for."""

    connections: Mapping[str, Row]
    switches: Mapping[str, Row]
    teammates: Teammates

    def go_live(self, handoff: str) -> datetime | None:
        """Give since when a handoff acts, None while it is off."""
        switch = self.switches.get(handoff)
        return switch["go_live"] if switch is not None and switch["state"] == "on" else None

    def playing(self, role: str) -> Row | None:
        """Give the connection that plays a role: the oldest one with it."""
        return next((one for one in self.connections.values() if role in one["roles"] and one["state"] != "removed"), None)


def read_world(conn: Connection) -> World:
    """Read the connections and the switches of the handoffs."""
    connections = {row["id"]: row for row in _CONNECTIONS.all(conn)}
    switches = {row["id"]: row for row in _SWITCHES.all(conn)}
    return World(connections, switches, Teammates(conn))
