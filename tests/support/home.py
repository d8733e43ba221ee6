"""A home as `lifecyclehub init` makes it."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from sqlalchemy import update

from lifecyclehub.admin.setup import Initialized, host_fingerprint, init_home
from lifecyclehub.settings import Settings, read_settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import open_engine


def make_home(tmp_path: Path, database_url: str | None = None) -> Settings:
    """Make a home in a folder of this test's own; its database is SQLite unless another URL is given."""
    return made_home(tmp_path, database_url)[0]


def made_home(tmp_path: Path, database_url: str | None = None) -> tuple[Settings, Initialized]:
    """Make a home and give also what that made, the API's first token among it."""
    home = tmp_path / "home"
    if database_url:
        settings = read_settings(home, {"LIFECYCLEHUB_DATABASE": database_url})
        return settings, init_home(settings)
    model, made = _model()
    shutil.copytree(model, home)
    settings = read_settings(home, {})
    engine = open_engine(settings.database)
    with engine.begin() as conn:
        conn.execute(update(tables.installation).values(host_fingerprint=host_fingerprint(home)))
    engine.dispose()
    return settings, replace(made, home=home, files=tuple(home / one.relative_to(model) for one in made.files))


@functools.cache
def _model() -> tuple[Path, Initialized]:
    """Make a home once: its tables take most of the time. Others are copies."""
    folder = Path(tempfile.mkdtemp(prefix="lh-home-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    home = folder / "home"
    return home, init_home(read_settings(home, {}))
