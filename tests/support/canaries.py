"""Looking for what must not be there: a person's values, in every column of every table and in a file's bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from lifecyclehub.store.tables import metadata


def told_in(engine: Engine, canaries: Iterable[str]) -> set[str]:
    """Name the columns in which one of these texts stands, in any case."""
    wanted = [one.lower() for one in canaries]
    found = set()
    with engine.connect().execution_options(write=False) as conn, conn.begin():
        for table in metadata.sorted_tables:
            for row in conn.execute(select(table)).mappings():
                found |= {f"{table.name}.{name}" for name, value in row.items() if _tells(value, wanted)}
    return found


def _tells(value: Any, wanted: list[str]) -> bool:
    text = bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else str(value)
    return any(one in text.lower() for one in wanted)


def told_in_bytes(files: Iterable[Path], canaries: Iterable[str]) -> set[str]:
    """Name the files whose bytes hold one of these texts."""
    wanted = [one.encode() for one in canaries]
    return {file.name for file in files if file.exists() and any(one in file.read_bytes() for one in wanted)}
