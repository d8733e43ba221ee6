"""Expressions are bounded, exact, and every failure says where and how to mend."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping import MAX_LENGTH, compile_expression

WHERE = "mappings/hubspot/deal.toml: deal.title"
NAMES = st.sampled_from(["a", "b", "deal", "_x1", "properties"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


def search(text: str, data: object) -> object:
    return compile_expression(text, WHERE).search(data)


@given(st.lists(NAMES, min_size=1, max_size=4), VALUES)
def test_a_plain_path_answers_as_jmespath_does(names: list[str], data: object) -> None:
    text = ".".join(names)
    assert search(text, data) == jmespath.search(text, data)


@pytest.mark.parametrize(
    "text",
    [
        "a[*].b",
        "a[?b > `1`].b | [0]",
        "a[].b",
        "a[0].b || c",
        "*.b",
        "{x: c, y: a[1].b}",
        "[c, a]",
        "a[1:].b",
        "!c",
        "length(a)",
        "sort_by(a, &b)[-1].b",
        "not_null(z, c)",
        "join('-', keys(d))",
        "d.x && c",
        'd."x"',
        "a[?b == `1`] | [0].b",
        '`{"k": [1, 2]}`.k',
    ],
)
def test_an_expression_answers_as_jmespath_does(text: str) -> None:
    data = {"a": [{"b": 1}, {"b": 2}, {"c": 1}][:2], "c": "see", "d": {"x": "y", "b": 3}}
    assert search(text, data) == jmespath.search(text, data)


@pytest.mark.parametrize(
    "bomb",
    [
        "|".join(["[@,@]"] * 90),
        "|".join(["[@,@]|[]"] * 45),
        "|".join(["join('',[@,@])"] * 60),
        "|".join(["concat(@,@)"] * 60),
        "|".join(["{a:@,b:@}"] * 80) + "|to_string(@)",
        "|".join(["[@,@]"] * 45) + " == " + "|".join(["[@,@]"] * 45),
    ],
)
def test_an_expression_bomb_stops_within_its_budget(bomb: str) -> None:
    started = time.perf_counter()
    with pytest.raises(MappingError, match="takes more than 50,000 steps"):
        search(bomb, "seed " * 20)
    assert time.perf_counter() - started < 2


def test_nested_projections_over_a_large_list_stop_within_the_budget() -> None:
    with pytest.raises(MappingError, match="steps on this record"):
        search("rows[*].[a,b,c,d,e,f].[@[0],@[1],@[2]]", {"rows": [{"a": 1}] * 5_000})


def test_a_large_but_honest_record_fits_the_budget() -> None:
    assert search("rows[?id == `4999`].name | [0]", {"rows": [{"id": at, "name": f"n{at}"} for at in range(5_000)]}) == "n4999"


def test_an_expression_that_is_too_long_is_refused() -> None:
    with pytest.raises(MappingError, match="1,000 are allowed"):
        compile_expression("a" * (MAX_LENGTH + 1), WHERE)


@pytest.mark.parametrize("text", ["!" * 990 + "a", "[" * 499 + "a" + "]" * 499, "a" + "||a" * 300])
def test_deep_nesting_is_refused_and_no_crash(text: str) -> None:
    with pytest.raises(MappingError, match=r"nested too deeply|cannot be used") as caught:
        compile_expression(text, WHERE)
    assert str(caught.value).startswith(WHERE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deal.", "is not a JMESPath expression"),
        ("deal.status = 'won'", "Write && for and"),
        ("`won` == status", "single quotes"),
        ("nonsense(a)", "there is no function nonsense"),
        ("  ", "must not be empty"),
        ("`NaN`", "cannot be used"),
        ("length(a, b)", "length() takes 1 arguments, not 2"),
        ("present()", "present() takes 1 arguments, not 0"),
        ("!owner.record && owner.email", "write !(owner.record)"),
    ],
)
def test_a_wrong_expression_says_where_and_how_to_mend_it(text: str, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        search(text, {"a": [], "b": []})
    assert str(caught.value).startswith(WHERE)
    assert said in str(caught.value)


def test_comparing_text_with_a_number_is_an_error_with_its_place() -> None:
    with pytest.raises(MappingError, match="different types") as caught:
        search("a > `4`", {"a": "5"})
    assert str(caught.value).startswith(WHERE)


def test_decimals_pass_through_unchanged() -> None:
    amount = Decimal("12.340000000000000000001")
    assert search("a || b", {"a": None, "b": amount}) is amount
    assert search("max([a, b])", {"a": Decimal("0.1"), "b": Decimal("0.3")}) == Decimal("0.3")


def test_sums_and_means_are_exact() -> None:
    tenths = {"all": [Decimal("0.1")] * 3}
    assert search("sum(all)", tenths) == Decimal("0.3")
    assert search("avg(`[1, 2]`)", {}) == Decimal("1.5")
    assert search("`0.1`", {}) == Decimal("0.1")
    assert search("to_number('0.10')", {}) == Decimal("0.10")
    assert search("to_number('1e400')", {}) is None


@pytest.mark.parametrize("name", ["sum", "avg", "min", "max"])
def test_a_binary_fraction_is_refused_where_money_is_reckoned(name: str) -> None:
    with pytest.raises(MappingError, match="exact"):
        search(f"{name}(all)", {"all": [0.1, 0.2]})


def test_our_functions_build_texts_without_what_is_missing() -> None:
    data = {"title": "Site", "url": None, "on": date(2026, 1, 31), "at": datetime(2026, 1, 31, 23, 30, tzinfo=UTC), "n": 5}
    assert search("concat('A ', title)", data) == "A Site"
    assert search("concat('A ', url)", data) is None
    assert search("lines(concat('Deal: ', title), concat('At ', url), on)", data) == "Deal: Site\n2026-01-31"
    assert search("present(url) || present(title)", data) is True
    assert search("date_in(at, 'Europe/Berlin')", data) == date(2026, 2, 1)
    assert search("add_days(on, n)", data) == date(2026, 2, 5)
    assert search("add_days(on, url)", data) is None
    assert search("money(m)", {"m": {"decimal": Decimal("1250.00"), "currency": "EUR"}}) == "1,250.00 EUR"


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(MappingError, match="Mars/Phobos"):
        search("date_in(at, 'Mars/Phobos')", {"at": datetime(2026, 1, 1, tzinfo=UTC)})


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("deal.value.amount", {"deal.value.amount"}),
        ("a.b || c", {"a.b", "c"}),
        ("rows[?done == `true`].title", {"rows", "rows.[].done", "rows.[].title"}),
        ("length(rows[*].x)", {"rows", "rows.[].x"}),
        ("sort_by(rows, &at)[-1].v", {"rows", "rows.[].at"}),
        ("deal.{x: title, y: value.amount}", {"deal", "deal.title", "deal.value.amount"}),
        ("rows[0].id", {"rows.[].id"}),
        ("deal | title", {"deal.title"}),
        ("rows[].id", {"rows", "rows.[].id"}),
    ],
)
def test_an_expression_tells_which_paths_it_reads(text: str, paths: set[str]) -> None:
    assert {".".join(path) for path in compile_expression(text, WHERE).paths} == paths


@pytest.mark.parametrize("text", ["&name", "[&name]", "{a: &name}", "not_null(&name)", "to_array(&name)", "name || &name"])
def test_an_expression_that_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(MappingError, match="&name"):
        compile_expression(text, WHERE)


def test_what_a_function_looks_at_may_be_named() -> None:
    assert compile_expression("sort_by(@, &name)[0].name", WHERE).search([{"name": "b"}, {"name": "a"}]) == "a"
