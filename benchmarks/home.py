"""A home for one measurement: set up as `lifecyclehub init` does it, with the case's connections and its handoff on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cases import SIGNING_SECRET, Case, Connected
from pydantic import SecretStr

from lifecyclehub.admin.setup import init_home
from lifecyclehub.registry.registry import Registry
from lifecyclehub.settings import Settings, read_settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import open_engine
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.vault import Vault
from lifecyclehub.vault.credentials import sealed_tokens
from lifecyclehub.vendor.grants import Tokens

HERE = Path(__file__).parent
HANDOFF = "won-deal-starts-delivery"


def make_home(
    folder: Path, case: Case, registry: Registry, sink_port: int, environment: Mapping[str, str] | None = None
) -> Settings:
    """Set up a home whose connections call the sink."""
    settings = read_settings(folder, dict(environment or {}))
    settings.mappings.mkdir(parents=True)
    shutil.copyfile(HERE / "handoffs" / f"{case.name}.toml", settings.mappings / "handoffs.toml")
    init_home(settings)
    vault, now = Vault.open(folder, {}), datetime.now(UTC)
    engine = open_engine(settings.database)
    with engine.begin() as conn:
        for one in case.connections:
            _connect(conn, vault, one, registry, sink_port, now)
        insert_all(conn, tables.handoff, [{"id": HANDOFF, "state": "on", "go_live": now}])
    engine.dispose()
    return settings


def _connect(conn: Any, vault: Vault, one: Connected, registry: Registry, sink_port: int, now: datetime) -> None:
    about = registry.get(one.connector).about
    grant, connection, endpoint = f"gra_{one.connector}", f"con_{one.connector}", f"end_{one.connector}"
    insert_all(conn, tables.grant, [{"id": grant, "connector": one.connector, "auth": one.auth, "created_at": now}])
    tokens = Tokens(secrets={name: SecretStr(value) for name, value in one.secrets.items()})
    insert_all(conn, tables.secret, [sealed_tokens(vault, grant, tokens, now)])
    settings = {"self_hosted": "yes", "rates": "off", **one.settings}
    settings |= {f"base_url.{host}": f"http://127.0.0.1:{sink_port}" for host in one.hosts}
    row: Row = {"id": connection, "name": one.connector, "connector": one.connector, "grant": grant, "account_id": one.account}
    row |= {"account": {"name": one.connector, "currency": "EUR", "timezone": "UTC"}, "roles": list(about.roles)}
    insert_all(conn, tables.connection, [row | {"settings": settings, "listens": one.listens, "polls": False, "created_at": now}])
    if not one.listens:
        return
    door = about.doors[0]
    served = None if door.scope == "app" else connection
    row = {"id": endpoint, "connector": one.connector, "door": door.name, "connection": served}
    insert_all(conn, tables.endpoint, [row | {"state": "listening", "created_at": now}])
    secret = f"sec_{endpoint}"
    sealed = vault.seal("secret", secret, "signing", SIGNING_SECRET)
    row = {"id": secret, "owner_kind": "endpoint", "owner": endpoint, "field": "signing", "sealed": sealed, "state": "active"}
    insert_all(conn, tables.secret, [row | {"valid_from": now - timedelta(days=1), "valid_until": None}])
