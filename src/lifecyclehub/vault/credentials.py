"""Credentials in the database, sealed: one row per grant, replaced in one commit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, select

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.jsonio import dumps, loads
from lifecyclehub.ports import Clock
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import put_all
from lifecyclehub.store.writer import Store, as_operation
from lifecyclehub.vault.vault import Vault
from lifecyclehub.vendor.grants import Tokens

_FIELD = "tokens"


def _row_id(grant_id: str) -> str:
    return f"sec_{grant_id}"


def sealed_tokens(vault: Vault, grant_id: str, tokens: Tokens, now: datetime) -> dict[str, Any]:
    """Give the row that keeps a grant's credentials."""
    plain = {
        "secrets": {name: value.get_secret_value() for name, value in tokens.secrets.items()},
        "access": tokens.access.get_secret_value() if tokens.access else None,
        "expires_at": tokens.expires_at,
        "refreshing_since": tokens.refreshing_since,
    }
    row = _row_id(grant_id)
    return {
        "id": row,
        "owner_kind": "grant",
        "owner": grant_id,
        "field": _FIELD,
        "sealed": vault.seal("secret", row, _FIELD, dumps(plain)),
        "state": "active",
        "valid_from": now,
        "valid_until": None,
    }


def _put(conn: Connection, row: dict[str, Any]) -> None:
    put_all(conn, tables.secret, [row])


def _get(conn: Connection, grant_id: str) -> str | None:
    sealed: str | None = conn.execute(select(tables.secret.c.sealed).where(tables.secret.c.id == _row_id(grant_id))).scalar()
    return sealed


put_secret = as_operation(_put)


class StoredGrants:
    """The grant store of the vendor client."""

    def __init__(self, store: Store, vault: Vault, clock: Clock) -> None:
        self._store, self._vault, self._clock = store, vault, clock

    async def load(self, grant_id: str) -> Tokens:
        """Read a grant's credentials. Raises ConfigurationError when there are none."""
        sealed = await self._store.read(_get, grant_id)
        if sealed is None:
            raise ConfigurationError("it has no credentials.", where=f"grant {grant_id}", mend="Add the connection again.")
        plain = loads(self._vault.unseal("secret", _row_id(grant_id), _FIELD, sealed).get_secret_value())
        return Tokens(
            secrets={name: SecretStr(value) for name, value in plain["secrets"].items()},
            access=SecretStr(plain["access"]) if plain["access"] else None,
            expires_at=_instant(plain["expires_at"]),
            refreshing_since=_instant(plain["refreshing_since"]),
        )

    async def save(self, grant_id: str, tokens: Tokens) -> None:
        """Replace a grant's credentials; they are on disk when this returns."""
        await self._store.run(put_secret, sealed_tokens(self._vault, grant_id, tokens, self._clock.now()))


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
