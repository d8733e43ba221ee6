"""The first migration makes exactly the tables that the code knows, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.store.database import SCHEMA_REVISION, check_schema
from lifecyclehub.store.setup import upgrade
from lifecyclehub.store.tables import metadata


@pytest.fixture
def upgraded(engine: Engine) -> Iterator[Engine]:
    upgrade(engine)
    return engine


def differences(engine: Engine) -> list[Any]:
    with engine.connect() as conn:
        context = MigrationContext.configure(
            conn,
            opts={
                "compare_type": True,
                # SQLite tells an empty text as a default in other words than ours.
                "compare_server_default": engine.dialect.name != "sqlite",
            },
        )
        return list(compare_metadata(context, metadata))


def test_the_migrations_make_the_tables_of_the_code(upgraded: Engine) -> None:
    assert differences(upgraded) == []


def test_a_difference_would_be_seen(upgraded: Engine) -> None:
    with upgraded.begin() as conn:
        conn.execute(text("ALTER TABLE client ADD COLUMN more TEXT"))

    assert differences(upgraded) != []


def test_partial_indexes_are_made_with_their_conditions(upgraded: Engine) -> None:
    with upgraded.connect() as conn:
        if upgraded.dialect.name == "sqlite":
            found = dict(conn.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")).all())
        else:
            found = dict(
                conn.execute(text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()")).all()
            )
    wanted = {
        index.name: index.dialect_options["sqlite"]["where"]
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert len(wanted) >= 10
    assert {name for name in wanted if " WHERE " not in found[str(name)]} == set()


def test_upgrading_twice_changes_nothing(upgraded: Engine) -> None:
    upgrade(upgraded)

    assert differences(upgraded) == []
    check_schema(upgraded)


def test_a_failing_upgrade_leaves_nothing_behind(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    make, made = op.create_table, []

    def failing(name: str, *columns: Any, **options: Any) -> Any:
        if len(made) == 10:
            raise RuntimeError("the power went")
        made.append(name)
        return make(name, *columns, **options)

    monkeypatch.setattr(op, "create_table", failing)
    with pytest.raises(RuntimeError, match="power"):
        upgrade(engine)

    assert len(made) == 10
    assert inspect(engine).get_table_names() == []


def test_a_database_of_another_version_is_refused_and_says_what_to_do(upgraded: Engine) -> None:
    with upgraded.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(ConfigurationError, match=rf"at schema 9999, this program needs {SCHEMA_REVISION}.*lifecyclehub init"):
        check_schema(upgraded)


def test_an_empty_database_is_refused_and_says_what_to_do(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no lifecyclehub yet.*lifecyclehub init"):
        check_schema(engine)
