"""What a tool made of our value is still our value; what somebody else wrote is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from lifecyclehub.intake.echo import is_echo
from lifecyclehub.store.things import observed

LONG = "A note that is longer than what the tool takes, " * 4


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("Brightwater", "Brightwater"),
        (" Brightwater\n", "Brightwater"),
        ("ADA@Brightwater.example", "ada@brightwater.example"),
        ("Straße", "STRASSE"),
        ("one  two", "one two"),
        ("<p>one &amp; two</p>", "one & two"),
        ("one & two", "one &amp; two"),
        ("+43 1 234", "+431234"),
        (LONG, LONG[:120]),
        (Decimal("12.346"), Decimal("12.35")),
        (Decimal("12.50"), Decimal("12.5")),
        ("12.344", "12.34"),
        (7, 7),
        (True, True),
        (None, None),
    ],
)
def test_another_way_of_writing_it_is_an_echo(sent: Any, seen: Any) -> None:
    assert is_echo(observed(sent), observed(seen))


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("Brightwater", "Brightwater Ltd"),
        ("Brightwater", "Bright"),
        ("Brightwater", ""),
        ("Brightwater", None),
        (None, "Brightwater"),
        ("client", "former"),
        (12, 13),
        (Decimal("12.35"), Decimal("12.345")),
        (Decimal("12.345"), Decimal("12.5")),
        (True, False),
        (True, 1),
        ("NaN", "Infinity"),
        ("1.50", "150"),
        ("-5", "5"),
        ("<b></b>", "&nbsp;"),
    ],
)
def test_another_value_is_none(sent: Any, seen: Any) -> None:
    assert not is_echo(observed(sent), observed(seen))
