"""A ticket, or an invoice that a person wrote, comes before anybody knows whose it is: it is placed when its client is met."""

from __future__ import annotations

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def test_a_ticket_of_somebody_unknown_joins_the_project_that_their_deal_brings(w: World) -> None:
    number = await w.open_ticket()
    await w.quiet()
    (early,) = w.rows(t.ticket)
    assert (early["client"], early["project"]) == (None, None)
    await w.won_project()
    (joined,) = w.rows(t.ticket)
    (client,) = w.rows(t.client)
    assert joined["client"] == client["id"]
    assert joined["project"] == w.rows(t.project)[0]["id"]
    (known,) = await w.projects()
    comments = [text for task in known["tasks"] for text in task["comments"]]
    assert len(comments) == 1, "it is announced once"
    assert f"Ticket {number}" in comments[0]
    assert w.rows(t.stranger, thing=joined["id"]) == [], "nobody waits any more"


async def test_an_invoice_that_a_person_wrote_before_is_taken_off_what_is_billed(w: World) -> None:
    customer = await w.act("xero", "add_contact", name=w.company, email=f"ada@{w.domain}")
    await w.act("xero", "add_invoice", contact=customer["id"], amount="400.00", reference="Website relaunch")
    await w.quiet()
    (early,) = w.rows(t.invoice)
    assert (early["client"], early["engagement"]) == (None, None)
    _, project = await w.won_project(amount="1000.00")
    (placed,) = w.rows(t.invoice)
    assert placed["engagement"] == w.rows(t.engagement)[0]["id"]
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    drafted = [one for one in await w.invoices() if w.history("xero", "created", id=one["id"], by="api")]
    assert [one["total"] for one in drafted] == ["600.00"]


async def test_an_invoice_of_a_known_client_is_placed_when_the_engagement_that_it_names_opens(w: World) -> None:
    _, project = await w.won_project(title="First job")
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    (invoice,) = await w.invoices()
    await w.act("xero", "approve_invoice", id=invoice["id"])
    await w.act("xero", "pay_invoice", id=invoice["id"])
    await w.quiet()  # else the next one may be heard of first, while the first job is the only open one
    await w.act("xero", "add_invoice", contact=invoice["contact"], amount="100.00", reference="Second job")
    await w.quiet()
    assert [row["engagement"] is None for row in w.rows(t.invoice)] == [False, True], "the first job is finished"
    await w.inquire(title="Second job")
    await w.quiet()
    second = w.rows(t.engagement)[1]
    assert w.rows(t.invoice)[1]["engagement"] == second["id"]


async def test_an_old_invoice_is_not_taken_for_one_of_an_engagement_that_it_does_not_name(w: World) -> None:
    customer = await w.act("xero", "add_contact", name=w.company, email=f"ada@{w.domain}")
    await w.act("xero", "add_invoice", contact=customer["id"], amount="400.00", reference="Two years ago")
    await w.quiet()
    await w.won_project(amount="1000.00")
    (old,) = w.rows(t.invoice)
    assert old["client"] == w.rows(t.client)[0]["id"]
    assert old["engagement"] is None


async def test_a_stranger_who_stays_one_gets_nothing(w: World) -> None:
    await w.open_ticket(requester_email="eve@elsewhere.example")
    await w.quiet()
    await w.won_project()
    (ticket,) = w.rows(t.ticket)
    assert (ticket["client"], ticket["project"]) == (None, None)
