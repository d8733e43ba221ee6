"""After a restore a field of ours may show what we wrote ourselves and have forgotten: ours is written again, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from lifecyclehub.admin.backup import mark_restored
from lifecyclehub.admin.restored import LookedBack, has_looked_back
from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.messages import Done
from lifecyclehub.store import tables as t
from tests.support.effects import claim, receive
from tests.support.story import Story, won_deal

WORDS = "in the time that a restore made it forget"


def show(story: Story, stage: str, *, deal: str = "appointmentscheduled", at: datetime | None = None) -> list[Prepared]:
    """Let the CRM show a deal whose company has this lifecycle stage; gives the writes of the standing that follow."""
    seen = won_deal(stage=deal)
    data = seen.related[0].data
    company = replace(
        seen.related[0], version=None, changed_at=at, data={**data, "properties": {**data["properties"], "lifecyclestage": stage}}
    )
    return [one for one in story.see("hubspot", replace(seen, related=(company,))) if one.action == "set_fields"]


def drifts(story: Story) -> list[str]:
    return [row["detail"] for row in story.rows(t.finding, kind="drift")]


@pytest.fixture
def told(story: Story) -> Story:
    """The CRM was told that the client is a contact, and has shown it."""
    story.switch("client-standing-to-crm")
    (write,) = show(story, "lead")
    assert claim(story, write).verdict == "go"
    receive(story, write, Done(record_id="7001"), epoch=write.epoch + 1)
    assert show(story, "opportunity") == []
    assert drifts(story) == []
    return story


def restore(story: Story, *, looked: bool = False) -> None:
    """Put a backup of this moment back an hour later; `looked`: every tool was looked at since."""
    made_at = story.clock.now()
    story.clock.at += 3600
    with story.engine.begin() as conn:
        mark_restored(conn, made_at, story.clock.now())
    if looked:
        look_back(story)


def look_back(story: Story) -> None:
    """Note that every tool was looked at, the record in question perhaps not."""
    story.clock.at += 1
    with story.engine.begin() as conn:
        has_looked_back(conn, [LookedBack(story.clock.now(), conn.execute(select(t.installation.c.configured)).scalar_one())])


@pytest.mark.parametrize("looked", [False, True])
def test_what_the_tool_was_told_in_the_forgotten_time_and_holds_no_more_is_corrected(told: Story, looked: bool) -> None:
    restore(told, looked=looked)

    (write,) = show(told, "customer", at=told.clock.now() - timedelta(minutes=30))

    assert write.input is not None
    assert write.input["values"] == {"client.standing": "contact"}
    (said,) = drifts(told)
    assert WORDS in said
    assert told.rows(t.client)[0]["standing_since"] > told.rows(t.installation)[0]["restored_at"]
    look_back(told)
    assert claim(told, write).verdict == "go"
    receive(told, write, Done(record_id="7001"), epoch=write.epoch + 1)
    assert show(told, "opportunity") == []
    assert show(told, "customer") == [], "once"


def test_until_every_tool_was_looked_at_any_look_may_show_what_is_forgotten(told: Story) -> None:
    restore(told)
    assert show(told, "opportunity") == []  # the tool has yet to do what it was asked for just before

    (write,) = show(told, "customer")

    assert write.input is not None
    assert write.input["values"] == {"client.standing": "contact"}


def test_what_holds_by_now_is_neither_shown_nor_dated_anew(told: Story) -> None:
    restore(told)
    show(told, "opportunity", deal="closedwon")  # the deal was won, and the company is listed as it was
    (client,) = told.rows(t.client)
    assert client["standing"] == "client"

    show(told, "customer", deal="closedwon")

    assert drifts(told) == []
    assert told.rows(t.client)[0]["standing_since"] == client["standing_since"]


def test_what_the_tool_says_was_changed_after_it_was_looked_at_is_a_persons_change(told: Story) -> None:
    restore(told, looked=True)
    told.clock.at += 3 * 3600

    assert show(told, "customer", at=told.clock.now()) == []

    (said,) = drifts(told)
    assert "was changed in the tool" in said


def test_only_the_first_look_at_a_record_after_the_tools_were_looked_at_may_show_what_is_forgotten(told: Story) -> None:
    restore(told, looked=True)
    assert show(told, "opportunity") == []

    assert show(told, "customer") == []

    (said,) = drifts(told)
    assert "was changed in the tool" in said


def test_without_a_restore_a_foreign_change_is_shown_and_nothing_is_written(told: Story) -> None:
    assert show(told, "customer") == []
    (said,) = drifts(told)
    assert "was changed in the tool" in said
