"""A draft takes its charges with its claim, and a person's answer to what is parked gives them back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.dispatch.upkeep import Answered, Parking, answer, hold, park
from lifecyclehub.messages import Done, Retry
from lifecyclehub.store import tables as t
from lifecyclehub.store.upsert import insert_all
from tests.support.effects import DONE, advance, claim, claims, decide_again, effect, in_flight, put, ready_project, receive
from tests.support.story import Story


def due_invoice(story: Story) -> Prepared:
    """A closed project whose customer is known: its draft may be sent."""
    story.switch("won-deal-starts-delivery")
    story.switch("closed-project-drafts-invoice")
    prepared = ready_project(story)
    story.answer(prepared, DONE)
    (client,) = story.rows(t.client)
    with story.engine.begin() as conn:
        link = {
            "connection": "con_xero",
            "kind": "xero.contact",
            "record_id": "x1",
            "thing_kind": "client",
            "thing": client["id"],
        }
        insert_all(conn, t.link, [link])
    with story.engine.begin() as conn:
        conn.execute(update(t.project).values(status="closed", closed_at=story.clock.now()))
    decide_again(story)
    (row,) = story.rows(t.effect, action="create_draft_invoice")
    (ready,) = advance(story, row["id"])
    return ready


def test_a_draft_takes_its_charges_with_its_claim(story: Story) -> None:
    invoice = due_invoice(story)
    assert claim(story, invoice).verdict == "go"

    (line,) = story.rows(t.invoice_line)
    (charge,) = story.rows(t.charge)
    assert (line["charge"], line["amount_minor"], line["live"]) == (charge["id"], 1_200_000, True)
    assert story.rows(t.invoice)[0]["status"] == "drafting"
    assert effect(story, invoice)["thing"] == line["invoice"]


def test_a_retry_of_a_draft_takes_its_charges_no_second_time(story: Story) -> None:
    invoice = due_invoice(story)
    claim(story, invoice)
    receive(story, invoice, Retry("busy"))
    story.clock.at += 5
    (again,) = advance(story, invoice.effect)

    assert claim(story, again).verdict == "go"
    assert len(story.rows(t.invoice_line)) == 1
    assert len(story.rows(t.invoice)) == 1


def test_two_drafts_never_take_the_same_charge(story: Story) -> None:
    """As when two projects of one engagement close in the same moment."""
    invoice = due_invoice(story)
    twin = dict(effect(story, invoice), id="eff_twin", key="another", target=None)
    with story.engine.begin() as conn:
        insert_all(conn, t.effect, [twin])
    other = replace(invoice, effect="eff_twin", target=None)

    assert claims(story, invoice, other) == ["go", "again"]
    assert claim(story, other).verdict == "again", "also in a batch of its own"
    assert len(story.rows(t.invoice_line)) == 1
    assert advance(story, "eff_twin") == []
    (row,) = story.rows(t.effect, id="eff_twin")
    assert (row["state"], row["reason"]) == ("cancelled", "condition"), "nothing is left to bill"


def answered(story: Story, prepared: Prepared, verdict: str, **more: Any) -> str:
    with story.engine.begin() as conn:
        word = Answered(
            effect=prepared.effect, who="Ines", at=story.clock.now(), attempt=story.ids.new("att"), verdict=verdict, **more
        )
        return answer(conn, [word])[0]


def test_anew_is_a_new_revision_with_present_values_and_frees_the_charges(story: Story) -> None:
    invoice = due_invoice(story)
    claim(story, invoice)
    put(story, invoice, state="parked")

    assert answered(story, invoice, "anew") == "planned"

    row = effect(story, invoice)
    assert (row["revision"], row["body"], row["thing"], row["attempts"]) == (2, None, None, 0)
    assert [line["live"] for line in story.rows(t.invoice_line)] == [False]
    assert [one["status"] for one in story.rows(t.invoice)] == ["void"]
    (again,) = advance(story, invoice.effect)
    assert again.revision == 2
    assert again.frozen is None
    assert again.key.idempotency != invoice.key.idempotency, "the vendor must not fold it into the one before"
    assert again.key.marker == invoice.key.marker
    assert claim(story, again).verdict == "go"
    assert [line["live"] for line in story.rows(t.invoice_line)] in ([False, True], [True, False])


def test_let_it_be_cancels_for_good_and_frees_the_charges(story: Story) -> None:
    invoice = due_invoice(story)
    claim(story, invoice)
    put(story, invoice, state="parked")

    assert answered(story, invoice, "cancel") == "cancelled"
    assert [line["live"] for line in story.rows(t.invoice_line)] == [False]
    decide_again(story)
    assert effect(story, invoice)["state"] == "cancelled", "a person said so: it is not planned again by itself"


def test_this_is_the_record_waits_for_the_receipt_of_that_answer(story: Story) -> None:
    prepared = in_flight(story, state="parked", reason="several found")
    assert answered(story, prepared, "is", record_id="555") == "parked"
    receive(story, prepared, DONE, what="by a person")

    assert (effect(story, prepared)["state"], effect(story, prepared)["record_id"]) == ("done", "555")
    assert next((row["what"], row["detail"]) for row in story.rows(t.attempt)) == ("by a person", "Ines: 555")


@pytest.mark.parametrize("state", ["planned", "held", "ready", "in flight", "in doubt", "done", "cancelled"])
def test_only_a_parked_effect_is_answered(story: Story, state: str) -> None:
    prepared = in_flight(story, state=state)
    before = effect(story, prepared)

    assert answered(story, prepared, "anew") == ""
    assert effect(story, prepared) == before
    assert story.rows(t.attempt) == []


@pytest.mark.parametrize(
    ("operation", "takes"), [(park, {"planned", "held", "ready", "in doubt"}), (hold, {"planned", "held", "ready"})]
)
def test_what_is_on_its_way_or_over_is_neither_parked_nor_held(story: Story, operation: Any, takes: set[str]) -> None:
    prepared = in_flight(story)
    for state in ("planned", "held", "ready", "in flight", "in doubt", "parked", "done", "cancelled"):
        put(story, prepared, state=state)
        with story.engine.begin() as conn:
            assert operation(conn, [Parking(prepared.effect, "why", "detail", story.clock.now())]) == [state in takes], state


@pytest.mark.parametrize("known", [True, False])
def test_a_person_names_the_invoice_that_they_drafted_where_ours_was_never_prepared(story: Story, known: bool) -> None:
    """It has no charges of ours; where it came in already it stays the invoice that it is."""
    invoice = due_invoice(story)
    put(story, invoice, state="parked", reason="mapping")
    if known:
        (client,) = story.rows(t.client)
        theirs = {"id": "inv_1", "client": client["id"], "status": "draft", "kind": "invoice", "fields": {}}
        link = {"connection": "con_xero", "kind": "xero.invoice", "record_id": "i1", "thing_kind": "invoice", "thing": "inv_1"}
        with story.engine.begin() as conn:
            insert_all(conn, t.invoice, [theirs])
            insert_all(conn, t.link, [link])

    receive(story, invoice, Done(record_id="i1"), epoch=0, what="by a person")

    row = effect(story, invoice)
    assert (row["state"], row["record_id"], row["thing"]) == ("done", "i1", "inv_1" if known else None)
    assert [one["thing"] for one in story.rows(t.link, record_id="i1")] == ["inv_1" if known else None]
    assert len(story.rows(t.invoice)) == int(known)


@pytest.mark.parametrize("drafted", [False, True])
def test_our_draft_that_was_taken_for_somebody_elses_invoice_is_one_invoice_once_a_person_says_so(
    story: Story, drafted: bool
) -> None:
    """What had been seen of it is seen again, for the draft. An invoice that we drafted too is no mere sight of a record."""
    invoice = due_invoice(story)
    claim(story, invoice)
    put(story, invoice, state="parked", reason="in doubt")
    record = {"connection": "con_xero", "kind": "xero.invoice", "record_id": "i1"}
    now = story.clock.now()
    delivery = {"id": "dlv_1", "connector": "xero", "way": "webhook", "door": "hook", "received_at": now, "state": "split"}
    notice = {"id": "ntc_1", "delivery": "dlv_1", "position": 0, "connector": "xero", "change": "changed", **record}
    event = {"id": "evt_1", "kind": "invoice.drafted", "thing_kind": "invoice", "thing": "inv_1", "at": now, "seen_at": now}
    with story.engine.begin() as conn:
        insert_all(conn, t.invoice, [{"id": "inv_1", "status": "draft", "kind": "invoice", "number": "INV-7", "fields": {}}])
        insert_all(conn, t.link, [{**record, "thing_kind": "invoice", "thing": "inv_1", "version": "3", "fetched_at": now}])
        insert_all(conn, t.mirror, [{**record, "field": "invoice.number", "seen": "INV-7"}])
        insert_all(conn, t.event, [{**event, "facts": {}}])
        insert_all(conn, t.delivery, [{**delivery, "headers": {}, "body": b"", "body_hash": "0"}])
        insert_all(conn, t.notice, [{**notice, "state": "processed", "kept_at": now}])
        if drafted:
            line = {"invoice": "inv_1", "position": 0, "description": "", "amount_minor": 1, "amount_currency": "EUR"}
            insert_all(conn, t.invoice_line, [{**line, "charge": None, "live": True}])

    receive(story, invoice, Done(record_id="i1"), what="by a person")

    ours = effect(story, invoice)["thing"]
    assert [one["thing"] for one in story.rows(t.link, record_id="i1")] == [ours]
    assert {row["id"] for row in story.rows(t.invoice)} == ({ours, "inv_1"} if drafted else {ours})
    assert story.rows(t.event, id="evt_1")[0]["thing"] == ("inv_1" if drafted else ours)
    assert story.rows(t.notice, id="ntc_1")[0]["state"] == "open"
    assert story.rows(t.mirror, record_id="i1", field="invoice.number") == []
