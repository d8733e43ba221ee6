"""Records disappear: what was lost with them is not done, what was done stays, and what was merged is not made again."""

from __future__ import annotations

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


async def test_merged_companies_stay_the_client_of_their_deals_and_make_nothing_again(w: World) -> None:
    ids, project = await w.won_project()
    other = await w.inquire(
        company=f"{w.company} Holding", domain=f"holding-{w.domain}", contact_email=f"ben@holding-{w.domain}", title="Second job"
    )
    await w.quiet()
    clients = {row["id"] for row in w.rows(t.client)}
    assert len(clients) == 2
    before = w.writes()
    merged = (await w.act("hubspot", "merge_companies", primary=ids["company"], other=other["company"]))["company"]
    await w.quiet()
    assert w.writes() == before
    (link,) = w.rows(t.link, record_id=merged)
    assert link["thing"] in clients
    assert {row["merged_into"] for old in (ids, other) for row in w.rows(t.link, record_id=old["company"])} == {merged}
    assert {row["id"] for row in w.rows(t.client)} == clients

    await w.act("hubspot", "win_deal", deal=other["deal"])
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    assert len(w.made("asana", "project")) == 2
    assert len(w.made("xero", "contact")) == 1
