"""The scenarios' database: made once, brought back to its first state before each scenario."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, RootTransaction, select, text, update

from lifecyclehub.admin.hosts import MACHINE_VARIABLE, host_fingerprint
from lifecyclehub.jsonio import loads
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import open_engine
from lifecyclehub.store.setup import upgrade
from lifecyclehub.store.upsert import insert_all, insert_new, put_all
from lifecyclehub.torture.elements import TOOLS
from lifecyclehub.torture.loop import EPOCH
from lifecyclehub.torture.tools import LAG_S, ROTATING, SERVER_TIMEOUT_S
from lifecyclehub.torture.watch import note, noted, watch
from lifecyclehub.vault import Vault
from lifecyclehub.vault.credentials import sealed_tokens
from lifecyclehub.vendor.grants import Tokens

PUBLIC: Final = "https://hub.example"
SECRET: Final = "what only the tool and the hub know"
TOKEN: Final = "canary-token-7f3a"
TOTAL_S: Final = 10.0
WON, CLOSED, TICKET, STANDING = (
    "won-deal-starts-delivery",
    "closed-project-drafts-invoice",
    "ticket-joins-project",
    "client-standing-to-crm",
)
_MEMORY: Final = "sqlite+pysqlite:///:memory:"


def _stays(close: bool = True) -> None:  # noqa: FBT001, FBT002 (as SQLAlchemy declares it)
    """Stay open."""


class _Kept(Connection):
    """The only connection of a database in memory: opening one costs as much as most of what is asked on it.

    It begins and ends transactions as `open_engine` has it, without asking whom else that might concern.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._raw: Any = self.connection.dbapi_connection
        self._writing = self._execution_options
        self._reading = self._writing.union({"write": False})

    def execution_options(self, **options: Any) -> Connection:
        if options != {"write": False}:
            return super().execution_options(**options)
        self._execution_options = self._reading
        return self

    def _begin_impl(self, transaction: RootTransaction) -> None:
        self._raw.execute("BEGIN" if self._execution_options is self._reading else "BEGIN IMMEDIATE")

    def _commit_impl(self) -> None:
        self._raw.commit()

    def _rollback_impl(self) -> None:
        self._raw.rollback()

    def close(self) -> None:
        """Stay open; what was begun and not committed is undone."""
        begun = self._transaction
        if begun is not None:
            begun.rollback()
        self._execution_options = self._writing


