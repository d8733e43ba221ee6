"""An owner whom a tool only seems not to know, because its people were not listed yet, gets what is theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.dispatch.upkeep import Advance
from lifecyclehub.insight.clocks import CHANGES
from lifecyclehub.messages import Document
from lifecyclehub.store import tables as t
from lifecyclehub.store.upsert import insert_all
from tests.support.story import Story, won_deal

ASTRID = "astrid@northwind.example"


def owned_deal() -> Document:
    deal = won_deal()
    return replace(deal, data={**deal.data, "owner": {"email": ASTRID}})


def listing_ends(story: Story) -> None:
    with story.engine.begin() as conn:
        ended: dict[str, Any] = {"connection": "con_asana", "kind": "asana.user", "way": CHANGES, "swept_at": story.clock.now()}
        insert_all(conn, t.cursor, [ended])


def joins(story: Story) -> None:
    person = {"gid": "11", "name": "Astrid Holm", "email": ASTRID}
    story.see("asana", Document(kind="asana.user", id="11", account="account-asana", data=person))


def goes_on(story: Story) -> list[Prepared]:
    (row,) = story.rows(t.effect, name="project")
    with story.engine.begin() as conn:
        (prepared,) = Advance(story.rules, story.ids, story.clock)(conn, [row["id"]])
    return prepared


@pytest.fixture
def just_connected(story: Story) -> Story:
    story.switch("won-deal-starts-delivery")
    story.change(t.connection, "con_asana", created_at=story.clock.now())
    return story


def test_what_is_owned_waits_until_the_people_were_listed(just_connected: Story) -> None:
    story = just_connected
    assert story.see("hubspot", owned_deal()) == []
    (row,) = story.rows(t.effect, name="project")
    assert (row["state"], row["reason"]) == ("ready", "owner")
    assert row["not_before"] > story.clock.now()
    assert story.rows(t.finding, kind="unassigned") == []

    joins(story)
    listing_ends(story)
    story.clock.at += 2
    (prepared,) = goes_on(story)
    assert prepared.input["owner"] == {"email": ASTRID, "record": "11"}


def test_who_is_not_among_the_people_listed_is_nobody_there(just_connected: Story) -> None:
    story = just_connected
    listing_ends(story)
    (prepared,) = story.see("hubspot", owned_deal())
    assert prepared.input["owner"] == {"email": ASTRID, "record": None}
    (finding,) = story.rows(t.finding, kind="unassigned")
    assert finding["detail"].startswith(f"{ASTRID} is nobody in asana")


def test_a_tool_that_never_lists_its_people_keeps_nothing_waiting(just_connected: Story) -> None:
    story = just_connected
    assert story.see("hubspot", owned_deal()) == []
    story.clock.at += 60
    (prepared,) = goes_on(story)
    assert prepared.input["owner"] == {"email": ASTRID, "record": None}
