"""When ticks come in a scenario: when the hub has something to do, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from lifecyclehub.dispatch.upkeep import PutOff, due_effects, put_off
from lifecyclehub.messages import Done, Unknown
from lifecyclehub.torture import due
from tests.support.effects import claim, effect, put, receive
from tests.support.story import Story, won_deal


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    told = Story(tmp_path)
    yield told
    told.close()


def test_what_is_behind_another_on_its_record_calls_for_no_tick_until_it_has_its_turn(story: Story) -> None:
    story.switch("client-standing-to-crm")
    (first,) = story.see("hubspot", won_deal(stage="appointmentscheduled"))
    assert claim(story, first).verdict == "go"
    receive(story, first, Unknown("no answer"))
    looked_at, spared = story.clock.now() + timedelta(hours=1), story.clock.now()
    put(story, first, not_before=looked_at)
    (second,) = story.see("hubspot", won_deal(stage="closedwon"))
    with story.engine.begin() as conn:
        put_off(conn, [PutOff(second.effect, second.epoch, spared, "the tool is spared")])
    assert effect(story, second)["target"] == effect(story, first)["target"]

    assert story.ask(due.standing).due == looked_at

    receive(story, first, Done(record_id="7001"), what="looked up")
    assert story.ask(due.standing).due == spared
    assert [one.id for one in story.ask(due_effects, story.clock.now())] == [second.effect]
