"""Changing the key under traffic: the new one seals, the old one still opens, until nothing needs it any more.

Each step can be done again after a crash: a row is sealed anew only where it still stands as it was read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography.fernet import Fernet
from sqlalchemy import Engine, select, update

from lifecyclehub.admin.hosts import host_fingerprint
from lifecyclehub.admin.stored import changed
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.ports import SystemClock
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import check_schema, open_engine
from lifecyclehub.store.leases import living_elsewhere
from lifecyclehub.vault import KEY_VARIABLE, Vault, VaultError

READ_WITHIN_S: Final = 30.0
"""After so long every hub has read a changed key file: it does so within a second of being told."""

_CHUNK: Final = 100
_secret = tables.secret


def rotate_keys(settings: Settings, opened: Callable[[str], Engine] = open_engine) -> int:
    """Put a new key first, tell the hubs, and seal every secret with it. Gives how many were. Raises ConfigurationError.

    With keys from the environment no new one is made: the first of them is the new one.
    """
    engine = opened(settings.database)
    try:
        check_schema(engine)
        vault = Vault.open(settings.home, settings.env)
        if not settings.env.get(KEY_VARIABLE):
            if vault.count == 1:  # else a rotation was begun and goes on
                _refuse_beside_others(engine, settings)
                _write_keys(settings, [Fernet.generate_key().decode(), *vault.keys])
            vault.reread()
        elif vault.count == 1:
            raise ConfigurationError(
                "there is only one key.", where=KEY_VARIABLE, mend=f"Give the new one before it: {KEY_VARIABLE}=new,old."
            )
        with engine.begin() as conn:
            changed(conn)
        return seal_anew(engine, vault)
    finally:
        engine.dispose()


def _refuse_beside_others(engine: Engine, settings: Settings) -> None:
    """Make no key that hubs of other homes could not read: they have key files of their own."""
    with engine.connect().execution_options(write=False) as conn, conn.begin():
        others = living_elsewhere(conn, host_fingerprint(settings), SystemClock().now())
    if others:
        hubs = "1 hub of another home runs" if others == 1 else f"{others} hubs of other homes run"
        raise ConfigurationError(
            f"{hubs} on this database, with a key file of its own.",
            where=str(settings.home / "key"),
            mend="Stop what runs elsewhere, run this again, copy the key file into the other homes, and start them.",
        )


def seal_anew(engine: Engine, vault: Vault) -> int:
    """Seal with the first key whatever is not, a few rows a commit. Gives how many were."""
    count = 0
    with engine.connect().execution_options(write=False) as conn, conn.begin():
        found = [(row.id, row.sealed) for row in conn.execute(select(_secret.c.id, _secret.c.sealed).order_by(_secret.c.id))]
    old = [(row, sealed) for row, sealed in found if not vault.is_newest(sealed)]
    for start in range(0, len(old), _CHUNK):
        with engine.connect() as conn, conn.begin():
            for row, sealed in old[start : start + _CHUNK]:
                same = (_secret.c.id == row) & (_secret.c.sealed == sealed)  # else it was replaced meanwhile
                count += conn.execute(update(_secret).where(same).values(sealed=vault.rotate(sealed))).rowcount
    return count


def drop_old_keys(settings: Settings, now: datetime, opened: Callable[[str], Engine] = open_engine) -> int:
    """Drop all keys but the first, after sealing anew what the others sealed meanwhile. Raises ConfigurationError."""
    vault = Vault.open(settings.home, settings.env)
    file = settings.home / "key"
    if settings.env.get(KEY_VARIABLE):
        raise ConfigurationError("the keys come from the environment.", where=KEY_VARIABLE, mend="Leave out all but the first.")
    if vault.count > 1 and now.timestamp() - file.stat().st_mtime < READ_WITHIN_S:
        raise ConfigurationError(
            "hubs may still seal with the old key.", where=str(file), mend=f"Try again in {READ_WITHIN_S:.0f} seconds."
        )
    engine = opened(settings.database)
    try:
        for _ in range(3):
            if not seal_anew(engine, vault):
                break
        else:
            raise VaultError(
                "secrets are still being sealed with an old key.", where=str(file), mend="Start every hub again, then retry."
            )
    finally:
        engine.dispose()
    _write_keys(settings, vault.keys[:1])
    return vault.count - 1


def _write_keys(settings: Settings, keys: list[str]) -> None:
    """Replace the key file in one step, safe on disk before it counts."""
    file, new = settings.home / "key", settings.home / "key.new"
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write("\n".join(keys) + "\n")
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    folder = os.open(settings.home, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
