"""The functions that expressions may call: JMESPath's own, made exact for money, and a few of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jmespath import exceptions, functions

from lifecyclehub import jsonio

_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_TYPES: dict[str, tuple[str, ...]] = {
    "boolean": ("bool",),
    "array": ("list",),
    "object": ("dict", "mappingproxy"),
    "null": ("NoneType",),
    "string": ("str",),
    "number": ("int", "Decimal"),  # never float: a float has lost cents already
    "expref": ("_Expression",),
    "time": ("date", "datetime"),
}
_NAMES = {python: name for name, pythons in _TYPES.items() for python in pythons}

ANY: dict[str, Any] = {"types": []}
TEXT = {"types": ["string"]}
TEXT_OR_NULL = {"types": ["string", "null"]}
NUMBERS = {"types": ["array-number"]}


def takes(*arguments: dict[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the argument types of a function for JMESPath's table."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        return functions.signature(*arguments)(function)  # type: ignore[no-any-return]

    return declare


def as_text(value: Any) -> str:
    """Write a value as people read it: times in ISO 8601, numbers exact, text as it is."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return jsonio.dumps(value)


def instant_of(text: str) -> datetime:
    """Read an ISO 8601 instant. Raises ValueError when it has no time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)


def day_of(value: Any) -> date:
    """Give the date of a date, an instant (in UTC) or ISO text. Raises ValueError for anything else."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        return date.fromisoformat(value) if len(value) == 10 else instant_of(value).date()
    raise ValueError(f"{value!r} is no date")


class Exact(functions.Functions):  # type: ignore[misc]
    """JMESPath's functions with exact numbers, and a few of ours.

    `present`, `lower`, `upper`, `concat`, `lines`, `money`, `date_in`, `add_days`.
    """

    FUNCTION_TABLE: ClassVar[dict[str, Any]]

    def _get_allowed_pytypes(self, types: Sequence[str]) -> tuple[list[str], list[tuple[str, ...]]]:
        allowed: list[str] = []
        inner: list[tuple[str, ...]] = []
        for name in types:
            outer, dash, element = name.partition("-")
            allowed.extend(_TYPES[outer])
            if dash:
                inner.append(_TYPES[element])
        return allowed, inner

    def _convert_to_jmespath_type(self, python: str) -> str:
        return _NAMES.get(python, "unknown")

    @takes(ANY)
    def _func_present(self, value: Any) -> bool:
        return value is not None

    @takes(TEXT_OR_NULL)
    def _func_lower(self, value: str | None) -> str | None:
        return value.lower() if value is not None else None

    @takes(TEXT_OR_NULL)
    def _func_upper(self, value: str | None) -> str | None:
        return value.upper() if value is not None else None

    @takes({"types": [], "variadic": True})
    def _func_concat(self, *parts: Any) -> str | None:
        """Join the texts of all parts; null when one of them is null, so that a line without its value disappears."""
        texts = []
        for part in parts:
            if part is None:
                return None
            texts.append(as_text(part))
        return "".join(texts)

    @takes({"types": [], "variadic": True})
    def _func_lines(self, *lines: Any) -> str:
        """Join those that are not null, one per line."""
        return "\n".join([as_text(line) for line in lines if line is not None])

    @takes({"types": ["object", "null"]})
    def _func_money(self, value: Any) -> str | None:
        """Write `{decimal, currency}` as people read it: `1,250.00 EUR`."""
        if value is None or value.get("decimal") is None:
            return None
        return f"{value['decimal']:,} {value['currency']}"

    @takes({"types": ["time", "string", "null"]}, TEXT_OR_NULL)
    def _func_date_in(self, value: Any, zone: str | None) -> date | None:
        """Give the calendar day of an instant in a time zone (UTC when that is null)."""
        if value is None:
            return None
        if isinstance(value, str) and len(value) > 10:
            value = instant_of(value)
        if not isinstance(value, datetime):
            return day_of(value)
        try:
            return value.astimezone(ZoneInfo(zone or "UTC")).date()
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{zone!r} is no time zone; write one like 'Europe/Berlin'") from error

    @takes({"types": ["time", "string", "null"]}, {"types": ["number", "null"]})
    def _func_add_days(self, value: Any, days: Any) -> date | None:
        if value is None or days is None:
            return None
        if days != int(days) or abs(days) > 36_500:
            raise ValueError(f"{days} is no number of days")
        return day_of(value) + timedelta(days=int(days))

    @takes(ANY)
    def _func_to_string(self, value: Any) -> str:
        return as_text(value)

    @takes(ANY)
    def _func_to_number(self, value: Any) -> int | Decimal | None:
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | Decimal):
            return value
        if not isinstance(value, str) or not _NUMBER.fullmatch(value):
            return None
        return Decimal(value) if "." in value else int(value)

    @takes(ANY)
    def _func_type(self, value: Any) -> str:
        return self._convert_to_jmespath_type(type(value).__name__)

    @takes(NUMBERS)
    def _func_avg(self, numbers: list[Any]) -> Decimal | None:
        """The exact mean, to 28 digits where it has no end; money finer than its unit is refused later."""
        return sum((Decimal(number) for number in numbers), Decimal(0)) / len(numbers) if numbers else None

    @takes({"types": ["array", "string"]}, ANY)
    def _func_contains(self, subject: Any, wanted: Any) -> bool:
        if isinstance(subject, str):
            if not isinstance(wanted, str):
                raise exceptions.JMESPathTypeError("contains", wanted, self._func_type(wanted), ["string"])
            return wanted in subject
        kind = type(wanted)
        for one in subject:  # noqa: SIM110 (asked for every rule of every engagement)
            if type(one) is kind and one == wanted:
                return True
        return False