class Database:
    """One database for many scenarios, one after the other."""

    def __init__(self, home: Path, url: str | None = None) -> None:
        """`url`: an empty PostgreSQL schema; without it SQLite in memory."""
        self.settings = Settings(
            home=home,
            database=url or _MEMORY,
            public_url=PUBLIC,
            env={MACHINE_VARIABLE: "torture"},
        )
        home.mkdir(parents=True, exist_ok=True)
        self._key = Fernet.generate_key().decode() + "\n"
        self.share_key(home)
        self.engine: Engine = open_engine(self.settings.database)
        self.engine.dispose = _stays  # type: ignore[method-assign]  # a hub that stops must not take it along
        self.dialect = self.engine.dialect.name
        upgrade(self.engine)
        if self.dialect == "sqlite":
            kept = _Kept(self.engine)
            self.engine.connect = lambda: kept  # type: ignore[method-assign]
            with self.engine.begin() as conn:
                watch(conn)
        self._rows = self._first_rows()
        self._write(self._rows)
        self._template = self._copied() if self.dialect == "sqlite" else None

    def reset(self) -> None:
        """Bring it back to its first state."""
        if (self.settings.home / "key").read_text("ascii") != self._key:
            self.share_key(self.settings.home)
        if self._template is not None:
            self._template.backup(self._raw())
            return
        self._empty()
        self._write(self._rows)

    def _empty(self) -> None:
        with self.engine.begin() as conn:
            names = ", ".join(f'"{one.name}"' for one in tables.metadata.sorted_tables)
            conn.execute(text(f"TRUNCATE {names}"))

    def share_key(self, home: Path) -> None:
        """Give a home the first key, readable by its owner only."""
        file = home / "key"
        file.touch(mode=0o600)
        file.write_text(self._key, "ascii")

    def close(self) -> None:
        """Let go of it."""
        Engine.dispose(self.engine)

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _raw(self) -> sqlite3.Connection:
        with self.engine.connect().execution_options(write=False) as conn:
            raw: Any = conn.connection.dbapi_connection
        return raw  # type: ignore[no-any-return]

    def _copied(self) -> sqlite3.Connection:
        copy = sqlite3.connect(":memory:")
        self._raw().backup(copy)
        return copy

    def _write(self, rows: Mapping[str, list[dict[str, Any]]]) -> None:
        with self.engine.begin() as conn:
            for name, some in rows.items():
                insert_all(conn, tables.metadata.tables[name], some)

    def _first_rows(self) -> dict[str, list[dict[str, Any]]]:
        """Make what `init` and `connections add` leave, for four tools; which handoffs are on is the scenario's."""
        vault = Vault.open(self.settings.home, self.settings.env)
        home = {"fingerprint": host_fingerprint(self.settings), "name": "torture", "who": "torture", "since": EPOCH}
        found: dict[str, list[dict[str, Any]]] = {
            "installation": [{"id": "ins_torture", "created_at": EPOCH}],
            "host": [home],
        }
        for name in TOOLS:
            grant, connection, endpoint, secret = f"gra_{name}", f"con_{name}", f"end_{name}", f"sec_end_{name}"
            tokens = Tokens(secrets={"token": SecretStr(TOKEN)})
            signing: dict[str, Any] = {
                "id": secret,
                "owner_kind": "endpoint",
                "owner": endpoint,
                "field": "signing",
                "state": "active",
            }
            signing |= {"sealed": vault.seal("secret", secret, "signing", SECRET), "valid_until": None}
            role = {"crm": "crm", "projects": "project", "desk": "helpdesk", "books": "invoicing"}[name]
            rows: dict[str, dict[str, Any]] = {
                "grant": {"id": grant, "connector": name, "auth": "token", "created_at": EPOCH},
                "connection": {
                    "id": connection,
                    "name": name,
                    "connector": name,
                    "grant": grant,
                    "account_id": "1",
                    "account": {"name": name, "currency": "EUR", "timezone": "UTC"},
                    "roles": [role],
                    "settings": {"total_s": str(TOTAL_S), "lag_s": str(LAG_S), "server_timeout_s": str(SERVER_TIMEOUT_S)},
                    "listens": True,
                    "polls": False,
                    "created_at": EPOCH,
                },
                "endpoint": {
                    "id": endpoint,
                    "connector": name,
                    "door": "hook",
                    "connection": connection,
                    "state": "listening",
                    "created_at": EPOCH,
                },
            }
            for table, row in rows.items():
                found.setdefault(table, []).append(row)
            found.setdefault("secret", []).append(sealed_tokens(vault, grant, tokens, EPOCH))
            found["secret"].append(signing | {"valid_from": EPOCH - timedelta(days=1)})
        return found

    def switch(self, handoffs: tuple[str, ...]) -> None:
        """Switch handoffs on, from the scenario's first moment."""
        self._write({"handoff": [{"id": one, "state": "on", "go_live": EPOCH} for one in handoffs]})

    def sign_in(self, tool: str, tokens: Tokens, now: datetime) -> None:
        """Keep credentials that rotate for a tool's grant."""
        vault = Vault.open(self.settings.home, self.settings.env)
        with self.engine.begin() as conn:
            conn.execute(update(tables.grant).where(tables.grant.c.id == f"gra_{tool}").values(auth=ROTATING.name))
            put_all(conn, tables.secret, [sealed_tokens(vault, f"gra_{tool}", tokens, now)])

    def kept_refresh_token(self, tool: str) -> str:
        """Give the refresh token that is kept now."""
        vault, row = Vault.open(self.settings.home, self.settings.env), f"sec_gra_{tool}"
        with self.engine.connect().execution_options(write=False) as conn, conn.begin():
            sealed = conn.execute(select(tables.secret.c.sealed).where(tables.secret.c.id == row)).scalar_one()
        plain = loads(vault.unseal("secret", row, "tokens", sealed).get_secret_value())
        return str(plain["secrets"]["refresh_token"])

    def kept_refusals(self, marker: str) -> int:
        """Count how often it is written down that a tool had too many requests when it was sent what has this marker."""
        effect, attempt = tables.effect, tables.attempt
        refused = (effect.c.marker == marker) & attempt.c.detail.contains("(status 429)")
        with self.engine.connect().execution_options(write=False) as conn, conn.begin():
            return len(conn.execute(select(attempt.c.id).join(effect, effect.c.id == attempt.c.effect).where(refused)).all())

    def connect_too(self, tool: str) -> None:
        """Add a second connection, to another account, on the same grant. It polls."""
        first = next(row for row in self._rows["connection"] if row["name"] == tool)
        changed = {
            "id": f"con_{tool}_too",
            "name": f"{tool} too",
            "account_id": "2",
            "roles": [],
            "listens": False,
            "polls": True,
        }
        self._write({"connection": [first | changed]})

    def confirm_all(self, homes: Iterable[Settings]) -> None:
        """Let these homes write to the tools: a backup may be older than a home."""
        rows = [{"fingerprint": host_fingerprint(one), "name": one.home.name, "who": "torture", "since": EPOCH} for one in homes]
        with self.engine.begin() as conn:
            insert_new(conn, tables.host, rows)

    # --- backups, and the key ---------------------------------------------------------------------------------------------

    def backup(self) -> Any:
        """Copy all there is."""
        if self.dialect == "sqlite":
            return self._copied()
        with self.engine.connect().execution_options(write=False) as conn, conn.begin():
            return {
                one.name: [dict(row) for row in conn.execute(select(one)).mappings()] for one in tables.metadata.sorted_tables
            }

    def put_back(self, backup: Any) -> None:
        """Put a copy in the place of what is there."""
        if self.dialect == "sqlite":
            with self.engine.begin() as conn:
                before = noted(conn)
            backup.backup(self._raw())
            with self.engine.begin() as conn:
                note(conn, before)
        else:
            self._empty()
            self._write(backup)

    def keys(self) -> tuple[str, ...]:
        """Give the keys that open what is sealed now, the newest first."""
        return tuple(Vault.open(self.settings.home, self.settings.env).keys)

    def know_keys(self, older: Iterable[str]) -> None:
        """Put back, after the present ones, keys that were dropped: a backup from before needs those kept with it."""
        present = self.keys()
        (self.settings.home / "key").write_text("\n".join(dict.fromkeys((*present, *older))) + "\n", "ascii")

    def opened(self, _url: str) -> Engine:
        """Open the database as a command does."""
        return self.engine
