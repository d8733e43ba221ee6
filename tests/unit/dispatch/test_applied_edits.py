"""P6: what was sent or put aside never changes with an edit, and what waits is made as the set says that planned it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifecyclehub.admin.applied import read_applied
from lifecyclehub.admin.effects import Answer, AnswerEffects
from tests.support.effects import advance, decide_again, effect, in_flight, put, ready_project
from tests.support.home import apply_files
from tests.support.reach import Middle
from tests.support.story import Story

FINAL = ("in flight", "in doubt", "parked", "done")


@pytest.mark.parametrize("state", FINAL)
def test_an_applied_edit_never_changes_what_was_sent_or_put_aside(story: Story, state: str) -> None:
    prepared = in_flight(story)
    put(story, prepared, state=state, reason="as it was")
    before = effect(story, prepared)
    _edit_name(story)
    story.rules = _applied(story)
    story.switch("won-deal-starts-delivery", "off")

    advance(story, prepared.effect)
    assert effect(story, prepared) == before
    decide_again(story)
    assert effect(story, prepared) == before


def test_what_waits_is_rendered_with_the_set_that_planned_it_and_a_new_revision_with_the_newest(story: Story) -> None:
    prepared = ready_project(story)
    _edit_name(story)
    story.rules = _applied(story)

    (same,) = advance(story, prepared.effect)
    assert same.input["name"] == prepared.input["name"] != "Shop rebuild"

    put(story, prepared, state="parked", reason="refused")
    with story.engine.begin() as conn:
        word = Answer(effect=prepared.effect, verdict="anew", who="kim")
        AnswerEffects(story.rules, story.ids, story.clock, Middle())(conn, [word])
    (fresh,) = advance(story, prepared.effect)
    assert fresh.input["name"] == "Shop rebuild"
    assert effect(story, prepared)["applied_set"] == story.rules.version


def test_what_a_set_planned_that_cannot_be_used_any_more_is_a_persons(story: Story) -> None:
    prepared = ready_project(story)
    old = story.rules.version
    _edit_name(story)
    story.rules = replace(_applied(story), earlier={old: "its connector is another one now"})
    assert advance(story, prepared.effect) == []
    parked = effect(story, prepared)
    assert (parked["state"], parked["reason"]) == ("parked", "mapping")
    assert "its connector is another one now" in parked["detail"]


def test_what_another_hub_planned_with_a_set_not_taken_over_yet_is_left_to_it(story: Story) -> None:
    prepared = ready_project(story)
    before = effect(story, prepared)
    story.rules = replace(story.rules, version="an older one", earlier={})
    assert advance(story, prepared.effect) == []
    assert effect(story, prepared) == before


def _edit_name(story: Story) -> None:
    file = story.settings.mappings / "handoffs.toml"
    file.write_text(file.read_text("utf-8").replace("concat(client.name, ': ', deal.title)", "deal.title"), "utf-8")


def _applied(story: Story) -> Any:
    apply_files(story.settings, story.registry)
    return story.ask(read_applied, story.registry, story.settings.zone).rules
