"""A condition is true, false, or says which part of it could not be answered."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping import Undecided, compile_condition
from lifecyclehub.mapping.shape import Members, thing_shape

WHERE = 'mappings/handoffs.toml: handoff "x", when'
SHAPE = Members({"deal": thing_shape("deal")})


def decide(text: str, deal: dict[str, Any]) -> Any:
    return compile_condition(text, WHERE, SHAPE).decide({"deal": deal})


@pytest.mark.parametrize(
    ("text", "deal", "answer"),
    [
        ("deal.status == 'won'", {"status": "won"}, True),
        ("deal.status == 'won'", {"status": "lost"}, False),
        ("deal.status != 'won'", {"status": "lost"}, True),
        ("deal.value.amount > `1000`", {"value": {"amount": 1001}}, True),
        ("deal.value.amount > `0.5`", {"value": {"amount": Decimal("0.5")}}, False),
        ("present(deal.value) && deal.value.amount > `1000`", {}, False),
        ("!present(deal.won_at)", {"won_at": None}, True),
        ("!present(deal.value) || deal.value.amount < `5`", {}, True),
        ("present(deal.status) && !(deal.status == 'won')", {"status": "open"}, True),
        ("deal.due_on < '2026-02-01'", {"due_on": date(2026, 1, 31)}, True),
        ("deal.won_at >= '2026-01-01T00:00:00Z'", {"won_at": datetime(2026, 1, 1, tzinfo=UTC)}, True),
        ("present(deal.title) && present(deal.status) && !(deal.status == 'won')", {"title": "x", "status": "won"}, False),
        ("contains(deal.title, 'Site')", {"title": "New Site"}, True),
        ("deal.custom.vip", {"custom": {"vip": False}}, False),
    ],
)
def test_a_condition_gives_exactly_true_or_false(text: str, deal: dict[str, Any], answer: bool) -> None:
    assert decide(text, deal) is answer


@pytest.mark.parametrize(
    ("text", "deal", "named"),
    [
        ("deal.status == 'won'", {}, "deal.status is null in deal.status == 'won'"),
        ("deal.value.amount > `5`", {"value": None}, "deal.value.amount is null"),
        ("deal.status == 'won' && deal.title == 'x'", {"status": "won"}, "deal.title is null"),
        ("deal.title", {"title": "x"}, "deal.title is text, not true or false"),
        ("deal.custom.vip", {}, "deal.custom.vip is null"),
        ("deal.title > `4`", {"title": "5"}, "compares text with a number"),
        ("deal.value.amount == '5'", {"value": {"amount": 5}}, "compares a number with text"),
        ("contains(deal.title, 'x')", {}, "contains() in contains(deal.title, 'x') was given null"),
        ("deal.custom.list == 'x'", {"custom": {"list": ["x"]}}, "is a list"),
        ("length(deal.custom.rows[?n > `1`]) > `0`", {"custom": {"rows": [{}]}}, "n is null in n > `1`"),
        ("deal.due_on < 'soon'", {"due_on": date(2026, 1, 1)}, "text that is none"),
        ("deal.value", {"value": {"amount": 1}}, "is an object, not true or false"),
    ],
)
def test_what_cannot_be_answered_names_the_part_that_is_missing(text: str, deal: dict[str, Any], named: str) -> None:
    decision = decide(text, deal)
    assert isinstance(decision, Undecided)
    assert named in decision.reason
    assert decision.reason.startswith(WHERE)


def test_undecided_can_never_be_taken_for_true_or_false() -> None:
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(decide("deal.status == 'won'", {}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deal.status == won", "If won is meant as text, quote it: 'won'."),
        ("deal.status == 'wonn'", "deal.status is never 'wonn'. It is one of: open, won, lost."),
        ("deal.statos == 'won'", "there is no deal.statos here. Did you mean status?"),
        ("deel.status == 'won'", "Did you mean deal?"),
        ("deal.title.x == 'y'", "deal.title is a single value"),
        ("!(deal.status == 'won')", "Test it first: present(deal.status)"),
        ("present(deal.title) && !(deal.status == 'won')", "Test it first: present(deal.status)"),
        ("!(deal.title == 'x' || deal.status == 'won')", "says nothing when deal.title is missing"),
        ("deal.status == `null`", "Write present(deal.status)"),
        ("'won'", "neither true nor false"),
    ],
)
def test_a_condition_that_would_silently_be_wrong_is_refused_when_applied(text: str, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        compile_condition(text, WHERE, SHAPE)
    assert said in str(caught.value)
    assert str(caught.value).startswith(WHERE)


def test_a_condition_bomb_is_undecided() -> None:
    decision = compile_condition("|".join(["[@,@]"] * 45) + " == 'x'", WHERE).decide({})
    assert isinstance(decision, Undecided)
    assert "steps" in decision.reason
