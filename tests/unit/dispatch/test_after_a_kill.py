"""A hub that was killed leaves nothing waiting for it: the next one goes on with it at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lifecyclehub.dispatch.upkeep import due_effects, expire
from tests.support.effects import effect, in_flight
from tests.support.story import Story


@pytest.mark.parametrize(("state", "handle"), [("in doubt", None), ("in flight", "901")])
def test_what_the_hub_before_was_just_looking_up_is_looked_up_at_once(story: Story, state: str, handle: str | None) -> None:
    now = story.clock.now()
    put_off = now + timedelta(minutes=2)
    prepared = in_flight(story, state=state, handle=handle, holder="hub_1", not_before=put_off)
    assert story.ask(due_effects, now) == []

    with story.engine.begin() as conn:
        expire(conn, [(now, "hub_2")])

    assert [(one.id, one.state) for one in story.ask(due_effects, now)] == [(prepared.effect, state)]


def test_a_look_that_this_hub_has_begun_is_not_begun_again(story: Story) -> None:
    now = story.clock.now()
    prepared = in_flight(story, state="in doubt", holder="hub_1", not_before=now + timedelta(minutes=2))

    with story.engine.begin() as conn:
        expire(conn, [(now, None), (now, "hub_1")])

    assert effect(story, prepared)["not_before"] == now + timedelta(minutes=2)
