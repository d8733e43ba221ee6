"""A project is closed: what is due is drafted as an invoice, once, and a person approves it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from lifecyclehub.admin.effects import Answer, AnswerEffects
from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def close(w: World, project: str) -> None:
    await w.act("asana", "complete_project", project=project)
    await w.quiet()


async def test_a_closed_project_drafts_what_was_agreed_for_a_new_customer_and_notes_it_on_the_deal(w: World) -> None:
    _, project = await w.won_project(amount="12500.00")
    await close(w, project)
    (invoice,) = await w.invoices()
    assert (invoice["status"], invoice["total"], invoice["currency"]) == ("DRAFT", "12500.00", "EUR")
    assert invoice["reference"] == "Website relaunch"
    (customer,) = w.made("xero", "contact")
    assert customer["name"] == w.company
    assert invoice["contact"] == customer["id"]
    assert len(w.notes()) == 2
    assert invoice["id"] in w.notes()[1]
    (kept,) = w.rows(t.invoice)
    assert (kept["status"], kept["total_minor"]) == ("draft", 1_250_000)


async def test_a_second_project_of_the_client_is_billed_to_the_same_customer(w: World) -> None:
    _, first = await w.won_project(amount="100.00")
    await close(w, first)
    _, second = await w.won_project(title="Newsletter", amount="250.00")
    await close(w, second)
    assert sorted(one["total"] for one in await w.invoices()) == ["100.00", "250.00"]
    assert len(w.made("xero", "contact")) == 1


async def test_a_customer_that_a_person_entered_before_is_taken_over(w: World) -> None:
    entered = await w.act("xero", "add_contact", name=w.company, email=f"ada@{w.domain}")
    _, project = await w.won_project()
    await close(w, project)
    (invoice,) = await w.invoices()
    assert invoice["contact"] == entered["id"]
    assert w.made("xero", "contact") == []


async def test_what_a_person_invoiced_by_hand_counts_without_its_tax(w: World) -> None:
    entered = await w.act("xero", "add_contact", name=w.company, email=f"ada@{w.domain}")
    _, project = await w.won_project(amount="1000.00")
    told = {"contact": entered["id"], "amount": "400.00", "tax": "OUTPUT2", "reference": "Website relaunch"}
    by_hand = await w.act("xero", "add_invoice", **told)
    await w.quiet()
    (kept,) = w.rows(t.invoice)
    assert (kept["total_minor"], kept["fields"]["billed.amount"]) == (48_000, 40_000)
    await close(w, project)
    (drafted,) = [one for one in await w.invoices() if one["id"] != by_hand["id"]]
    assert drafted["total"] == "600.00"


async def test_nothing_left_to_bill_is_an_answer(w: World) -> None:
    _, project = await w.won_project(amount=None)
    await close(w, project)
    assert await w.invoices() == []
    assert w.made("xero", "contact") == []
    assert "parked" not in {row["state"] for row in w.rows(t.effect)}


async def test_a_project_reopened_and_closed_again_drafts_nothing_twice(w: World) -> None:
    _, project = await w.won_project()
    await close(w, project)
    await w.act("asana", "reopen_project", project=project)
    await w.quiet()
    await close(w, project)
    assert len(await w.invoices()) == 1
    assert len(w.notes()) == 2


async def test_what_a_person_billed_for_the_engagement_is_taken_off(w: World) -> None:
    _, project = await w.won_project(amount="1000.00")
    customer = await w.act("xero", "add_contact", name=w.company, email=f"ada@{w.domain}")
    await w.act("xero", "add_invoice", contact=customer["id"], amount="400.00", reference="Website relaunch")
    await w.quiet()
    await close(w, project)
    drafted = [one for one in await w.invoices() if w.history("xero", "created", id=one["id"], by="api")]
    assert [one["total"] for one in drafted] == ["600.00"]


async def test_an_approved_and_paid_invoice_finishes_the_engagement(w: World) -> None:
    _, project = await w.won_project()
    await close(w, project)
    assert w.rows(t.engagement)[0]["stage"] == "billing"
    (invoice,) = await w.invoices()
    await w.act("xero", "approve_invoice", id=invoice["id"])
    await w.act("xero", "pay_invoice", id=invoice["id"])
    await w.quiet()
    assert w.rows(t.invoice)[0]["status"] == "paid"
    assert w.rows(t.engagement)[0]["stage"] == "finished"


async def test_a_voided_draft_frees_its_charge(w: World) -> None:
    _, project = await w.won_project()
    await close(w, project)
    (invoice,) = await w.invoices()
    await w.act("xero", "void_invoice", id=invoice["id"])
    await w.quiet()
    assert w.rows(t.invoice)[0]["status"] == "void"
    assert [line["live"] for line in w.rows(t.invoice_line, invoice=w.rows(t.invoice)[0]["id"])] == [False]


async def test_the_invoice_is_due_when_the_clients_terms_say(w: World) -> None:
    _, project = await w.won_project()
    customer = await w.act(
        "xero",
        "add_contact",
        name=w.company,
        email=f"ada@{w.domain}",
        PaymentTerms={"Sales": {"Day": 21, "Type": "DAYSAFTERBILLDATE"}},
    )
    await w.quiet()
    await close(w, project)
    drafted = w.made("xero", "invoice")
    record = w.tools["xero"].books[w.tools["xero"].account_id].invoices[drafted[0]["id"]].data
    assert record["Contact"]["ContactID"] == customer["id"]
    assert (w.clock.now().date() + timedelta(days=21)).isoformat() in record["DueDateString"]


async def test_two_projects_of_a_new_client_that_close_in_the_same_moment_enter_one_customer(w: World) -> None:
    _, first = await w.won_project(amount="100.00")
    _, second = await w.won_project(title="Newsletter", amount="250.00")
    await w.misbehave("xero", lag_s=0.5)  # a look does not show yet what was entered a moment ago
    await asyncio.gather(*(w.act("asana", "complete_project", project=one) for one in (first, second)))
    await w.quiet()
    assert len(w.made("xero", "contact")) == 1
    assert sorted(one["total"] for one in await w.invoices()) == ["100.00", "250.00"]
    assert {row["state"] for row in w.rows(t.effect, name="invoice")} == {"done"}


async def test_a_customer_who_is_another_clients_is_never_billed_for_this_one_without_a_persons_word(w: World) -> None:
    _, project = await w.won_project(amount="100.00")
    await close(w, project)
    (known,) = w.made("xero", "contact")
    _, namesake = await w.won_project(domain=f"other-{w.domain}", contact_email=f"ben@other-{w.domain}", amount="250.00")
    assert len(w.rows(t.client)) == 2
    await close(w, namesake)
    customer = next(row for row in w.rows(t.effect, name="customer") if row["state"] != "done")
    assert (customer["state"], customer["reason"]) == ("parked", "linked elsewhere")
    assert w.company in customer["detail"]
    assert [one["total"] for one in await w.invoices()] == ["100.00"]

    own = await w.act("xero", "add_contact", name=f"{w.company} Ltd", email=f"ben@other-{w.domain}")
    await w.quiet()
    word = Answer(effect=customer["id"], verdict="is", who="Ines", record_id=own["id"])
    operation = AnswerEffects(w.hub.rules, w.hub.ids, w.clock, w.hub.randomness)
    assert await w.hub.store.run(operation, word) == "done"
    await w.hub.look_for_changes()
    await w.quiet()
    assert {one["contact"]: one["total"] for one in await w.invoices()} == {known["id"]: "100.00", own["id"]: "250.00"}
