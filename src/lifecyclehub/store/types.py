"""Column types that keep on both databases what SQLite would lose: time zones, exact decimals, JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, Dialect, Integer, Table, Text, TypeDecorator

from lifecyclehub.jsonio import dumps, loads

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LEAST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_MOST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def _microseconds(value: datetime | None) -> int | None:
    """Refuse naive times: a time without a zone is a bug somewhere above.

    A zone can put a vendor's time before the first year or after the last one; such a row could never be read again.
    """
    if value is None:
        return None
    if value.tzinfo is UTC:  # elsewhere an hour comes twice in autumn, and both of its times are equal
        return _counted(value)
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    count = (value - _EPOCH) // _MICROSECOND
    return count if _LEAST <= count <= _MOST else min(max(count, _LEAST), _MOST)


# What is done together has its times in common: both ways are remembered.
@lru_cache(4096)
def _counted(value: datetime) -> int:
    return (value - _EPOCH) // _MICROSECOND


@lru_cache(4096)
def _instant(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(0, 0, value)


def _text(value: Any) -> str | None:
    return None if value is None else dumps(value)


def _value(value: str | None) -> Any:
    return None if value is None else loads(value)


def as_read(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row that was written just now as it would be read back. It must have a value for every column."""
    steps = _reading.get(table.name)
    if steps is None:
        steps = _reading[table.name] = [(column.name, _there_and_back(column.type)) for column in table.columns]
    return {name: row[name] if step is None or row[name] is None else step(row[name]) for name, step in steps}


def _there_and_back(kind: Any) -> Callable[[Any], Any] | None:
    if isinstance(kind, Instant):
        return lambda value: _instant(_microseconds(value))
    if isinstance(kind, Json):
        return lambda value: _value(_text(value))
    if isinstance(kind, Boolean):
        return bool
    return int if isinstance(kind, Integer) else None


_reading: dict[str, list[tuple[str, Callable[[Any], Any] | None]]] = {}


class Instant(TypeDecorator[datetime]):
    """Aware UTC times as microseconds since 1970: sorted and exact alike on SQLite and PostgreSQL."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Give microseconds. Raises ValueError for a time without a zone."""
        return _microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Give an aware UTC time."""
        return _instant(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """The same, without a step between: it is done for every time in every row."""
        return _microseconds

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """The same, without a step between."""
        return _instant


class Json(TypeDecorator[Any]):
    """Any JSON value as text; numbers with a fraction come back as Decimal."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write canonical JSON; None stays NULL."""
        return _text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read it back."""
        return _value(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """The same, without a step between."""
        return _text

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """The same, without a step between."""
        return _value
