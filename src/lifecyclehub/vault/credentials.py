"""Credentials in the database, sealed: one row per grant, replaced in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, bindparam, select

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.jsonio import dumps, loads
from lifecyclehub.ports import Clock
from lifecyclehub.store import tables
from lifecyclehub.store.leases import Hold, LetGo, hold, let_go
from lifecyclehub.store.sql import Query
from lifecyclehub.store.upsert import put_all
from lifecyclehub.store.writer import Store, StoreBusy, StoreClosed, as_operation
from lifecyclehub.vault.vault import Vault
from lifecyclehub.vendor.grants import Tokens

_FIELD = "tokens"
_HELD_S = 60.0  # longer than a token request and its keeping may take


def _row_id(grant_id: str) -> str:
    return f"sec_{grant_id}"


def _plain(tokens: Tokens) -> dict[str, Any]:
    return {
        "secrets": {name: value.get_secret_value() for name, value in tokens.secrets.items()},
        "access": tokens.access.get_secret_value() if tokens.access else None,
        "expires_at": tokens.expires_at,
        "refreshing_since": tokens.refreshing_since,
    }


def sealed_tokens(vault: Vault, grant_id: str, tokens: Tokens, now: datetime) -> dict[str, Any]:
    """Give the row that keeps a grant's credentials."""
    row = _row_id(grant_id)
    return {
        "id": row,
        "owner_kind": "grant",
        "owner": grant_id,
        "field": _FIELD,
        "sealed": vault.seal("secret", row, _FIELD, dumps(_plain(tokens))),
        "state": "active",
        "valid_from": now,
        "valid_until": None,
    }


def _put(conn: Connection, row: dict[str, Any]) -> None:
    put_all(conn, tables.secret, [row])


def _get(conn: Connection, grant_id: str, *, lock: bool = False) -> str | None:
    found = (_LOCKED if lock else _SEALED).all(conn, of=_row_id(grant_id))
    return found[0]["sealed"] if found else None


_WANTED = select(tables.secret.c.sealed).where(tables.secret.c.id == bindparam("of"))
_SEALED, _LOCKED = Query(_WANTED), Query(_WANTED.with_for_update())


put_secret = as_operation(_put)


class StoredGrants:
    """The grant store of the vendor client."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, holder: str) -> None:
        """`holder` names this process."""
        self._store, self._vault, self._clock, self._holder = store, vault, clock, holder
        self._replace = self._replacing  # one object, so that the store can group

    def _unsealed(self, grant_id: str, sealed: str) -> dict[str, Any]:
        plain: dict[str, Any] = loads(self._vault.unseal("secret", _row_id(grant_id), _FIELD, sealed).get_secret_value())
        return plain

    async def load(self, grant_id: str) -> Tokens:
        """Read a grant's credentials. Raises ConfigurationError when there are none."""
        sealed = await self._store.read(_get, grant_id)
        if sealed is None:
            raise ConfigurationError("it has no credentials.", where=f"grant {grant_id}", mend="Add the connection again.")
        plain = self._unsealed(grant_id, sealed)
        return Tokens(
            secrets={name: SecretStr(value) for name, value in plain["secrets"].items()},
            access=SecretStr(plain["access"]) if plain["access"] else None,
            expires_at=_instant(plain["expires_at"]),
            refreshing_since=_instant(plain["refreshing_since"]),
        )

    async def save(self, grant_id: str, tokens: Tokens, instead_of: Tokens | None = None) -> bool:
        """Replace a grant's credentials; they are on disk when this returns. False where other secrets stand there by now."""
        return await self._store.run(self._replace, (grant_id, tokens, instead_of))

    def _replacing(self, conn: Connection, items: Sequence[tuple[str, Tokens, Tokens | None]]) -> list[bool]:
        return [self._replaced(conn, *one) for one in items]

    def _replaced(self, conn: Connection, grant_id: str, tokens: Tokens, instead_of: Tokens | None) -> bool:
        if instead_of is not None:
            sealed = _get(conn, grant_id, lock=conn.dialect.name != "sqlite")
            if sealed is None or _plain(instead_of)["secrets"] != self._unsealed(grant_id, sealed)["secrets"]:
                return False
        put_all(conn, tables.secret, [sealed_tokens(self._vault, grant_id, tokens, self._clock.now())])
        return True

    async def hold(self, grant_id: str) -> bool:
        """Take the right to renew a grant, for this process alone. A crash gives it back after a minute."""
        return await self._store.run(hold, Hold(f"grant {grant_id}", self._holder, _HELD_S, self._clock.now()))

    async def let_go(self, grant_id: str) -> None:
        """Give it back; a store that is busy does so by itself after a minute."""
        with suppress(StoreBusy, StoreClosed):
            await self._store.run(let_go, LetGo(f"grant {grant_id}", self._holder, self._clock.now()))


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
