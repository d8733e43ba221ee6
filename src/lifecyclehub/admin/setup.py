"""Setting up a home: key, database, installation, shipped files, first token. Safe to repeat; what is there stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from lifecyclehub.admin.applied import applied_version, apply_first
from lifecyclehub.admin.hosts import confirm_host
from lifecyclehub.admin.tokens import make_token
from lifecyclehub.configuration import copy_shipped, read_source
from lifecyclehub.ports import Clock, Ids, Randomness, SystemClock, SystemRandomness
from lifecyclehub.registry.registry import Registry
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import SCHEMA_REVISION, keep_private, open_engine, schema_of
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.vault import Vault
from lifecyclehub.vault.vault import KEY_VARIABLE

FIRST_TOKEN = "first"  # noqa: S105 (its name, not itself)


@dataclass(frozen=True, slots=True)
class Initialized:
    """What setting up made. `new`: there was no installation before. `token`: for the API, only when it was just made."""

    home: Path
    installation: str
    new: bool
    files: tuple[Path, ...]
    token: str | None


def init_home(settings: Settings, *, clock: Clock | None = None, randomness: Randomness | None = None) -> Initialized:
    """Make a home ready, or bring one up to date. Raises ConfigurationError that says how to mend what is wrong."""
    clock, randomness = clock or SystemClock(), randomness or SystemRandomness()
    ids = Ids(clock, randomness)
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not settings.env.get(KEY_VARIABLE) and not (settings.home / "key").exists():
        Vault.create(settings.home)
    Vault.open(settings.home, settings.env)
    files = tuple(copy_shipped(settings.mappings))
    engine = open_engine(settings.database)
    keep_private(settings.database)
    try:
        if schema_of(engine) != SCHEMA_REVISION:
            from lifecyclehub.store.setup import upgrade  # Alembic is needed nowhere else

            upgrade(engine)
        with engine.begin() as conn:
            installation, new = _installation(conn, settings, ids, clock)
            if applied_version(conn) is None:  # later ones are applied by a person who has seen what they change
                registry = Registry.load()
                source = read_source(registry, settings.mappings)
                apply_first(conn, source, registry, settings.zone, clock.now())
            has_token = conn.execute(select(tables.api_token.c.id)).first() is not None
            token = None if has_token or not new else make_token(conn, FIRST_TOKEN, ids, randomness, clock.now())
    finally:
        engine.dispose()
    return Initialized(settings.home, installation, new, files, token)


def _installation(conn: Connection, settings: Settings, ids: Ids, clock: Clock) -> tuple[str, bool]:
    known: str | None = conn.execute(select(tables.installation.c.id)).scalar()
    if known is not None:
        return known, False
    row = {"id": ids.new("ins"), "created_at": clock.now()}
    insert_all(conn, tables.installation, [row])
    confirm_host(conn, settings, "lifecyclehub init", clock.now())
    return str(row["id"]), True
