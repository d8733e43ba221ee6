"""Converters turn a vendor's value into ours exactly, or say why not."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from lifecyclehub.mapping import CONVERTERS

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "given", "made"),
    [
        ("text", 35436, "35436"),
        ("strip", " a ", "a"),
        ("lower", "ABC", "abc"),
        ("upper", "abc", "ABC"),
        ("integer", "14", 14),
        ("integer", Decimal("14.0"), 14),
        ("decimal", "1234.56", Decimal("1234.56")),
        ("decimal", "-0.5", Decimal("-0.5")),
        ("number", "3.0", 3),
        ("money_minor", "1250", 1250),
        ("flag", "yes", True),
        ("flag", False, False),
        ("instant", "2026-01-01T01:00:00+01:00", NEW_YEAR),
        ("instant", "2026-01-01T00:00:00.000Z", NEW_YEAR),
        ("instant", 1767225600000, NEW_YEAR),
        ("instant", "1767225600000", NEW_YEAR),
        ("instant", 1767225600, NEW_YEAR),
        ("instant", "/Date(1767225600000+0100)/", NEW_YEAR),
        ("instant", "/Date(1767225600000)/", NEW_YEAR),
        ("instant_utc", "2026-01-01T00:00:00", NEW_YEAR),
        ("epoch_ms", 1000, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ("date", "2026-01-31", date(2026, 1, 31)),
        ("date", "2026-01-31T00:00:00", date(2026, 1, 31)),
        ("date", "2026-01-31T23:30:00-05:00", date(2026, 2, 1)),
        ("date", "/Date(1767225600000+0000)/", date(2026, 1, 1)),
        ("email", " Ada@Acme.Example ", "ada@acme.example"),
        ("domain", "https://www.Acme.example/about?x=1", "acme.example"),
        ("domain", "ada@acme.example", "acme.example"),
        ("domain", "bücher.example", "xn--bcher-kva.example"),
        ("currency", "eur", "EUR"),
        ("major", {"minor": 1250, "currency": "EUR", "decimal": Decimal("12.50")}, Decimal("12.50")),
        ("minor", {"minor": 1250, "currency": "EUR", "decimal": Decimal("12.50")}, 1250),
        ("iso_date", date(2026, 1, 31), "2026-01-31"),
        ("iso_instant", NEW_YEAR, "2026-01-01T00:00:00Z"),
        ("to_epoch_ms", NEW_YEAR, 1767225600000),
        ("to_epoch_ms", date(2026, 1, 1), 1767225600000),
        ("html", 'a <b> & "c"\nd', "a &lt;b&gt; &amp; &quot;c&quot;<br>d"),
    ],
)
def test_a_converter_gives_the_canonical_value(name: str, given: Any, made: Any) -> None:
    got = CONVERTERS[name](given)
    assert got == made
    assert isinstance(got, type(made))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("decimal", "1.234,56"),
        ("decimal", "1,234.56"),
        ("decimal", "1 234"),
        ("decimal", "NaN"),
        ("decimal", Decimal("Infinity")),
        ("decimal", 0.1),
        ("decimal", True),
        ("decimal", "\uff11\uff12"),
        ("integer", "1.5"),
        ("money_minor", "12.5"),
        ("instant", "2026-01-01T00:00:00"),
        ("instant", "yesterday"),
        ("instant", 10**17),
        ("instant", True),
        ("date", "31.01.2026"),
        ("date", "2026-02-30"),
        ("email", "nobody"),
        ("email", "a@b@c.example"),
        ("domain", "localhost"),
        ("currency", "EURO"),
        ("flag", "perhaps"),
        ("text", ["a"]),
        ("text", True),
        ("major", 12),
    ],
)
def test_a_converter_refuses_what_it_would_have_to_guess(name: str, given: Any) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) "):
        CONVERTERS[name](given)
