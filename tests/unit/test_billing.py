"""Nothing is billed twice, whatever the order and whoever invoiced it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecyclehub.billing import Charge, Draft, Invoice, InvoiceLine, Subject, due_charges, due_on, split
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.model import Money

PROJECT = Subject("eng_1", "prj_1")


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def charge(name: str, minor: int, **more: Any) -> Charge:
    return Charge(**{"id": name, "engagement": "eng_1", "project": "prj_1", "description": name, "amount": eur(minor), **more})


def invoice(name: str, **more: Any) -> Invoice:
    return Invoice(**{"id": name, "engagement": "eng_1", "status": "draft", "number": name.upper(), **more})


def line(of: str, minor: int, charge: str | None = None) -> InvoiceLine:
    return InvoiceLine(invoice=of, amount=eur(minor), charge=charge)


def taken(draft: Draft) -> list[tuple[str, int, str | None]]:
    return [(one.description, one.amount.minor, one.charge) for one in draft.lines]


def test_a_draft_takes_the_due_charges_of_its_subject() -> None:
    charges = [
        charge("scope", 100_000),
        charge("later", 5_000, due=False),
        charge("other", 7_000, project="prj_2"),
        charge("shared", 2_000, project=None),
        charge("foreign", 9_000, engagement="eng_2"),
    ]
    assert taken(due_charges(charges, [], [], PROJECT)) == [("scope", 100_000, "scope"), ("shared", 2_000, "shared")]


@pytest.mark.parametrize("status", ["drafting", "draft", "approved", "paid"])
def test_a_charge_on_a_live_invoice_is_never_billed_again(status: str) -> None:
    draft = due_charges([charge("scope", 100)], [line("inv", 100, "scope")], [invoice("inv", status=status)], PROJECT)
    assert draft == Draft((), "Every charge is on an invoice already.")


def test_a_void_invoice_frees_its_charges() -> None:
    draft = due_charges([charge("scope", 100)], [line("inv", 100, "scope")], [invoice("inv", status="void")], PROJECT)
    assert taken(draft) == [("scope", 100, "scope")]


def test_a_deposit_is_taken_off_once() -> None:
    charges = [charge("deposit", 30_000, source_kind="deposit"), charge("scope", 100_000)]
    lines = [line("dep", 30_000, "deposit")]
    first = due_charges(charges, lines, [invoice("dep", status="paid")], PROJECT)
    assert taken(first) == [("scope", 100_000, "scope"), ("Less already invoiced (DEP)", -30_000, None)]
    assert first.total == 70_000
    charges.append(charge("change", 5_000))
    lines += [line("inv", 100_000, "scope"), line("inv", -30_000)]
    second = due_charges(charges, lines, [invoice("dep", status="paid"), invoice("inv", project="prj_1")], PROJECT)
    assert taken(second) == [("change", 5_000, "change")]


def test_a_deposit_itself_is_billed_in_full() -> None:
    charges = [charge("deposit", 30_000, source_kind="deposit"), charge("second", 10_000, source_kind="deposit")]
    assert due_charges(charges, [line("dep", 30_000, "deposit")], [invoice("dep")], PROJECT).total == 10_000


def test_what_a_person_invoiced_by_hand_is_taken_off() -> None:
    draft = due_charges([charge("scope", 100_000)], [], [invoice("hand", total=eur(40_000), status="approved")], PROJECT)
    assert draft.total == 60_000


def test_nothing_left_is_an_answer() -> None:
    draft = due_charges([charge("scope", 100)], [], [invoice("hand", total=eur(100))], PROJECT)
    assert draft == Draft((), "Everything due was invoiced already.")
    assert due_charges([], [], [], PROJECT).lines == ()
    assert due_charges([charge("a", 1, due=False)], [], [], PROJECT).reason == "1 charges are not due yet."


def test_more_invoiced_than_due_never_goes_below_zero() -> None:
    assert due_charges([charge("scope", 100)], [], [invoice("hand", total=eur(900))], PROJECT).lines == ()


def test_a_credit_note_gives_back_what_was_invoiced_by_hand() -> None:
    invoices = [invoice("hand", total=eur(40_000)), invoice("credit", kind="credit", total=eur(40_000))]
    assert due_charges([charge("scope", 100_000)], [], invoices, PROJECT).total == 100_000


def test_a_credit_note_alone_never_raises_the_bill() -> None:
    credit = invoice("credit", kind="credit", total=eur(40_000))
    assert due_charges([charge("scope", 100_000)], [], [credit], PROJECT).total == 100_000


def test_two_projects_do_not_take_off_the_same_advance() -> None:
    charges = [charge("one", 100), charge("two", 100, project="prj_2")]
    hand = invoice("hand", total=eur(60))
    first = due_charges(charges, [], [hand], PROJECT)
    assert first.total == 40
    lines = [line("inv", 100, "one"), line("inv", -60)]
    second = due_charges(charges, lines, [hand, invoice("inv", project="prj_1")], Subject("eng_1", "prj_2"))
    assert second.total == 100


def test_a_whole_engagement_is_billed_at_once() -> None:
    charges = [charge("one", 100), charge("two", 50, project="prj_2")]
    assert due_charges(charges, [], [], Subject("eng_1")).total == 150


def test_mixed_currencies_are_a_persons_question() -> None:
    with pytest.raises(ConfigurationError, match="EUR and USD"):
        due_charges([charge("a", 1), charge("b", 1, amount=Money(1, "USD"))], [], [], PROJECT)


def test_rows_are_what_a_draft_invoice_takes() -> None:
    (row,) = due_charges([charge("scope", 1_250)], [], [], PROJECT).as_rows()
    assert row["amount"]["minor"] == 1_250
    assert (row["description"], row["charge"], str(row["amount"]["decimal"])) == ("scope", "scope", "12.50")


@given(st.lists(st.tuples(st.integers(1, 10**9), st.booleans()), max_size=6), st.integers(0, 10**10))
def test_drafting_again_and_again_bills_every_charge_once_and_no_more_than_is_owed(
    work: list[tuple[int, bool]], by_hand: int
) -> None:
    charges = [charge(f"c{at}", minor, source_kind="deposit" if deposit else "scope") for at, (minor, deposit) in enumerate(work)]
    invoices = [invoice("hand", total=eur(by_hand))]
    lines: list[InvoiceLine] = []
    for round_ in range(len(charges) + 1):
        draft = due_charges(charges[: round_ + 1], lines, invoices, PROJECT)
        if draft.lines:
            invoices.append(invoice(f"i{round_}", project="prj_1"))
            lines += [InvoiceLine(invoice=f"i{round_}", amount=one.amount, charge=one.charge) for one in draft.lines]
            assert draft.total > 0
    billed = [one.charge for one in lines if one.charge]
    assert len(billed) == len(set(billed))
    assert sum(one.amount.minor for one in lines) <= sum(minor for minor, _ in work)


def test_the_due_date_follows_the_terms() -> None:
    assert due_on(date(2026, 1, 31), 14) == date(2026, 2, 14)
    assert due_on(date(2026, 1, 31), None) is None
    with pytest.raises(ValueError, match="before the invoice"):
        due_on(date(2026, 1, 31), -1)


def test_a_split_gives_what_is_left_over_to_the_largest_remainders() -> None:
    assert [part.minor for part in split(eur(100), [1, 1, 1])] == [34, 33, 33]
    assert [part.minor for part in split(eur(-100), [1, 1, 1])] == [-34, -33, -33]
    assert [part.minor for part in split(eur(10), [3, 3, 1])] == [4, 4, 2]
    with pytest.raises(ValueError, match="no weights"):
        split(eur(1), [0])


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any))
def test_a_split_never_loses_a_unit(minor: int, weights: list[int]) -> None:
    assert sum(part.minor for part in split(eur(minor), weights)) == minor
