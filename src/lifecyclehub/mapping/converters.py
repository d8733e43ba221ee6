"""Converters: named, pure functions from a vendor's value to a canonical one. They raise ValueError with a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from lifecyclehub.mapping.functions import as_text, instant_of
from lifecyclehub.model import Money
from lifecyclehub.model.things import FieldType

Converter: TypeAlias = Callable[[Any], Any]

_DECIMAL = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,12})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_EPOCH = re.compile(r"-?[0-9]{1,15}")
_XERO_DATE = re.compile(r"/Date\((-?[0-9]{1,15})([+-][0-9]{4})?\)/")
_EMAIL = re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+\.[^@\s<>,;\".]+")
_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_FLAGS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_NO_MONEY = "is no money (an object with minor, currency and decimal)"
_MILLISECONDS_FROM = 100_000_000_000  # 5138 in seconds, 1973 in milliseconds


class Minor(int):
    """An amount that is in minor units already."""


def text(value: Any) -> str:
    """Text as it is; numbers in plain notation. Objects, lists and flags are no text."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return as_text(value)
    raise ValueError("is no text")


def strip(value: Any) -> str:
    """Text without white space around it."""
    return text(value).strip()


def lower(value: Any) -> str:
    """Text in lower case."""
    return text(value).lower()


def upper(value: Any) -> str:
    """Text in upper case."""
    return text(value).upper()


def decimal(value: Any) -> Decimal:
    """An exact decimal number. `1.234,56` is refused rather than guessed, and so are binary fractions."""
    if isinstance(value, bool | float):
        raise ValueError("is no exact number")  # noqa: TRY004 (converters have one kind of error)
    if isinstance(value, int | Decimal):
        number = Decimal(value)
        if not number.is_finite():
            raise ValueError("is no finite number")
        return number
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value.strip()):
        raise ValueError("is no decimal number such as 1234.56 (a point before the fraction, no other separators)")
    return Decimal(value.strip())


def integer(value: Any) -> int:
    """A whole number."""
    if isinstance(value, str) and not _INTEGER.fullmatch(value.strip()):
        raise ValueError("is no whole number")
    number = decimal(value)
    if number != number.to_integral_value():
        raise ValueError("is no whole number")
    return int(number)


def number(value: Any) -> int | Decimal:
    """A number: whole where it is, else an exact decimal."""
    exact = decimal(value)
    return int(exact) if exact == exact.to_integral_value() else exact


def money_minor(value: Any) -> Minor:
    """An amount that the vendor gives in minor units already (cents)."""
    return Minor(integer(value))


def flag(value: Any) -> bool:
    """True or false; also the words true, false, yes, no, 1, 0."""
    if isinstance(value, bool):
        return value
    known = _FLAGS.get(str(value).strip().lower())
    if known is None:
        raise ValueError("is neither true nor false")
    return known


def _from_epoch(count: int, *, unit: str = "") -> datetime:
    seconds = unit == "s" or (not unit and abs(count) < _MILLISECONDS_FROM)
    whole, rest = (count, 0) if seconds else divmod(count, 1000)
    return datetime.fromtimestamp(whole, UTC).replace(microsecond=rest * 1000)


def _instant(value: Any, unit: str = "") -> datetime:
    try:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        if isinstance(value, int | Decimal) and not isinstance(value, bool) and value == int(value):
            return _from_epoch(int(value), unit=unit)
        if isinstance(value, str):
            said = value.strip()
            if found := _XERO_DATE.fullmatch(said):
                return _from_epoch(int(found[1]), unit="ms")  # the offset only says how Xero would show it
            if _EPOCH.fullmatch(said):
                return _from_epoch(int(said), unit=unit)
            return instant_of(said)
    except (ValueError, OverflowError, OSError):
        pass
    raise ValueError("is no instant (ISO 8601 with a time zone, or a count of seconds or milliseconds)")


def instant(value: Any) -> datetime:
    """An instant in UTC, from ISO 8601 with a time zone, seconds or milliseconds since 1970, or `/Date(1700000000000+0000)/`."""
    return _instant(value)


def epoch_s(value: Any) -> datetime:
    """An instant from seconds since 1970, whatever their number."""
    return _instant(value, "s")


def epoch_ms(value: Any) -> datetime:
    """An instant from milliseconds since 1970, whatever their number."""
    return _instant(value, "ms")


