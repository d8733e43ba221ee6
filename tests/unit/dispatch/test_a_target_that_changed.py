"""An effect waits for its turn on the record that it writes to; that may become another record while it waits."""

from __future__ import annotations

from lifecyclehub.dispatch.upkeep import Advance
from tests.support.effects import DONE, claim, effect, in_flight, put, receive
from tests.support.story import Story


def test_what_is_ready_takes_its_turn_on_its_present_record(story: Story) -> None:
    """Else it would wait for ever for its turn on a record that was merged into another one."""
    woken = receive(story, in_flight(story), DONE)
    with story.engine.begin() as conn:
        ready = [one for some in Advance(story.rules, story.ids, story.clock)(conn, woken) for one in some]
    prepared = next(one for one in ready if one.target is not None)
    put(story, prepared, target="con_hubspot/hubspot.deal/merged-away")

    with story.engine.begin() as conn:
        ((again,),) = Advance(story.rules, story.ids, story.clock)(conn, [prepared.effect])

    assert effect(story, prepared)["target"] == again.target == prepared.target
    assert claim(story, again).verdict == "go"
