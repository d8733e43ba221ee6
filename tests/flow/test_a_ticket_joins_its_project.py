"""A ticket comes in: it joins its project, which hears of it without its text."""

from __future__ import annotations

from typing import Any

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def comments(w: World) -> dict[str, list[str]]:
    """Give the comments in each of this story's projects."""
    return {one["gid"]: [text for task in one["tasks"] for text in task["comments"]] for one in await w.projects()}


async def ticket(w: World, number: str) -> Any:
    tickets = (await w.act("zendesk", "list"))["tickets"]
    return next(one for one in tickets if str(one["id"]) == number)


async def test_a_ticket_joins_the_clients_only_live_project_which_never_sees_its_text(w: World) -> None:
    _, project = await w.won_project()
    number = await w.open_ticket(text="My password is hunter2.")
    await w.quiet()
    (comment,) = (await comments(w))[project]
    assert f"Ticket {number}: Login broken" in comment
    assert f"/agent/tickets/{number}" in comment
    assert "hunter2" not in str(await w.act("asana", "list"))
    assert "hunter2" not in w.tools["asana"].history.path.read_text("utf-8")
    _, ours = (await ticket(w, number))["comments"]
    assert not ours["public"]
    (known,) = await w.projects()
    assert known["permalink_url"] in ours["body"]


async def test_every_ticket_of_a_project_is_announced_in_the_same_place(w: World) -> None:
    _, project = await w.won_project()
    for subject in ("First", "Second", "Third"):
        await w.open_ticket(subject=subject)
    await w.quiet()
    assert len((await comments(w))[project]) == 3
    (known,) = await w.projects()
    assert len([one for one in known["tasks"] if one["name"] == "Support tickets"]) == 1


@pytest.mark.parametrize("by", ["address", "id"])
async def test_a_ticket_joins_the_project_that_it_names(w: World, by: str) -> None:
    _, first = await w.won_project()
    _, second = await w.won_project(title="Newsletter")
    named = next(one for one in await w.projects() if one["gid"] == second)
    await w.open_ticket(project_ref=named["permalink_url"] if by == "address" else second)
    await w.quiet()
    found = await comments(w)
    assert (len(found[first]), len(found[second])) == (0, 1)


async def test_a_ticket_without_a_project_waits_and_joins_when_one_appears(w: World) -> None:
    ids = await w.inquire()
    await w.quiet()
    number = await w.open_ticket()
    await w.quiet()
    assert (await ticket(w, number))["comments"][1:] == []
    await w.act("hubspot", "win_deal", deal=ids["deal"])
    await w.quiet()
    ((comment,),) = (await comments(w)).values()
    assert f"Ticket {number}" in comment
    assert len((await ticket(w, number))["comments"]) == 2


async def test_a_ticket_that_waits_joins_our_own_project_though_no_webhook_tells_of_it(w: World) -> None:
    await w.misbehave("asana", hooks={"drop": True})
    ids = await w.inquire()
    await w.quiet()
    number = await w.open_ticket()
    await w.quiet()
    await w.act("hubspot", "win_deal", deal=ids["deal"])
    await w.quiet()
    assert w.rows(t.notice, connector="asana") == []
    ((comment,),) = (await comments(w)).values()
    assert f"Ticket {number}" in comment
    assert len((await ticket(w, number))["comments"]) == 2
    assert [row["stage"] for row in w.rows(t.engagement)] == ["delivery"]


async def test_a_ticket_of_a_client_with_several_projects_is_parked_with_the_choices_until_it_names_one(w: World) -> None:
    _, first = await w.won_project()
    _, second = await w.won_project(title="Newsletter")
    number = await w.open_ticket()
    await w.quiet()
    assert await comments(w) == {first: [], second: []}
    parked = [row for row in w.rows(t.notice, record_id=number) if row["state"] == "parked"]
    assert parked
    assert all("Website relaunch" in row["detail"] and "Newsletter" in row["detail"] for row in parked)

    await w.act("zendesk", "set_project", ticket=number, project_ref=second)
    await w.quiet()
    found = await comments(w)
    assert (len(found[first]), len(found[second])) == (0, 1)
    await w.hub.close_answered()
    assert {row["state"] for row in w.rows(t.notice, record_id=number)} == {"processed"}


async def test_a_ticket_of_somebody_unknown_joins_nothing(w: World) -> None:
    await w.won_project()
    before = w.writes()
    await w.open_ticket(requester_email="eve@elsewhere.example")
    await w.quiet()
    assert w.writes() == before


async def test_a_ticket_does_not_join_a_closed_project(w: World) -> None:
    _, project = await w.won_project()
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    await w.open_ticket()
    await w.quiet()
    assert (await comments(w))[project] == []
