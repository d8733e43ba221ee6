"""What a tool made of our value, in a way that its connector declares, is still our value; anything else is somebody's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from lifecyclehub.connector.about import REWRITES
from lifecyclehub.intake.echo import echoes
from lifecyclehub.store.things import observed

LONG = "A note that is longer than what the tool takes, " * 4

REWRITTEN: list[tuple[str, Any, Any]] = [
    ("space", " Brightwater\n", "Brightwater"),
    ("space", "one  two", "one two"),
    ("case", "ADA@Brightwater.example", "ada@brightwater.example"),
    ("case", "Straße", "STRASSE"),
    ("markup", "<p>one &amp; two</p>", "one & two"),
    ("markup", "one & two", "one &amp; two"),
    ("signs", "+43 1 234", "+431234"),
    ("cut", LONG, LONG[:120]),
    ("digits", Decimal("12.346"), Decimal("12.35")),
    ("digits", "12.344", "12.34"),
    ("digits", "12.50", "12.5"),
]


def is_echo(sent: Any, seen: Any, *rewrites: str) -> bool:
    return echoes(frozenset(rewrites))(observed(sent), observed(seen))


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("Brightwater", "Brightwater"),
        ("Ame\u0301lie", "Am\u00e9lie"),
        (Decimal("12.50"), Decimal("12.5")),
        (7, 7),
        (True, True),
        (None, None),
    ],
)
def test_the_same_value_is_an_echo_in_every_tool(sent: Any, seen: Any) -> None:
    assert is_echo(sent, seen)


@pytest.mark.parametrize(("way", "sent", "seen"), REWRITTEN)
def test_another_way_of_writing_it_is_an_echo_where_the_tool_writes_it_so(way: str, sent: Any, seen: Any) -> None:
    assert is_echo(sent, seen, way)
    assert is_echo(sent, seen, *REWRITES)


@pytest.mark.parametrize(("way", "sent", "seen"), REWRITTEN)
def test_it_is_somebodys_change_where_the_tool_does_not(way: str, sent: Any, seen: Any) -> None:
    others = REWRITES - {way} - ({"signs"} if way == "space" else set())  # which leaves no blanks either
    assert not is_echo(sent, seen)
    assert not is_echo(sent, seen, *others)


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
def test_another_value_is_none_whatever_the_tool_does(sent: Any, seen: Any) -> None:
    assert not is_echo(sent, seen, *REWRITES)


def test_a_change_of_punctuation_alone_is_heard() -> None:
    assert not is_echo("Brightwater, Ltd", "Brightwater Ltd.")
