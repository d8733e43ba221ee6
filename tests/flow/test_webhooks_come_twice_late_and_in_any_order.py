"""Webhooks are doorbells: twice, late, backwards or not at all, the record itself is what counts."""

from __future__ import annotations

import pytest
from sqlalchemy import delete

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def proof(w: World, *, missed: frozenset[str] = frozenset()) -> None:
    """Count what one client's whole way leaves in the tools. `missed`: the kinds that no webhook announced."""
    (project,) = await w.projects()
    assert len(project["tasks"]) == 5
    assert sum(len(task["comments"]) for task in project["tasks"]) == 1
    assert len(w.made("xero", "contact")) == 1
    assert len(w.made("xero", "invoice")) == 1
    assert len(w.notes()) == 2
    assert len(w.history("zendesk", "commented", by="api")) == 1
    assert {row["state"] for row in w.rows(t.effect)} == {"done"}
    mine = {line["id"] for tool in w.tools for line in w.history(tool, "created")}
    assert {row["state"] for row in w.rows(t.notice) if row["record_id"] in mine} <= {"processed", "ignored"}
    found = {(row["kind"], row["subject_kind"]) for row in w.rows(t.finding)}
    assert {kind for _, kind in found} >= missed
    assert {what for what, _ in found} == ({"missed"} if missed else set())


async def whole_way(w: World) -> None:
    _, project = await w.won_project()
    await w.open_ticket()
    await w.quiet()
    await w.act("asana", "complete_project", project=project)
    await w.quiet()


@pytest.mark.parametrize("hooks", [{"copies": 3}, {"reverse": True, "copies": 2}, {"lag_s": 0.15}])
async def test_the_whole_way_is_the_same_however_webhooks_come(w: World, hooks: dict[str, object]) -> None:
    for tool in w.tools:
        await w.misbehave(tool, hooks=hooks)
    await whole_way(w)
    await w.quiet()
    await proof(w)


async def test_news_that_arrives_after_it_is_over_changes_nothing(w: World) -> None:
    await w.misbehave("hubspot", hooks={"lag_s": 0.3})
    ids = await w.win()
    await w.act("hubspot", "lose_deal", deal=ids["deal"])
    await w.quiet()
    assert w.rows(t.deal)[0]["status"] == "lost"
    assert w.made("asana", "project") == []


async def test_what_webhooks_missed_is_found_by_the_sweep(w: World) -> None:
    await w.pass_time(0)  # the first look, which a hub takes within seconds of its start, says from when on it looks
    with w.engine.begin() as conn:  # one that is open already only counts on, and is an earlier story's
        conn.execute(delete(t.finding).where(t.finding.c.kind == "missed"))
    for tool in w.tools:
        await w.misbehave(tool, hooks={"drop": True})
    ids = await w.win()
    await w.quiet()
    assert w.made("asana", "project") == []
    await w.pass_time(16 * 60)
    (project,) = w.made("asana", "project")
    await w.open_ticket()
    await w.pass_time(16 * 60)
    await w.act("asana", "complete_project", project=project["id"])
    await w.pass_time(16 * 60)
    assert ids["deal"] in {row["record_id"] for row in w.rows(t.notice)}
    await proof(w, missed=frozenset({"hubspot.deal", "asana.project", "zendesk.ticket"}))


async def test_a_hub_that_was_away_gets_what_the_tools_send_again(w: World) -> None:
    await w.stop_hub()
    ids = await w.win()
    await w.until(lambda: w.history("hubspot", "sent"))
    assert {line["status"] for line in w.history("hubspot", "sent")} == {503}
    await w.start_hub()
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert {row["state"] for row in w.rows(t.notice, record_id=ids["deal"])} == {"processed"}
