"""Whatever is written in a mapping and whatever a tool sends: an answer or one of our errors, soon, exact, and the same again."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping import CONVERTERS, compile_condition, compile_expression, load_mappings
from lifecyclehub.mapping.converters import amount_in_minor
from lifecyclehub.mapping.entries import read_toml
from lifecyclehub.mapping.functions import Exact
from lifecyclehub.messages import Document
from lifecyclehub.model import Money
from tests.unit.mapping.test_files import DEAL, About

WHERE = "mappings/x.toml: deal.title"
SOON_S = 5.0  # the watchdog's patience; a hundredth of it is usual
BRIEF = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

# --- what people write, and what tools send ----------------------------------------------------------------------------

names = st.sampled_from(("a", "b", "amount", "items", "name", '"x y"', "@", "`1`", "`0.1`", "`null`", "'won'", "'2026-01-31'"))
numbers = st.one_of(st.integers(-(10**15), 10**15), st.decimals(allow_nan=False, allow_infinity=False, places=4))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.text(max_size=12),
    st.sampled_from(("won", "12.50", "1.234,56", "2026-01-31", "2026-01-31T09:00:00Z", "", "\x00", "ﬀ", "-0", "1e400")),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
)
members = st.sampled_from(("a", "b", "amount", "items", "name", "x y", "properties", "stage"))
documents = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(members, inner, max_size=5)), max_leaves=20
)


def calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    functions = st.sampled_from(sorted(Exact.FUNCTION_TABLE))
    return st.builds(lambda name, given_: f"{name}({', '.join(given_)})", functions, st.lists(inner, min_size=1, max_size=3))


def joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signs = st.sampled_from((" || ", " && ", " == ", " != ", " < ", " >= ", " | ", "."))
    return st.builds(lambda left, sign, right: f"{left}{sign}{right}", inner, signs, inner)


def wrapped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    forms = st.sampled_from(
        ("({})", "!{}", "[{}, {}]", "{{k: {}}}", "{}[]", "{}[*]", "{}[0]", "{}[?{}]", "{}.*", "&{}", "{}[::-1]")
    )
    return st.builds(lambda form, text: form.format(text, text), forms, inner)


expressions = st.recursive(names, lambda inner: st.one_of(calls(inner), joined(inner), wrapped(inner)), max_leaves=8)


properties = st.fixed_dictionaries(
    {"name": leaves, "stage": st.one_of(st.sampled_from(("new", "yes")), leaves)},
    optional=dict.fromkeys(("amount", "currency", "start", "scope", "region"), leaves),
)
records = st.one_of(
    documents,
    st.fixed_dictionaries({"properties": properties}, optional={"won": leaves, "owner": st.dictionaries(members, leaves)}),
)


OAK_DEAL = load_mappings({"deal.toml": DEAL}, {}, About()).inbound("oak.deal")


# --- the properties ----------------------------------------------------------------------------------------------------


def answer(text: str, data: Any) -> tuple[str, Any]:
    """Compile and evaluate; anything but a value or our error gets out."""
    try:
        return "value", compile_expression(text, WHERE).search(data)
    except MappingError as error:
        return "error", str(error)


def holds_a_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(holds_a_float, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_a_float, value))
    return isinstance(value, float)


@BRIEF
@given(expressions, documents)
def test_an_expression_gives_a_value_or_our_error_soon_exactly_and_twice_the_same(text: str, data: Any) -> None:
    began = time.monotonic()
    first = answer(text, data)
    assert time.monotonic() - began < SOON_S
    assert answer(text, data) == first
    assert not holds_a_float(first[1]), "a binary fraction has lost cents already"


@BRIEF
@given(expressions, documents)
def test_a_condition_is_true_or_false_or_says_why_neither(text: str, data: Any) -> None:
    try:
        condition = compile_condition(text, WHERE)
    except MappingError:
        return
    first = condition.decide(data)
    assert isinstance(first, bool) or first.reason
    assert condition.decide(data) == first


@BRIEF
@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_our_error(text: str) -> None:
    kind, said = answer(text, {"a": [1, {"b": "c"}]})
    assert kind == "value" or said


@settings(BRIEF, max_examples=12)
@given(st.integers(2, 40), st.sampled_from(("[@,@]", "{a: @, b: @}", "[@,@][]", "map(&[@,@], to_array(@))")))
def test_what_doubles_at_each_step_ends(steps: int, step: str) -> None:
    began = time.monotonic()
    answer(" | ".join([step] * steps) + " | to_string(@)", {"a": 1})
    assert time.monotonic() - began < SOON_S


@BRIEF
@given(st.sampled_from(sorted(CONVERTERS)), st.one_of(leaves, documents, st.floats(), st.binary(max_size=8)))
def test_a_converter_gives_a_value_or_a_value_error(name: str, value: Any) -> None:
    try:
        made = CONVERTERS[name](value)
    except ValueError:
        return
    assert not isinstance(made, float)
    assert CONVERTERS[name](value) == made


@BRIEF
@given(st.integers(-(10**12), 10**12), st.sampled_from(("EUR", "JPY", "KWD", "USD")))
def test_money_goes_out_and_comes_in_again_to_the_unit(minor: int, currency: str) -> None:
    amount = Money(minor, currency).as_input()
    assert isinstance(amount["decimal"], Decimal)
    assert amount_in_minor(CONVERTERS["decimal"](str(amount["decimal"])), currency) == minor
    assert CONVERTERS["minor"](amount) == minor
    total = answer("sum([amount.minor, `1`])", {"amount": amount})
    assert total == ("value", minor + 1)


@BRIEF
@given(records, st.one_of(st.just("EUR"), leaves))
def test_any_document_is_mapped_or_refused_with_its_file(data: Any, currency: Any) -> None:
    document = Document(kind="oak.deal", id="7", data=data if isinstance(data, dict) else {"properties": data})
    known = {"id": "1", "name": "x", "currency": currency, "timezone": "UTC"}

    def mapped() -> Any:
        try:
            assert OAK_DEAL is not None
            return OAK_DEAL.map(document, known).values
        except MappingError as error:
            return f"{error.where}: {error}"

    first = mapped()
    assert mapped() == first
    if isinstance(first, str):
        assert first.startswith("mappings/oak/")
    else:
        assert all(not holds_a_float(value) for value in first.values())
        assert all(value is None or isinstance(value, str | int | Decimal | date | datetime) for value in first.values())


@BRIEF
@given(st.text(max_size=80))
def test_any_file_is_read_or_refused(text: str) -> None:
    for content in (text, f"format = 1\n{text}"):
        with contextlib.suppress(MappingError):
            assert read_toml(content, "mappings/x.toml")["format"] == 1
