"""A home as `lifecyclehub init` makes it."""

from __future__ import annotations

from pathlib import Path

from lifecyclehub.admin.setup import Initialized, init_home
from lifecyclehub.settings import Settings, read_settings


def make_home(tmp_path: Path, database_url: str | None = None) -> Settings:
    """Make a home in a folder of this test's own; its database is SQLite unless another URL is given."""
    return made_home(tmp_path, database_url)[0]


def made_home(tmp_path: Path, database_url: str | None = None) -> tuple[Settings, Initialized]:
    """Make a home and give also what that made, the API's first token among it."""
    env = {"LIFECYCLEHUB_DATABASE": database_url} if database_url else {}
    settings = read_settings(tmp_path / "home", env)
    return settings, init_home(settings)
