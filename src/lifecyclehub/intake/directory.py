"""Connections and endpoints as they are now, kept in memory and read anew when the configuration changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from lifecyclehub.connector import Door
from lifecyclehub.registry.registry import Registry
from lifecyclehub.signatures import Secret
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.things import Row
from lifecyclehub.vault import Vault, VaultError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entrance:
    """One endpoint with its door and the secrets that are valid, each until its time; candidates are not among them."""

    id: str
    connector: str
    door: Door
    connection: str | None
    registering_until: datetime | None
    secrets: tuple[Secret, ...]

    def secrets_at(self, now: datetime) -> tuple[Secret, ...]:
        """Give the secrets that are valid at a moment."""
        return tuple(one for one in self.secrets if one.until is None or now < one.until)

    def registering(self, now: datetime) -> bool:
        """Tell whether a handshake may be answered."""
        return self.registering_until is not None and now < self.registering_until


@dataclass(frozen=True, slots=True)
class Directory:
    """All connections and endpoints. `shut`: why an endpoint takes nothing now, by endpoint."""

    connections: Mapping[str, Row] = field(default_factory=dict)
    entrances: Mapping[str, Entrance] = field(default_factory=dict)
    configured: int = -1
    shut: Mapping[str, str] = field(default_factory=dict)

    def connection_of(self, connector: str, endpoint_connection: str | None, account: str | None) -> Row | None:
        """Find the connection that a notice belongs to: its endpoint's own, checked against the account, or by account."""
        if endpoint_connection is not None:
            own = self.connections.get(endpoint_connection)
            return own if own is not None and account in (None, own["account_id"]) else None
        return next(
            (one for one in self.connections.values() if one["connector"] == connector and one["account_id"] == account), None
        )


_secret = tables.secret
_CONNECTIONS: Final = Query(select(tables.connection).where(tables.CONNECTED))
_SECRETS: Final = Query(select(_secret).where(_secret.c.owner_kind == "endpoint", _secret.c.state == "active"))
_ENDPOINTS: Final = Query(select(tables.endpoint).where(tables.endpoint.c.state != "closed"))
_CONFIGURED: Final = Query(select(tables.installation.c.configured))


def read_directory(conn: Connection, registry: Registry, vault: Vault, now: datetime) -> Directory:
    """Read connections, endpoints and their secrets. Raises VaultError where none can be opened: the key is another one."""
    connections = {row["id"]: row for row in _CONNECTIONS.all(conn)}
    secrets: dict[str, list[Secret]] = {}
    unopened: dict[str, VaultError] = {}
    for row in _SECRETS.all(conn):
        if row["valid_from"] <= now and (row["valid_until"] is None or now < row["valid_until"]):
            try:
                value = vault.unseal("secret", row["id"], row["field"], row["sealed"]).get_secret_value()
            except VaultError as error:
                unopened[row["owner"]] = error
                continue
            secrets.setdefault(row["owner"], []).append(Secret(row["id"], value.encode(), row["valid_until"]))
    if unopened and not secrets:
        raise next(iter(unopened.values()))
    entrances, shut = {}, {}
    for row in _ENDPOINTS.all(conn):
        connector = registry.connectors.get(row["connector"])
        door = connector.about.door(row["door"]) if connector is not None else None
        if door is None:
            shut[row["id"]] = f"the connector {row['connector']} cannot be used now"
        elif row["id"] in unopened and row["id"] not in secrets:
            shut[row["id"]] = "its signing secret cannot be opened"
            logger.error("the endpoint %s takes nothing: %s", row["id"], unopened[row["id"]])
        else:
            entrances[row["id"]] = Entrance(
                row["id"],
                row["connector"],
                door,
                row["connection"],
                row["registering_until"] if row["state"] == "registering" else None,
                tuple(secrets.get(row["id"], ())),
            )
    configured = next((row["configured"] for row in _CONFIGURED.all(conn)), 0)
    return Directory(connections, entrances, configured, shut)
