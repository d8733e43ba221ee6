"""Salespeople change their mind: a deal is won, lost and won again, before or after we acted."""

from __future__ import annotations

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def test_a_deal_won_lost_and_won_again_has_still_one_project(w: World) -> None:
    ids, project = await w.won_project()
    await w.act("hubspot", "lose_deal", deal=ids["deal"])
    await w.quiet()
    assert w.rows(t.deal)[0]["status"] == "lost"
    await w.act("hubspot", "win_deal", deal=ids["deal"])
    await w.quiet()
    assert [one["id"] for one in w.made("asana", "project")] == [project]
    assert len(w.made("asana", "task")) == 4
    assert len(w.notes()) == 1


async def test_won_lost_and_won_in_one_breath_has_one_project(w: World) -> None:
    ids = await w.inquire()
    for name in ("win_deal", "lose_deal", "win_deal", "lose_deal", "win_deal"):
        await w.act("hubspot", name, deal=ids["deal"])
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert len(w.notes()) == 1


async def test_a_deal_lost_before_its_project_was_begun_cancels_it_and_the_same_key_comes_back(w: World) -> None:
    await w.pause("asana")
    ids = await w.win()
    await w.quiet()
    planned = {row["key"]: row["state"] for row in w.rows(t.effect)}
    assert planned
    assert set(planned.values()) == {"held"}

    await w.act("hubspot", "lose_deal", deal=ids["deal"])
    await w.quiet()
    assert {row["state"] for row in w.rows(t.effect)} == {"cancelled"}
    await w.resume("asana")
    await w.quiet()
    assert w.made("asana", "project") == []

    await w.act("hubspot", "win_deal", deal=ids["deal"])
    await w.quiet()
    assert {row["key"]: row["state"] for row in w.rows(t.effect)} == dict.fromkeys(planned, "done")
    assert len(w.made("asana", "project")) == 1


async def test_a_deal_lost_after_its_project_was_made_leaves_what_was_done(w: World) -> None:
    ids, _ = await w.won_project()
    before = w.writes()
    await w.act("hubspot", "lose_deal", deal=ids["deal"])
    await w.quiet()
    assert w.writes() == before
    assert w.effects() == {"project": ["done"], "checklist": ["done"] * 4, "note": ["done"]}
