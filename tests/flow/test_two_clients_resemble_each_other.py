"""Who is who: the same company comes under two names, two companies share a mail host, a person writes from elsewhere."""

from __future__ import annotations

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def test_two_deals_of_one_company_have_one_client(w: World) -> None:
    await w.inquire(title="One")
    await w.inquire(title="Two", contact_name="Ben Ivers", contact_email=f"ben@{w.domain}")
    await w.quiet()
    (client,) = w.rows(t.client)
    assert {row["client"] for row in w.rows(t.engagement)} == {client["id"]}
    assert len(w.rows(t.engagement)) == 2


async def test_two_companies_with_contacts_at_one_free_mail_host_stay_two_clients(w: World) -> None:
    await w.win(contact_email=f"ada.{w.stories}@gmail.com")
    await w.win(company="Another One", domain=f"another-{w.domain}", contact_email=f"ben.{w.stories}@gmail.com", title="Other")
    await w.quiet()
    assert len(w.rows(t.client)) == 2
    await w.open_ticket(requester_email=f"ben.{w.stories}@gmail.com", requester_name="Ben Ivers")
    await w.quiet()
    told = {one["name"]: [text for task in one["tasks"] for text in task["comments"]] for one in await w.projects()}
    assert [len(comments) for name, comments in sorted(told.items())] == [1, 0]


async def test_two_company_records_with_one_domain_are_one_client(w: World) -> None:
    first = await w.win()
    await w.quiet()
    state = w.tools["hubspot"].state
    twin = state.create(
        "companies", {"name": f"{w.company} GmbH", "domain": w.domain, "lifecyclestage": "lead"}, ("CRM_UI", "userId:771")
    )
    deal = state.create("deals", {"dealname": "Second job", "dealstage": "appointmentscheduled"}, ("CRM_UI", "userId:771"))
    state.associate(deal, twin, {341}, ("CRM_UI", "userId:771"))
    await w.act("hubspot", "win_deal", deal=deal.id)
    await w.quiet()
    (client,) = w.rows(t.client)
    assert {
        row["thing"] for row in w.rows(t.link, kind="hubspot.company") if row["record_id"] in (first["company"], twin.id)
    } == {client["id"]}
    assert len(w.made("asana", "project")) == 2


async def test_a_colleague_of_the_contact_is_recognised_by_the_companys_domain(w: World) -> None:
    await w.won_project()
    await w.open_ticket(requester_name="Cleo Marsh", requester_email=f"cleo@{w.domain}")
    await w.quiet()
    (project,) = await w.projects()
    assert sum(len(task["comments"]) for task in project["tasks"]) == 1


async def test_a_deal_without_a_company_makes_its_person_the_client(w: World) -> None:
    state = w.tools["hubspot"].state
    by = ("CRM_UI", "userId:771")
    person = state.create("contacts", {"firstname": "Dora", "lastname": "Finch", "email": f"dora.{w.stories}@gmail.com"}, by)
    deal = state.create("deals", {"dealname": "Portrait", "dealstage": "appointmentscheduled", "amount": "300"}, by)
    state.associate(deal, person, {3}, by)
    await w.act("hubspot", "win_deal", deal=deal.id)
    await w.quiet()
    (client,) = w.rows(t.client)
    assert (client["name"], client["kind"]) == ("Dora Finch", "person")
    assert [one["name"] for one in w.made("asana", "project")] == ["Dora Finch: Portrait"]


async def test_a_deal_with_nobody_is_never_a_client_by_its_name(w: World) -> None:
    state = w.tools["hubspot"].state
    deal = state.create("deals", {"dealname": "Mystery", "dealstage": "appointmentscheduled"}, ("CRM_UI", "userId:771"))
    await w.act("hubspot", "win_deal", deal=deal.id)
    await w.quiet()
    assert w.rows(t.client) == []
    assert [one["name"] for one in w.made("asana", "project")] == ["Mystery"]
