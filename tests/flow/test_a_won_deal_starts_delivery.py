"""A deal is won in the CRM: the project tool gets a project with its checklist, the deal a note with its address."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio

AN_HOUR = 3601.0
CHECKLIST = {
    "Send the welcome message": 1,
    "Hold the kick-off meeting": 5,
    "Collect access and material": 7,
    "Agree on the plan": 10,
}


async def test_a_won_deal_gets_one_project_with_its_owners_checklist_and_a_note(w: World) -> None:
    await w.act("asana", "add_person", name="Astrid Holm", email="astrid@northwind.example")
    await w.pass_time(AN_HOUR)
    await w.win(owner_email="astrid@northwind.example")
    await w.quiet()

    (project,) = await w.projects()
    assert project["name"] == f"{w.company}: Website relaunch"
    assert "Owner: Astrid Holm" in project["notes"]
    (deal,) = w.rows(t.deal)
    won_on = deal["won_at"].date()  # not today: midnight may have passed since, by the machine's clock or the story's
    assert {one["name"]: one["due_on"] for one in project["tasks"]} == {
        title: (won_on + timedelta(days=days)).isoformat() for title, days in CHECKLIST.items()
    }
    assert {one["assignee"] for one in project["tasks"]} == {"astrid@northwind.example"}
    (note,) = w.notes()
    assert project["permalink_url"] in note
    assert w.effects() == {"project": ["done"], "checklist": ["done"] * 4, "note": ["done"]}


async def test_a_project_from_a_template_is_found_by_its_code_and_then_gets_its_final_name(w: World) -> None:
    template = (await w.act("asana", "add_template", name="Website", tasks=["Design", "Build"]))["id"]
    await w.set_connection("asana", {"project_template": template})
    try:
        await w.win()
        await w.quiet()
    finally:
        await w.set_connection("asana", {"project_template": ""})
    (project,) = await w.projects()
    assert project["name"] == f"{w.company}: Website relaunch"
    assert {one["name"] for one in project["tasks"]} == {"Design", "Build", *CHECKLIST}
    assert w.effects()["rename"] == ["done"]
    (row,) = w.rows(t.project)
    assert (row["title"], row["status"]) == (project["name"], "open")
    (note,) = w.notes()
    assert project["permalink_url"] in note


async def test_the_same_news_ten_times_acts_once(w: World) -> None:
    await w.misbehave("hubspot", hooks={"copies": 10})
    await w.win()
    await w.quiet()
    await w.resend("hubspot", "asana")
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert len(w.made("asana", "task")) == 4
    assert len(w.notes()) == 1


async def test_an_amount_that_changes_after_winning_starts_nothing_again_and_is_what_will_be_billed(w: World) -> None:
    ids, _ = await w.won_project(amount="9000.00")
    before = w.writes()
    await w.act("hubspot", "edit_deal", deal=ids["deal"], amount="9750.50")
    await w.quiet()
    assert w.writes() == before
    (charge,) = w.rows(t.charge)
    assert (charge["amount_minor"], charge["due_at"]) == (975050, None)


async def test_an_amount_that_no_number_is_parks_its_own_notice_and_disturbs_nobody(w: World) -> None:
    await w.win()
    await w.quiet()
    ids = await w.inquire(title="Second job")
    await w.quiet()
    w.tools["hubspot"].state.get("deals", ids["deal"]).properties["amount"] = "1.234,56"
    await w.act("hubspot", "win_deal", deal=ids["deal"])
    await w.quiet()
    parked = [row for row in w.rows(t.notice) if row["state"] == "parked"]
    assert {row["record_id"] for row in parked} == {ids["deal"]}
    assert all("1.234,56" in row["detail"] for row in parked)
    assert len(w.made("asana", "project")) == 1
