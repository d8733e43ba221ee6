"""Bringing a database up to this version's tables. Only set-up imports this: a serving hub needs no Alembic."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine


def upgrade(engine: Engine) -> None:
    """Create or migrate all tables, in one transaction."""
    with as_file(files("lifecyclehub.store") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder))
        with engine.connect() as conn, conn.begin():
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
