"""Owners are teammates: found in each tool by their e-mail address, assigned there by that tool's own id for them."""

from __future__ import annotations

from typing import Any

import pytest

from lifecyclehub.insight.check import Problem, check
from lifecyclehub.insight.explain import explain
from lifecyclehub.insight.findings import INVITE, latest_findings
from lifecyclehub.insight.status import read_status
from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio

AN_HOUR = 3601.0


async def joins(w: World, name: str, tool: str = "asana", email: str | None = None) -> tuple[str, str]:
    """Let somebody join the project tool; gives the address and the tool's id for them."""
    address = email or f"{name.replace(' ', '.').lower()}.{w.stories}@northwind.example"
    person = (await w.act(tool, "add_person", name=name, email=address))["id"]
    await w.pass_time(AN_HOUR)
    return address.lower(), person


async def tasks(w: World) -> list[Any]:
    return [task for project in await w.projects() for task in project["tasks"]]


def said(w: World, effect: str) -> str:
    with w.engine.connect().execution_options(write=False) as conn, conn.begin():
        return "\n".join(explain(conn, w.hub.rules, effect, w.clock.now()).lines)


def findings(w: World) -> list[str]:
    with w.engine.connect().execution_options(write=False) as conn, conn.begin():
        return [one.detail for one in latest_findings(conn) if one.kind == "unassigned"]


def problems(w: World) -> tuple[Problem, ...]:
    abouts = {name: connector.about for name, connector in w.registry.connectors.items()}
    with w.engine.connect().execution_options(write=False) as conn, conn.begin():
        return check(read_status(conn, abouts=abouts, handoffs=w.hub.rules.handoffs.handoffs, now=w.clock.now()))


async def test_the_checklist_is_the_owners_in_the_project_tool_however_the_address_is_written(w: World) -> None:
    address, person = await joins(w, "Astrid Holm", email=f"Astrid.Holm.{w.stories}@Northwind.Example")
    await w.win(owner_email=address)
    await w.quiet()
    assert {task["assignee"] for task in await tasks(w)} == {f"Astrid.Holm.{w.stories}@Northwind.Example"}
    (made,) = w.made("asana", "project")
    assert w.tools["asana"].state.projects.get(made["id"])["owner"]["gid"] == person
    (row, *_) = w.rows(t.effect, name="checklist")
    assert row["input"]["owner"] == {"email": address, "record": person}
    assert row["body"]["json"]["data"]["assignee"] == person
    assert f"Its owner {address} is {person} in asana." in said(w, row["id"])


async def test_a_teammate_is_one_in_all_tools(w: World) -> None:
    address, person = await joins(w, "Bea Lund")
    owner = (await w.act("hubspot", "add_owner", email=address))["owner"]
    await w.pass_time(AN_HOUR)
    (link,) = w.rows(t.link, record_id=owner)
    (other,) = w.rows(t.link, record_id=person)
    assert (link["thing_kind"], link["thing"]) == (other["thing_kind"], other["thing"])
    (teammate,) = w.rows(t.teammate, id=link["thing"])
    assert teammate["email"] == address


async def test_an_owner_nobody_knows_leaves_the_tasks_to_nobody_and_that_is_shown(w: World) -> None:
    address = f"nobody.{w.stories}@northwind.example"
    await w.win(owner_email=address)
    await w.quiet()
    made = await tasks(w)
    assert w.effects() == {"project": ["done"], "checklist": ["done"] * 4, "note": ["done"]}
    assert {task["assignee"] for task in made} == {None}
    assert all(f"For {address}" in task["notes"] for task in made)
    (row, *_) = w.rows(t.effect, name="checklist")
    assert f"{address} is nobody in asana" in said(w, row["id"])
    (finding,) = [one for one in findings(w) if address in one]  # one for all four tasks
    assert finding.startswith(f"{address} is nobody in asana")
    (problem,) = [one for one in problems(w) if address in one.what]
    assert problem.severity == "look"
    assert problem.mend.startswith(INVITE)

    await joins(w, "Nobody Yet", email=address)
    assert [one for one in findings(w) if address in one] == []
    await w.win(title="Second job", owner_email=address)
    await w.quiet()
    assert [task["assignee"] for task in await tasks(w)] == [None] * 4 + [address] * 4


async def test_a_teammate_who_takes_another_address_in_one_tool_is_still_found_by_the_old_one(w: World) -> None:
    address, person = await joins(w, "Cleo Maar")
    await w.act("asana", "edit_person", person=person, email=f"cleo.new.{w.stories}@northwind.example", name="Cleo Neu")
    await w.pass_time(AN_HOUR)
    (link,) = w.rows(t.link, record_id=person)
    (teammate,) = w.rows(t.teammate, id=link["thing"])
    assert (teammate["email"], teammate["name"]) == (f"cleo.new.{w.stories}@northwind.example", "Cleo Neu")
    await w.win(owner_email=address)  # the CRM still has the old address
    await w.quiet()
    assert {task["assignee"] for task in await tasks(w)} == {f"cleo.new.{w.stories}@northwind.example"}
    assert [one for one in findings(w) if address in one] == []


async def test_a_teammate_who_left_is_not_assigned_to_and_parks_nothing(w: World) -> None:
    address, person = await joins(w, "Dana Roth")
    await w.act("asana", "remove_person", person=person)
    await w.pass_time(AN_HOUR)
    (link,) = w.rows(t.link, record_id=person)
    assert link["deleted_at"] is not None
    await w.win(owner_email=address)
    await w.quiet()
    assert w.effects()["checklist"] == ["done"] * 4
    assert {task["assignee"] for task in await tasks(w)} == {None}


async def test_a_teammate_who_left_a_minute_ago_is_refused_by_the_tool_and_the_tasks_are_made_without(w: World) -> None:
    address, person = await joins(w, "Edda Frost")
    await w.act("asana", "remove_person", person=person)  # nobody told us
    await w.win(owner_email=address)
    await w.quiet()
    made = await tasks(w)
    assert w.effects() == {"project": ["done"], "checklist": ["done"] * 4, "note": ["done"]}
    assert [task["name"] for task in made].count("Hold the kick-off meeting") == 1
    assert {task["assignee"] for task in made} == {None}
    assert all(f"For {address}" in task["notes"] for task in made)
    assert len([one for one in findings(w) if f"{address} is nobody in asana" in one]) == 1
    assert w.rows(t.link, record_id=person)[0]["deleted_at"] is not None


async def test_an_address_that_somebody_else_has_by_now_is_theirs(w: World) -> None:
    address, before = await joins(w, "Finn Berg")
    await w.act("asana", "edit_person", person=before, email=f"finn.gone.{w.stories}@northwind.example")
    await w.pass_time(AN_HOUR)
    _, now = await joins(w, "Frida Berg", email=address)
    await w.win(owner_email=address)
    await w.quiet()
    (row, *_) = w.rows(t.effect, name="checklist")
    assert row["input"]["owner"]["record"] == now
