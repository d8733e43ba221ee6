"""Settings of an installation: its home, its database, its addresses. Environment first, then `hub.toml` in the home."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.store.database import sqlite_url

DEFAULT_PORT = 8470
FILE = "hub.toml"
_KEYS = {"public_url": str, "timezone": str, "host": str, "port": int, "database": str}
_ENVIRONMENT = {
    "public_url": "LIFECYCLEHUB_PUBLIC_URL",
    "timezone": "LIFECYCLEHUB_TIMEZONE",
    "host": "LIFECYCLEHUB_HOST",
    "port": "LIFECYCLEHUB_PORT",
    "database": "LIFECYCLEHUB_DATABASE",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the installation lives and how it is reached. `public_url` is what vendors call; they sign it."""

    home: Path
    database: str = field(repr=False)  # a server's address may hold its password
    host: str = "127.0.0.1"
    port: int | None = None
    public_url: str | None = None
    timezone: str = "UTC"
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the business: which day it is there."""
        return ZoneInfo(self.timezone)

    @property
    def mappings(self) -> Path:
        """The folder of overrides, handoffs, lifecycle and tables."""
        return self.home / "mappings"


def default_home(env: Mapping[str, str]) -> Path:
    """Give the home: `LIFECYCLEHUB_HOME`, else `.lifecyclehub` in the user's own folder."""
    return Path(env.get("LIFECYCLEHUB_HOME") or Path.home() / ".lifecyclehub").absolute()


def read_settings(home: Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of a home. Raises ConfigurationError that names the setting, where it stands, and how to mend it."""
    env = os.environ if env is None else env
    home = (home or default_home(env)).absolute()
    found: dict[str, tuple[Any, str]] = {}
    file = home / FILE
    if file.exists():
        found |= {key: (value, f"{FILE}: {key}") for key, value in _read_file(file).items()}
    for key, variable in _ENVIRONMENT.items():
        if env.get(variable):
            found[key] = (env[variable], variable)
    values = {key: _checked(key, value, where) for key, (value, where) in found.items()}
    return Settings(home=home, database=values.pop("database", sqlite_url(home)), env=dict(env), **values)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        read = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"it cannot be read: {error}.", where=FILE, mend="Correct that line.") from error
    unknown = sorted(set(read) - set(_KEYS))
    if unknown:
        raise ConfigurationError(f"there is no setting {unknown[0]!r}.", where=FILE, mend=f"There are: {', '.join(_KEYS)}.")
    return read


def _checked(key: str, value: Any, where: str) -> Any:
    if _KEYS[key] is int:
        if not str(value).isdigit() or not 0 < int(value) < 65536:
            raise ConfigurationError(f"{value!r} is no port.", where=where, mend="Give a number from 1 to 65535.")
        return int(value)
    if not isinstance(value, str):
        raise ConfigurationError(f"{value!r} is no text.", where=where, mend="Put it in quotes.")
    if key == "timezone":
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ConfigurationError(f"{value!r} is no time zone.", where=where, mend='Write it like "Europe/Vienna".') from error
    if key == "public_url":
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ConfigurationError(
                f"{value!r} is no address.", where=where, mend="Write what vendors call, like https://hub.example.com."
            )
        return value.rstrip("/")
    return value


def write_settings(home: Path, values: Mapping[str, str | int]) -> None:
    """Add settings to `hub.toml`, and leave what stands there as it is. A new file is its owner's alone."""
    file = home / FILE
    known = _read_file(file) if file.exists() else {}
    lines = [f"{key} = {_as_toml(value)}" for key, value in values.items() if key not in known]
    if lines:
        before = file.read_text("utf-8") if file.exists() else "# Settings of this lifecyclehub installation.\n"
        _replace(file, before + "\n".join(lines) + "\n")


def _replace(file: Path, text: str) -> None:
    """Write a file in one step, safe on disk before it counts: a full disk leaves what stood there."""
    new = file.with_name(f"{file.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        if file.exists():
            os.fchmod(out.fileno(), file.stat().st_mode & 0o777)
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)


def _as_toml(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
