"""A project is closed: what is due is drafted as an invoice, once, and a person approves it."""

from __future__ import annotations

from datetime import timedelta

import pytest

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
