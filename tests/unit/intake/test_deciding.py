"""Step 6 looks at what is true now: it dates what it derives by facts, and takes an empty setting for a missing one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update

from lifecyclehub.intake.decide import Decide
from lifecyclehub.store import tables as t
from tests.support.story import Story, won_deal

WON_AT = datetime.fromisoformat("2026-03-01T10:00:00+00:00")


def decide_again(story: Story) -> None:
    ids = [row["id"] for row in story.rows(t.engagement)]
    with story.engine.begin() as conn:
        Decide(story.rules, story.ids, story.clock)(conn, [(ids, [])])


def test_a_first_standing_is_dated_by_its_newest_fact_and_not_by_when_we_looked(story: Story) -> None:
    story.see("hubspot", won_deal())

    (client,) = story.rows(t.client)
    assert client["standing"] == "client"
    assert client["standing_since"] == WON_AT < story.clock.now()


def test_a_later_standing_is_dated_by_when_it_was_derived(story: Story) -> None:
    story.see("hubspot", won_deal())
    story.clock.at += 3600
    story.see("hubspot", won_deal(stage="closedlost"))

    (client,) = story.rows(t.client)
    assert client["standing"] != "client"
    assert client["standing_since"] == story.clock.now()


def test_a_later_standing_began_later_also_when_our_clock_was_put_back(story: Story) -> None:
    story.see("hubspot", won_deal())
    story.clock.at -= (story.clock.now() - WON_AT).total_seconds() + 3600
    story.see("hubspot", won_deal(stage="closedlost"))

    (client,) = story.rows(t.client)
    assert client["standing"] != "client"
    assert story.clock.now() < WON_AT < client["standing_since"]


def test_a_standing_that_stays_keeps_its_date(story: Story) -> None:
    story.see("hubspot", won_deal())
    story.clock.at += 3600
    decide_again(story)

    assert story.rows(t.client)[0]["standing_since"] == WON_AT


def test_a_setting_that_was_emptied_is_as_one_that_was_never_given(story: Story) -> None:
    story.change(t.connection, "con_asana", settings={"project_template": ""})
    story.switch("won-deal-starts-delivery")

    (project,) = story.see("hubspot", won_deal())

    assert project.input["template"] is None
    assert story.rows(t.effect, name="rename") == [], "only a project from a template is renamed"


def test_a_setting_that_is_given_counts(story: Story) -> None:
    story.change(t.connection, "con_asana", settings={"project_template": "77"})
    story.switch("won-deal-starts-delivery")

    (project,) = story.see("hubspot", won_deal())

    assert project.input["template"] == "77"
    assert [row["state"] for row in story.rows(t.effect, name="rename")] == ["held"]


def test_a_standing_says_nothing_of_clients_who_have_no_facts(story: Story) -> None:
    with story.engine.begin() as conn:
        conn.execute(
            t.client.insert().values(id="cli_1", name="Nobody yet", standing="lead", created_at=story.clock.now(), fields={})
        )
        Decide(story.rules, story.ids, story.clock)(conn, [([], ["cli_1"])])
        conn.execute(update(t.client).values(name="Nobody still"))

    assert story.rows(t.client)[0]["standing_since"] == story.clock.now()
