"""Tokens for the API: shown once when they are made; the database keeps only their SHA-256."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, or_, select, update

from lifecyclehub.errors import ConfigurationError, NotThere
from lifecyclehub.ports import Ids, Randomness
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import insert_all

PREFIX = "lch_"
_BYTES = 32
_LONGEST = 64
_NOTED_EVERY = timedelta(hours=1)
_table = tables.api_token
_SHOWN = (_table.c.id, _table.c.name, _table.c.created_at, _table.c.last_used, _table.c.valid_until)


@dataclass(frozen=True, slots=True)
class Token:
    """An API token as it may be shown: everything but itself."""

    id: str
    name: str
    created_at: datetime
    last_used: datetime | None
    valid_until: datetime | None


def hash_of(token: str) -> str:
    """Give what the database keeps of a token. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def make_token(conn: Connection, name: str, ids: Ids, randomness: Randomness, now: datetime) -> str:
    """Make a token with a name that people recognise, and give it: it cannot be shown again. Raises ConfigurationError."""
    if not name.strip() or len(name) > _LONGEST:
        raise ConfigurationError(f"{name!r} is no name.", mend=f"Use up to {_LONGEST} characters that say who uses it.")
    if conn.execute(select(_table.c.id).where(_table.c.name == name)).first() is not None:
        raise ConfigurationError(f"there is a token named {name!r} already.", mend="Give it another name, or revoke that one.")
    token = PREFIX + urlsafe_b64encode(randomness.bytes(_BYTES)).decode().rstrip("=")
    row = {"id": ids.new("tok"), "name": name, "hash": hash_of(token), "created_at": now, "last_used": None}
    insert_all(conn, _table, [row])
    return token


def rotate_token(conn: Connection, name: str, ids: Ids, randomness: Randomness, now: datetime, overlap: timedelta) -> str:
    """Make a new token under the same name; the old one serves a while longer. Raises NotThere."""
    old = conn.execute(select(_table.c.id).where(_table.c.name == name)).scalar()
    if old is None:
        raise NotThere(f"there is no token {name!r}.", mend="`lifecyclehub tokens list` shows them.")
    values = {"name": f"{name} (old, {old[-6:]})", "valid_until": now + overlap}
    conn.execute(update(_table).where(_table.c.id == old).values(**values))
    conn.execute(delete(_table).where(_table.c.valid_until <= now))
    return make_token(conn, name, ids, randomness, now)


def revoke_token(conn: Connection, name: str) -> bool:
    """Take a token's power away. False when there is none with that name."""
    return bool(conn.execute(delete(_table).where(_table.c.name == name)).rowcount)


def list_tokens(conn: Connection) -> list[Token]:
    """Give all tokens, oldest first."""
    return [Token(*row) for row in conn.execute(select(*_SHOWN).order_by(_table.c.id))]


def token_of(conn: Connection, presented: str, now: datetime) -> Token | None:
    """Give the token that was presented, None for one that is unknown or over. It is found by hash: its time tells nothing."""
    valid = _table.c.valid_until.is_(None) | (_table.c.valid_until > now)
    row = conn.execute(select(*_SHOWN).where(_table.c.hash == hash_of(presented), valid)).first()
    return Token(*row) if row is not None else None


def use_is_worth_noting(token: Token, now: datetime) -> bool:
    """Tell whether the last use on record is so old that this one should be written down."""
    return token.last_used is None or now - token.last_used >= _NOTED_EVERY


def note_use(conn: Connection, items: Sequence[tuple[str, datetime]]) -> list[None]:
    """Write down when tokens (by id) were used."""
    for token, at in items:
        older = or_(_table.c.last_used.is_(None), _table.c.last_used < at)
        conn.execute(update(_table).where(_table.c.id == token, older).values(last_used=at))
    return [None] * len(items)
