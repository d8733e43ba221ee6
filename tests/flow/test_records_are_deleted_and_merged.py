"""Records disappear: what was lost with them is not done, what was done stays, and what was merged is not made again."""

from __future__ import annotations

from typing import Any

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def test_a_deal_deleted_before_it_was_won_starts_nothing(w: World) -> None:
    ids = await w.inquire()
    await w.quiet()
    await w.act("hubspot", "delete_deal", deal=ids["deal"])
    await w.quiet()
    (link,) = w.rows(t.link, record_id=ids["deal"])
    assert link["deleted_at"] is not None
    assert w.writes() == 0
    assert {row["state"] for row in w.rows(t.notice, record_id=ids["deal"])} == {"processed"}


async def test_a_deal_deleted_after_winning_keeps_its_project_and_what_waited_is_cancelled(w: World) -> None:
    await w.pause("asana")
    ids = await w.win()
    await w.quiet()
    await w.act("hubspot", "delete_deal", deal=ids["deal"])
    await w.quiet()
    await w.resume("asana")
    await w.quiet()
    assert w.made("asana", "project") == []
    assert {row["state"] for row in w.rows(t.effect)} == {"cancelled"}

    await w.act("hubspot", "restore_deal", deal=ids["deal"])
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert w.rows(t.link, record_id=ids["deal"])[0]["deleted_at"] is None


async def test_late_news_of_a_deleted_deal_does_not_bring_it_back(w: World) -> None:
    ids = await w.inquire()
    await w.quiet()
    await w.act("hubspot", "delete_deal", deal=ids["deal"])
    await w.quiet()
    await w.resend("hubspot")
    await w.quiet()
    assert w.rows(t.link, record_id=ids["deal"])[0]["deleted_at"] is not None
    assert len(w.rows(t.deal)) == 1


async def test_a_deleted_ticket_announces_nothing(w: World) -> None:
    await w.won_project()
    await w.misbehave("zendesk", hooks={"lag_s": 0.2})
    number = await w.open_ticket()
    await w.act("zendesk", "delete_ticket", ticket=number)
    await w.quiet()
    (project,) = await w.projects()
    assert [text for task in project["tasks"] for text in task["comments"]] == []
    assert w.history("zendesk", "commented", by="api") == []


async def test_a_deleted_project_is_not_made_again(w: World) -> None:
    _, project = await w.won_project()
    await w.act("asana", "delete_project", project=project)
    await w.quiet()
    await w.resend("hubspot")
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert w.rows(t.link, record_id=project)[0]["deleted_at"] is not None


async def test_a_project_restored_from_the_bin_is_the_same_one_and_is_billed_when_it_is_closed(w: World) -> None:
    ids, project = await w.won_project()
    await w.act("asana", "delete_project", project=project)
    await w.quiet()
    await w.act("asana", "restore_project", project=project)
    await w.quiet()
    assert w.rows(t.link, record_id=project)[0]["deleted_at"] is None
    await w.act("hubspot", "edit_deal", deal=ids["deal"], dealname="Website relaunch, phase 1")
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert len(w.made("xero", "invoice")) == 1


async def test_a_project_in_the_bin_is_not_billed_before_it_is_restored(w: World) -> None:
    _, project = await w.won_project()
    await w.pause("xero")
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    await w.act("asana", "delete_project", project=project)
    await w.quiet()
    await w.resume("xero")
    await w.quiet()
    assert w.made("xero", "invoice") == []
    assert w.effects(handoff="closed-project-drafts-invoice", name="invoice") == {"invoice": ["cancelled"]}

    await w.act("asana", "restore_project", project=project)
    await w.quiet()
    assert len(w.made("xero", "invoice")) == 1


async def two_clients(w: World) -> tuple[Any, Any]:
    """Enter two inquiries of what look like two companies."""
    one = await w.inquire()
    other = await w.inquire(
        company=f"{w.company} Holding", domain=f"holding-{w.domain}", contact_email=f"ben@holding-{w.domain}", title="Second job"
    )
    await w.quiet()
    assert len(w.rows(t.client)) == 2
    return one, other


async def test_merged_companies_are_one_client_and_make_nothing_again(w: World) -> None:
    one, other = await two_clients(w)
    await w.act("hubspot", "win_deal", deal=one["deal"])
    await w.quiet()
    (project,) = w.made("asana", "project")
    before = w.writes()
    merged = (await w.act("hubspot", "merge_companies", primary=one["company"], other=other["company"]))["company"]
    await w.quiet()
    assert w.writes() == before
    (client,) = w.rows(t.client)
    assert {row["merged_into"] for old in (one, other) for row in w.rows(t.link, record_id=old["company"])} == {merged}
    assert w.rows(t.link, record_id=merged)[0]["thing"] == client["id"]
    assert {row["client"] for table in (t.engagement, t.contact) for row in w.rows(table)} == {client["id"]}
    keys = {row["value"] for row in w.rows(t.identity_key, client=client["id"])}
    assert {w.domain, f"holding-{w.domain}"} <= keys
    (event,) = w.rows(t.event, kind="client.merged")
    assert event["facts"]["title"] in (w.company, f"{w.company} Holding")

    await w.open_ticket(requester_email=f"ben@holding-{w.domain}")  # of the client that is none any more
    await w.act("hubspot", "win_deal", deal=other["deal"])
    await w.act("asana", "complete_project", project=project["id"])
    await w.quiet()
    (ticket,) = w.rows(t.ticket)
    assert ticket["client"] == client["id"]
    assert len(w.made("asana", "project")) == 2
    assert len(w.made("xero", "contact")) == 1