def instant_utc(value: Any) -> datetime:
    """An instant whose vendor leaves the zone out and means UTC (Xero's `DateString` and `…DateUTC`)."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return _instant(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return _instant(value)


def calendar_date(value: Any) -> date:
    """A calendar day: a date, ISO text that begins with one, or an instant's day in UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.match(r"\d{4}-\d{2}-\d{2}(T|$)", value.strip()):
        said = value.strip()
        try:
            written = date.fromisoformat(said[:10])
            return written if len(said) == 10 or datetime.fromisoformat(said).tzinfo is None else _instant(said).date()
        except ValueError as error:
            raise ValueError("is no date such as 2026-01-31") from error
    try:
        return _instant(value).date()
    except ValueError as error:
        raise ValueError("is no date such as 2026-01-31") from error


def email(value: Any) -> str:
    """An e-mail address in lower case, without a name around it."""
    said = text(value).strip().lower()
    if not _EMAIL.fullmatch(said) or len(said) > 254:
        raise ValueError("is no e-mail address")
    return said


def domain(value: Any) -> str:
    """The domain of an e-mail address, a URL or a host, in lower case, without `www.`."""
    said = text(value).strip().lower()
    if "@" in said and "/" not in said:
        said = said.rpartition("@")[2]
    elif not _DOMAIN.fullmatch(said):  # most are hosts already, and a URL takes long to be read
        try:
            said = urlsplit(said if "//" in said else "//" + said).hostname or ""
        except ValueError as error:
            raise ValueError("is no domain") from error
    said = said.rstrip(".").removeprefix("www.")
    try:
        said = said.encode("idna").decode() if not said.isascii() else said
    except UnicodeError as error:
        raise ValueError("is no domain") from error
    if not _DOMAIN.fullmatch(said):
        raise ValueError("is no domain")
    return said


def currency(value: Any) -> str:
    """An ISO 4217 code in upper case."""
    said = text(value).strip().upper()
    if not _CURRENCY.fullmatch(said):
        raise ValueError("is no ISO 4217 currency code such as EUR")
    return said


def major(value: Any) -> Decimal:
    """The amount of `{minor, currency, decimal}` in the currency's usual notation, exact."""
    amount = value.get("decimal") if isinstance(value, Mapping) else None
    if not isinstance(amount, Decimal):
        raise ValueError(_NO_MONEY)  # noqa: TRY004 (converters have one kind of error)
    return amount


def minor(value: Any) -> int:
    """The whole number of minor units of `{minor, currency, decimal}`."""
    amount = value.get("minor") if isinstance(value, Mapping) else None
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise ValueError(_NO_MONEY)  # noqa: TRY004 (converters have one kind of error)
    return amount


def iso_date(value: Any) -> str:
    """A day as `2026-01-31`."""
    return calendar_date(value).isoformat()


def iso_instant(value: Any) -> str:
    """An instant as `2026-01-31T09:00:00Z`."""
    return as_text(_instant(value))


def to_epoch_ms(value: Any) -> int:
    """An instant, or the first moment of a day in UTC, as milliseconds since 1970."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    moment = _instant(value)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def html(value: Any) -> str:
    """Plain text as HTML: special characters escaped, lines broken with `<br>`."""
    said = text(value)
    for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#x27;"), ("\n", "<br>")):
        said = said.replace(plain, escaped)
    return said


CONVERTERS: Mapping[str, Converter] = MappingProxyType(
    {
        "text": text,
        "strip": strip,
        "lower": lower,
        "upper": upper,
        "integer": integer,
        "decimal": decimal,
        "number": number,
        "money_minor": money_minor,
        "flag": flag,
        "instant": instant,
        "instant_utc": instant_utc,
        "epoch_s": epoch_s,
        "epoch_ms": epoch_ms,
        "date": calendar_date,
        "email": email,
        "domain": domain,
        "currency": currency,
        "major": major,
        "minor": minor,
        "iso_date": iso_date,
        "iso_instant": iso_instant,
        "to_epoch_ms": to_epoch_ms,
        "html": html,
    }
)

BY_TYPE: Mapping[FieldType, Converter] = MappingProxyType(
    {
        "text": text,
        "email": email,
        "choice": text,
        "instant": instant,
        "date": calendar_date,
        "amount": decimal,
        "currency": currency,
        "number": number,
        "flag": flag,
    }
)
"""What a canonical field takes, applied after `convert` and `lookup`."""


def amount_in_minor(value: Any, currency_code: str) -> int:
    """Turn a decimal amount into minor units; a `Minor` is left as it is. Raises ValueError when it is not exact."""
    return int(value) if isinstance(value, Minor) else Money.of(value, currency_code).minor
