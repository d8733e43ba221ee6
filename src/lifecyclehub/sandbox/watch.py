"""Looking into the hub's store, read only: whether it is still at work, and what it says about what it did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import text

from lifecyclehub.settings import read_settings
from lifecyclehub.store.database import open_engine

_UNDER_WAY = {
    "deliveries to be read": "SELECT count(*) FROM delivery WHERE state IN ('open', 'held')",
    "notices to be looked at": "SELECT count(*) FROM notice WHERE state IN ('open', 'held')",
    "effects to be performed": "SELECT count(*) FROM effect WHERE state IN ('planned', 'held', 'ready')",
    "effects in flight": "SELECT count(*) FROM effect WHERE state = 'in flight'",
    "effects in doubt": "SELECT count(*) FROM effect WHERE state = 'in doubt'",
}
_WAITING = (
    """
    SELECT name || ' ' || item || ': ' || state || ', ' || coalesce(reason, '') || ', ' || coalesce(detail, '') FROM effect
    WHERE state NOT IN ('done', 'cancelled') ORDER BY id LIMIT 8
    """,
    """
    SELECT kind || ' ' || record_id || ': ' || state || ', ' || coalesce(reason, '') || ', ' || coalesce(detail, '') FROM notice
    WHERE state IN ('open', 'held', 'parked') ORDER BY id DESC LIMIT 8
    """,
    "SELECT 'delivery ' || id || ': ' || state || ', ' || coalesce(reason, '') FROM delivery WHERE state != 'split' LIMIT 4",
)


class Watch:
    """A look into the store of a home. Use it as a context manager."""

    def __init__(self, home: Path) -> None:
        self._engine = open_engine(read_settings(home).database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._engine.dispose()

    def ask(self, question: str, **values: Any) -> Sequence[Any]:
        """Give the rows that answer a question."""
        with self._engine.connect().execution_options(write=False) as conn:
            return conn.execute(text(question), values).all()

    def under_way(self) -> dict[str, int]:
        """Give what is not over yet; nothing when the hub waits for news."""
        counts = {name: int(self.ask(question)[0][0]) for name, question in _UNDER_WAY.items()}
        return {name: count for name, count in counts.items() if count}

    def report(self) -> str:
        """Say what is not over, and what was put aside for a person."""
        lines = [f"{name}: {count}" for name, count in self.under_way().items()]
        lines += [f"  {row[0]}" for question in _WAITING for row in self.ask(question)]
        return "\n".join(lines) or "Nothing is under way."
