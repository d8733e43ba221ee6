"""Nothing acts on history: handoffs begin switched off, and act only on what came true after they were switched on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import CLOSED, TICKET, WON, World, world

pytestmark = pytest.mark.anyio


def withheld(w: World, handoff: str) -> list[str]:
    return [row["facts"]["code"] for row in w.rows(t.finding, kind="withheld") if row["facts"]["handoff"] == handoff]


async def test_handoffs_begin_off_and_leave_the_facts_of_that_time_alone_unless_told_otherwise(
    tmp_path: Path, database_url: str
) -> None:
    async with world(tmp_path, database_url, on=()) as w:
        before = w.clock.now() - timedelta(minutes=1)
        old = await w.win()
        await w.quiet()
        assert w.writes() == 0
        assert w.rows(t.effect) == []

        await w.switch(WON)
        await w.quiet()
        assert w.writes() == 0
        assert withheld(w, WON) == ["before-go-live"]

        w.begin_story()
        await w.won_project()
        assert len(w.made("asana", "project")) == 1

        # News of the old deal, by whatever way, does not make it a new fact.
        w.begin_story()
        await w.act("hubspot", "edit_deal", deal=old["deal"], amount="99.00")
        await w.resend("hubspot")
        await w.quiet()
        assert w.writes() == 0

        await w.switch(WON, "off")
        await w.win()
        await w.quiet()
        await w.switch(WON)
        await w.quiet()
        assert w.writes() == 0

        await w.switch(WON, since=before)
        await w.quiet()
        assert len(w.made("asana", "project")) == 2
        assert w.history("asana", "created", kind="project")


async def test_switching_off_holds_what_was_not_begun_and_switching_on_lets_it_go(tmp_path: Path, database_url: str) -> None:
    async with world(tmp_path, database_url, on=(WON,)) as w:
        since = w.rows(t.handoff, id=WON)[0]["go_live"]
        await w.pause("asana")
        await w.win()
        await w.quiet()
        await w.switch(WON, "off")
        await w.resume("asana")
        await w.quiet()
        assert {(row["state"], row["reason"]) for row in w.rows(t.effect)} == {("held", "stopped")}
        assert w.writes() == 0
        await w.switch(WON, since=since)
        await w.quiet()
        assert w.effects() == {"project": ["done"], "checklist": ["done"] * 4, "note": ["done"]}


async def test_each_handoff_is_switched_by_itself(tmp_path: Path, database_url: str) -> None:
    async with world(tmp_path, database_url, on=(WON,)) as w:
        _, project = await w.won_project()
        before = w.writes()
        await w.open_ticket()
        await w.quiet()
        await w.act("asana", "complete_project", project=project)
        await w.quiet()
        assert w.writes() == before
        assert {row["handoff"] for row in w.rows(t.effect)} == {WON}
        w.clock.forward(1.0)  # a ticket's time is told in whole seconds, and the second of the go-live counts
        for handoff in (TICKET, CLOSED):
            await w.switch(handoff)
        await w.quiet()
        assert w.writes() == before
        assert withheld(w, CLOSED) == ["before-go-live"]
        assert withheld(w, TICKET) == ["before-go-live"]


async def test_what_was_true_at_first_sight_without_a_known_time_is_the_baseline(w: World) -> None:
    await w.misbehave("hubspot", hooks={"drop": True})
    ids = await w.win()
    await w.quiet()
    w.tools["hubspot"].state.get("deals", ids["deal"]).past.pop("dealstage")
    await w.misbehave("hubspot", hooks={})
    await w.act("hubspot", "edit_deal", deal=ids["deal"], amount="99.00")
    await w.quiet()
    assert w.rows(t.deal)[0]["status"] == "won"
    assert w.writes() == 0
    assert withheld(w, WON) == ["baseline"]
