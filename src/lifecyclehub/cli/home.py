"""Finding the home that a command works on."""

from __future__ import annotations

import fcntl
from pathlib import Path

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.settings import Settings, read_settings
from lifecyclehub.store.database import sqlite_url


def settings_of(home: Path | None) -> Settings:
    """Read the settings of a home that was set up. Raises ConfigurationError where there is none, and makes nothing."""
    settings = read_settings(home)
    embedded = settings.database == sqlite_url(settings.home)
    if not settings.home.is_dir() or (embedded and not (settings.home / "hub.sqlite3").exists()):
        raise ConfigurationError(
            "there is no installation here.",
            where=str(settings.home),
            mend="Run `lifecyclehub init` first, or name another home with --home or LIFECYCLEHUB_HOME.",
        )
    return settings


def holder_of(settings: Settings) -> str | None:
    """Give the process id of the hub that runs on this home, None when none does (or the database is a server's)."""
    file = settings.home / "hub.lock"
    if not file.exists() or settings.database != sqlite_url(settings.home):
        return None
    with file.open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock.read().strip() or "unknown"
    return None
