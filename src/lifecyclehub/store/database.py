"""Opening the database: SQLite for one process, PostgreSQL for many; the driver is always named in the URL."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.store.sql import begin_with

SQLITE = "sqlite+pysqlite"
POSTGRES = "postgresql+psycopg"
SCHEMA_REVISION = "0001"
BESIDE = ("-wal", "-shm")

LOCK_WAIT_MS = 10_000
"""So long a lock of somebody else's is waited for, on either database; then the store is busy."""

IDLE_MS = 30_000
"""So long a server lets a program stand still in a transaction, and with it everybody who waits for its locks."""

# A server that is gone without a word is noticed within half a minute: otherwise only after hours.
_WATCHED = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


def sqlite_url(home: Path) -> str:
    """Give the URL of the embedded store in a home."""
    return f"{SQLITE}:///{home / 'hub.sqlite3'}"


def keep_private(url: str) -> None:
    """Let only its owner read an embedded database, which is made where there is none; a server's is left alone."""
    file = make_url(url).database
    if not url.startswith("sqlite") or not file or file == ":memory:":
        return
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    for name in (file, *(file + rest for rest in BESIDE)):  # SQLite makes what stands beside it with the mode of the file
        with contextlib.suppress(FileNotFoundError):
            Path(name).chmod(0o600)


def open_engine(url: str) -> Engine:
    """Open a database. Raises ConfigurationError for a URL that names no driver or one that we do not support."""
    try:
        parsed = make_url(url)
    except Exception as error:
        raise ConfigurationError(
            "the database URL cannot be read", where="LIFECYCLEHUB_DATABASE", mend=f"Write it as {POSTGRES}://user@host/name."
        ) from error
    if parsed.drivername == SQLITE:
        return _open_sqlite(url)
    if parsed.drivername == POSTGRES:
        return _open_postgres(url)
    raise ConfigurationError(
        f"the database driver {parsed.drivername!r} is not supported",
        where="LIFECYCLEHUB_DATABASE",
        mend=f"Use {SQLITE}:///path or {POSTGRES}://user@host/name.",
    )


def _open_postgres(url: str) -> Engine:
    chosen = make_url(url).query
    engine = create_engine(
        url,
        connect_args={name: value for name, value in _WATCHED.items() if name not in chosen},
        pool_size=12,
        max_overflow=8,
        pool_pre_ping=True,
        query_cache_size=2000,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _settings(raw: Any, _: Any) -> None:
        with raw.cursor() as cursor:
            for name, wait in (("lock_timeout", LOCK_WAIT_MS), ("idle_in_transaction_session_timeout", IDLE_MS)):
                if name not in str(chosen.get("options", "")):
                    cursor.execute(f"SET {name} = {wait}")
        raw.commit()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        # The driver begins with the first statement only; `in_transaction` must be able to tell that from one that was ended.
        if conn.get_execution_options().get("write", True):
            begin_with(conn, "SELECT 1")

    return engine


def snapshot(engine: Engine) -> Connection:
    """Give a connection whose transactions see one moment, however many statements they have, and do not write."""
    if engine.dialect.name == "sqlite":
        return engine.connect().execution_options(write=False)
    return engine.connect().execution_options(write=False, isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _open_sqlite(url: str) -> Engine:
    # The driver must not begin transactions by itself: BEGIN IMMEDIATE takes the write lock before anything is read.
    engine = create_engine(
        url,
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": LOCK_WAIT_MS / 1000},
        query_cache_size=2000,
        hide_parameters=True,  # errors are logged and kept on notices; values may be secret
    )

    @event.listens_for(engine, "connect")
    def _settings(raw: Any, _: Any) -> None:
        cursor = raw.cursor()
        patience = f"busy_timeout={LOCK_WAIT_MS}"
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", patience, "cache_size=-65536"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        immediate = conn.get_execution_options().get("write", True)
        begin_with(conn, "BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def schema_of(engine: Engine) -> str | None:
    """Tell which version's tables a database has; None: none of ours."""
    with engine.connect().execution_options(write=False) as conn:
        if not inspect(conn).has_table("alembic_version"):
            return None
        return str(conn.execute(text("SELECT version_num FROM alembic_version")).scalar())


def check_schema(engine: Engine) -> None:
    """Raise ConfigurationError unless the database has exactly this version's tables."""
    found = schema_of(engine)
    if found is None:
        raise ConfigurationError("the database holds no lifecyclehub yet.", mend="Run `lifecyclehub init` first.")
    if found != SCHEMA_REVISION:
        raise ConfigurationError(
            f"the database is at schema {found}, this program needs {SCHEMA_REVISION}.",
            mend="Stop every hub on it and run `lifecyclehub init`, which brings it up to date.",
        )


def in_transaction(conn: Connection) -> bool:
    """Tell whether the database itself still has our transaction: some errors end it behind SQLAlchemy's back."""
    raw = conn.connection.dbapi_connection
    if conn.dialect.name == "sqlite":
        return bool(getattr(raw, "in_transaction", False))
    info = getattr(raw, "info", None)
    return info is not None and info.transaction_status.name == "INTRANS"
