"""Who was erased, read from the store: one cheap look tells whether there is anything new."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, select, update

from lifecyclehub.redaction import NOBODY, Erased, Mark
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.vault.vault import Vault

SECRET: Final = "sec_erased"  # noqa: S105 (a row's id)
_FIELD: Final = "erased"
_secret, _tombstone, _installation = tables.secret, tables.tombstone, tables.installation
_VERSION: Final = Query(select(_installation.c.erasures))


def sealed_key(vault: Vault, installation: str, key: bytes, now: datetime) -> dict[str, Any]:
    """Give the row that keeps the key of all marks. It goes with backups; without the vault's key it tells nothing."""
    return {
        "id": SECRET,
        "owner_kind": "installation",
        "owner": installation,
        "field": _FIELD,
        "sealed": vault.seal("secret", SECRET, _FIELD, key.hex()),
        "state": "active",
        "valid_from": now,
        "valid_until": None,
    }


def key_of(conn: Connection, vault: Vault) -> bytes | None:
    """Give the key of all marks, None while nobody was erased. Raises VaultError."""
    sealed = conn.execute(select(_secret.c.sealed).where(_secret.c.id == SECRET)).scalar()
    return bytes.fromhex(vault.unseal("secret", SECRET, _FIELD, sealed).get_secret_value()) if sealed else None


def told_anew(conn: Connection) -> None:
    """Let everybody who looks read the marks again."""
    conn.execute(update(_installation).values(erasures=_installation.c.erasures + 1))


def came_back(conn: Connection, marks: list[str]) -> None:
    """Let values count for somebody again: a new record brought them."""
    if marks:
        conn.execute(delete(_tombstone).where(_tombstone.c.mark.in_(marks)))
        told_anew(conn)


class ErasedPeople:
    """Keeps in memory what tells those who were erased. `known` is as of the last look."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.known: Erased = NOBODY

    def look(self, conn: Connection) -> Erased:
        """Give who was erased by now. Raises VaultError where the key of the marks cannot be read."""
        version = int(_VERSION.all(conn)[0]["erasures"])
        if version != self.known.version:
            self.known = self._read(conn, version)
        return self.known

    def _read(self, conn: Connection, version: int) -> Erased:
        marks = [Mark(row.kind, row.mark, row.words) for row in conn.execute(select(_tombstone))]
        return Erased(version, key_of(conn, self._vault) or b"", marks)
