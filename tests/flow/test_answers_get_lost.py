"""A tool does what we asked and its answer never arrives: it is looked up, and nothing is done twice or left out."""

from __future__ import annotations

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import QUICK, World

pytestmark = pytest.mark.anyio


def lose(path: str, times: int = 1, method: str = "POST") -> list[dict[str, object]]:
    return [{"do": "lose_answer", "method": method, "path": path, "times": times}]


def all_done(w: World) -> bool:
    return {row["state"] for row in w.rows(t.effect)} == {"done"}


@pytest.mark.parametrize("path", ["/projects$", "/tasks$"])
async def test_a_project_or_task_whose_answer_was_lost_is_found_by_its_marker(w: World, path: str) -> None:
    await w.misbehave("asana", faults=lose(path, times=3))
    await w.win()
    await w.quiet()
    assert len(w.history("asana", "misbehaved")) >= 1
    assert len(w.made("asana", "project")) == 1
    assert len(w.made("asana", "task")) == 4
    assert all_done(w)


async def test_a_project_from_a_template_whose_answer_was_lost_is_found_by_the_code_in_its_name(w: World) -> None:
    template = (await w.act("asana", "add_template", name="Website"))["id"]
    await w.set_connection("asana", {"project_template": template})
    try:
        await w.misbehave("asana", faults=lose("/instantiateProject$"))
        await w.win()
        await w.quiet()
    finally:
        await w.set_connection("asana", {"project_template": ""})
    assert [one["name"] for one in await w.projects()] == [f"{w.company}: Website relaunch"]
    assert all_done(w)


async def test_a_note_whose_answer_was_lost_is_found_on_the_deal(w: World) -> None:
    await w.misbehave("hubspot", faults=lose("/objects/notes$"))
    await w.win()
    await w.quiet()
    assert len(w.notes()) == 1
    assert all_done(w)


async def test_comments_whose_answers_were_lost_are_found_in_project_and_ticket(w: World) -> None:
    await w.won_project()
    await w.misbehave("asana", faults=lose("/stories$"))
    await w.misbehave("zendesk", faults=lose("/tickets/", method="PUT"))
    number = await w.open_ticket()
    await w.quiet()
    assert len(w.history("asana", "commented")) == 1
    assert len(w.history("zendesk", "commented", by="api", id=number)) == 1
    assert all_done(w)


async def test_customer_and_invoice_whose_answers_were_lost_are_made_once(w: World) -> None:
    _, project = await w.won_project()
    await w.misbehave("xero", faults=[*lose("/Contacts", method="PUT"), *lose("/Invoices", method="PUT")])
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    assert len(w.history("xero", "misbehaved")) == 2
    assert len(w.made("xero", "contact")) == 1
    assert len(w.made("xero", "invoice")) == 1
    assert all_done(w)


async def test_a_request_that_never_arrived_is_sent_again_only_after_its_absence_is_proven(w: World) -> None:
    await w.misbehave("asana", faults=[{"do": "refuse", "path": "/projects$"}])
    await w.win()
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    (effect,) = w.rows(t.effect, name="project")
    what = [(row["what"], row["outcome"]) for row in w.rows(t.attempt, effect=effect["id"])]
    assert (what[0], what[-2:]) == (("sent", "Unknown"), [("looked up", "Absent"), ("sent", "Done")])
    assert {one for one, _ in what[1:-1]} == {"looked up"}


async def test_a_look_up_that_fails_is_never_taken_for_absence(w: World) -> None:
    faults = [*lose("/projects$"), {"do": "fail", "method": "GET", "path": "/projects$", "times": 2}]
    await w.misbehave("asana", faults=faults)
    await w.win()
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert all_done(w)


async def test_a_project_that_its_tool_shows_late_is_waited_for(w: World) -> None:
    await w.set_connection("asana", {"total_s": "1.5", "server_timeout_s": "0.1", "lag_s": "0.5"})
    try:
        await w.misbehave("asana", faults=lose("/projects$"), lag_s=0.4)
        await w.win()
        await w.quiet(forward=False)
    finally:
        await w.set_connection("asana", QUICK)
    assert len(w.made("asana", "project")) == 1
    assert all_done(w)


async def test_a_project_that_its_tool_lists_far_too_late_is_not_made_again_when_its_webhook_shows_it(w: World) -> None:
    """The tool breaks the lag that it declares; the marker in what its webhook points to tells all the same."""
    await w.misbehave("asana", faults=lose("/projects$"), lag_s=3600)
    await w.win()
    await w.quiet()
    await w.pass_time(5)
    assert {"Absent", "Done"} <= {row["outcome"] for row in w.rows(t.attempt)}
    assert len(w.made("asana", "project")) == 1
    assert w.effects()["project"] == ["done"]
    assert w.rows(t.finding, kind="double") == []


@pytest.mark.parametrize("wrong", ["html", "garbage"])
async def test_an_answer_that_says_nothing_is_doubt_not_success(w: World, wrong: str) -> None:
    await w.misbehave("asana", faults=[{"do": wrong, "path": "/projects$"}])
    await w.win()
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert all_done(w)