async def test_merged_companies_are_one_client_whichever_news_comes_first(w: World) -> None:
    one, other = await two_clients(w)
    await w.misbehave("hubspot", hooks={"reverse": True, "copies": 2})
    await w.act("hubspot", "merge_companies", primary=other["company"], other=one["company"])
    await w.quiet()
    await w.resend("hubspot")
    await w.quiet()
    assert len(w.rows(t.client)) == 1


@pytest.mark.parametrize("primary", ["the won one", "the open one"])
async def test_merged_deals_are_one_deal_whose_project_is_not_made_again(w: World, primary: str) -> None:
    won = await w.inquire(amount="9000.00")
    other = await w.inquire(title="The same, entered twice", amount="4000.00")
    await w.act("hubspot", "win_deal", deal=won["deal"])
    await w.quiet()
    (project,) = w.made("asana", "project")
    before = w.writes()
    first, second = (won, other) if primary == "the won one" else (other, won)
    merged = (await w.act("hubspot", "merge_deals", primary=first["deal"], other=second["deal"]))["deal"]
    await w.quiet()
    assert w.writes() == before
    (deal,) = w.rows(t.deal)
    (engagement,) = w.rows(t.engagement)
    assert deal["engagement"] == engagement["id"]
    assert w.rows(t.link, record_id=merged)[0]["thing"] == deal["id"]
    assert w.rows(t.project)[0]["deal"] == deal["id"]

    await w.act("hubspot", "win_deal", deal=merged)
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    await w.act("asana", "complete_project", project=project["id"])
    await w.quiet()
    assert len(w.made("xero", "invoice")) == 1
    (invoice,) = w.rows(t.invoice)
    assert invoice["total_minor"] == (900_000 if primary == "the won one" else 400_000)
    assert len(w.notes()) == 2


async def test_merged_deals_that_were_open_start_one_project(w: World) -> None:
    one = await w.inquire()
    other = await w.inquire(title="The same, entered twice")
    await w.quiet()
    merged = (await w.act("hubspot", "merge_deals", primary=one["deal"], other=other["deal"]))["deal"]
    await w.act("hubspot", "win_deal", deal=merged)
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert len(w.rows(t.engagement)) == 1


async def test_what_waits_for_a_merged_deal_is_done_once_for_the_one_that_stays(w: World) -> None:
    await w.pause("asana")
    one, other = await w.win(), await w.win(title="The same, entered twice")
    await w.quiet()
    await w.act("hubspot", "merge_deals", primary=one["deal"], other=other["deal"])
    await w.quiet()
    await w.resume("asana")
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert len(w.made("asana", "task")) == 4
    assert len(w.notes()) == 1


async def test_merging_a_deal_that_was_won_long_ago_is_no_news(w: World) -> None:
    await w.switch("won-deal-starts-delivery", "off")
    try:
        won = await w.win()
        other = await w.inquire(title="The same, entered twice")
        await w.quiet()
        w.clock.forward(60)
    finally:
        await w.switch("won-deal-starts-delivery")
    w.clock.forward(60)
    await w.act("hubspot", "merge_deals", primary=won["deal"], other=other["deal"])
    await w.quiet()
    assert w.writes() == 0
    assert w.rows(t.deal)[0]["status"] == "won"


async def test_merged_contacts_are_one_who_stays_the_clients_contact(w: World) -> None:
    ids = await w.inquire()
    other = await w.inquire(contact_name="Ada Quill-Berg", contact_email=f"ada.berg@{w.domain}", title="Second job")
    await w.quiet()
    assert len(w.rows(t.contact)) == 2
    merged = (await w.act("hubspot", "merge_contacts", primary=ids["contact"], other=other["contact"]))["contact"]
    await w.quiet()
    (contact,) = w.rows(t.contact)
    assert w.rows(t.link, record_id=merged)[0]["thing"] == contact["id"]
    engagements = {row["id"] for row in w.rows(t.engagement)}
    assert {row["engagement"] for row in w.rows(t.role, contact=contact["id"])} == engagements


async def test_customers_merged_in_the_books_leave_two_clients_and_tell_a_person(w: World) -> None:
    one, other = await two_clients(w)
    for ids in (one, other):
        await w.act("hubspot", "win_deal", deal=ids["deal"])
    await w.quiet()
    for project in w.made("asana", "project"):
        await w.act("asana", "complete_project", project=project["id"])
    await w.quiet()
    first, second = [line["id"] for line in w.made("xero", "contact")]
    before = w.writes()
    await w.act("xero", "merge_contact", id=second, into=first)
    await w.quiet()
    assert len(w.rows(t.client)) == 2
    assert w.rows(t.link, record_id=second)[0]["merged_into"] == first
    assert w.writes() == before
    assert any(first in row["subject"] for row in w.rows(t.finding, kind="double"))
