"""What we make in a tool comes back as that tool's news: it is recognised, and never answered with more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


def projects_known(w: World) -> int:
    return len(w.rows(t.project))


@pytest.mark.parametrize("lag_s", [0.0, 0.25])
async def test_our_project_comes_back_before_or_after_our_receipt_and_makes_no_second_thing(w: World, lag_s: float) -> None:
    await w.misbehave("asana", hooks={"lag_s": lag_s})
    await w.won_project()
    assert projects_known(w) == 1
    assert [row["kind"] for row in w.rows(t.finding)] == []
    links = [row for row in w.rows(t.link, kind="asana.project") if row["record_id"] == w.made("asana", "project")[0]["id"]]
    assert [row["thing"] for row in links] == [w.rows(t.project)[0]["id"]]
    events = [row["kind"] for row in w.rows(t.event)]
    assert events.count("project.opened") == 1


@pytest.mark.parametrize("behind_s", [0, 30])
async def test_a_project_seen_while_its_create_is_in_doubt_waits_for_it_whatever_the_vendors_clock_says(
    w: World, behind_s: int
) -> None:
    tool = w.tools["asana"]
    clock, tool.clock = tool.clock, lambda: w.clock.now() - timedelta(seconds=behind_s)
    await w.misbehave("asana", faults=[{"do": "lose_answer", "path": "/projects$"}])
    await w.win()
    try:
        await w.until(lambda: [row for row in w.rows(t.notice, kind="asana.project") if row["state"] == "held"])
    finally:
        tool.clock = clock
    (held,) = w.rows(t.notice, kind="asana.project")
    (project,) = w.rows(t.effect, name="project")
    assert held["reason"] == f"waiting({project['id']})"
    await w.quiet()
    assert projects_known(w) == 1
    assert {row["state"] for row in w.rows(t.notice, kind="asana.project")} == {"processed"}


async def test_a_persons_project_made_at_the_same_time_stays_the_persons(w: World) -> None:
    await w.misbehave("asana", faults=[{"do": "lose_answer", "path": "/projects$"}])
    await w.win()
    await w.until(lambda: w.effects().get("project") == ["in doubt"])
    theirs = (await w.act("asana", "create_project_by_hand", name="Something else"))["id"]
    await w.quiet()
    assert projects_known(w) == 1
    (ours,) = w.made("asana", "project")
    assert w.rows(t.effect, name="project")[0]["record_id"] == ours["id"]
    endings = {(row["state"], row["reason"]) for row in w.rows(t.notice, record_id=theirs)}
    assert endings == {("ignored", "unlinked")}


async def test_a_copy_of_our_project_is_shown_and_never_acted_on(w: World) -> None:
    _, project = await w.won_project()
    before = w.writes()
    copy = (await w.act("asana", "copy_project", project=project))["id"]
    await w.quiet()
    await w.act("asana", "complete_project", project=copy)
    await w.quiet()
    assert w.writes() == before
    assert projects_known(w) == 1
    assert "double" in {row["kind"] for row in w.rows(t.finding)}
    assert {row["state"] for row in w.rows(t.notice, record_id=copy)} == {"parked"}


async def test_once_nothing_changes_outside_the_hub_writes_nothing_more(w: World) -> None:
    _, project = await w.won_project()
    await w.open_ticket()
    await w.quiet()
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    before = w.writes()
    assert before > 10
    await w.resend()
    await w.quiet()
    await w.pass_time(16 * 60)  # every kind is swept
    assert w.writes() == before
    assert {row["state"] for row in w.rows(t.effect)} == {"done"}


async def test_a_name_that_a_person_gives_a_project_stays(w: World) -> None:
    _, project = await w.won_project()
    before = w.writes()
    await w.act("asana", "rename_project_by_hand", project=project, name="Relaunch, phase one")
    await w.quiet()
    assert w.rows(t.project)[0]["title"] == "Relaunch, phase one"
    assert w.writes() == before
