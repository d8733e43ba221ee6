"""A home as `lifecyclehub init` makes it."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from sqlalchemy import delete

from lifecyclehub.admin.applied import Applying, applied_version, apply_set
from lifecyclehub.admin.hosts import confirm_host
from lifecyclehub.admin.setup import Initialized, init_home
from lifecyclehub.configuration import read_source, rules_of
from lifecyclehub.ports import SystemClock
from lifecyclehub.registry.registry import Registry
from lifecyclehub.settings import Settings, read_settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import open_engine, schema_of
from tests.support.tables import make_tables


def make_home(tmp_path: Path, database_url: str | None = None) -> Settings:
    """Make a home in a folder of this test's own; its database is SQLite unless another URL is given."""
    return made_home(tmp_path, database_url)[0]


def made_home(tmp_path: Path, database_url: str | None = None) -> tuple[Settings, Initialized]:
    """Make a home and give also what that made, the API's first token among it."""
    home = tmp_path / "home"
    if database_url:
        settings = read_settings(home, {"LIFECYCLEHUB_DATABASE": database_url})
        engine = open_engine(settings.database)
        if schema_of(engine) is None:
            make_tables(engine)
        engine.dispose()
        return settings, init_home(settings)
    model, made = _model()
    shutil.copytree(model, home)
    settings = read_settings(home, {})
    engine = open_engine(settings.database)
    with engine.begin() as conn:
        conn.execute(delete(tables.host))  # the model's own
        confirm_host(conn, settings, "a test", SystemClock().now())
    engine.dispose()
    return settings, replace(made, home=home, files=tuple(home / one.relative_to(model) for one in made.files))


def apply_files(settings: Settings, registry: Registry | None = None) -> str:
    """Apply a home's files as they are now, as `mappings apply --yes` does. Gives the version."""
    known = registry or installed()
    source = read_source(known, settings.mappings)
    version = rules_of(source, known, settings.zone, "").version
    engine = open_engine(settings.database)
    with engine.begin() as conn:
        before = applied_version(conn)
        apply_set(conn, [Applying(version, source.content(), "a test", SystemClock().now(), before)])
    engine.dispose()
    return version


@functools.cache
def installed() -> Registry:
    """Give the installed connectors, loaded once."""
    return Registry.load()


@functools.cache
def _model() -> tuple[Path, Initialized]:
    """Make a home once: its tables take most of the time. Others are copies."""
    folder = Path(tempfile.mkdtemp(prefix="lh-home-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    home = folder / "home"
    return home, init_home(read_settings(home, {}))
