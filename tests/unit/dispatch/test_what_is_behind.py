"""What may have made a client's record in a tool keeps others from making it, also while a person is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecyclehub.dispatch.upkeep import Advance, forgotten_effects
from lifecyclehub.messages import Done
from tests.support.effects import claim, effect, put, receive, two_customers
from tests.support.story import Story


@pytest.fixture(params=["sqlite", "postgres"])
def story(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Story]:
    """A hub's store, on each database."""
    told = Story(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else None)
    yield told
    told.close()


@pytest.mark.parametrize("maybe", ["unsure_since", "handle", "record_id"])
@pytest.mark.parametrize("state", ["parked", "held"])
def test_a_customer_that_may_have_been_entered_keeps_the_next_one_waiting_also_for_a_person(
    story: Story, state: str, maybe: str
) -> None:
    first, second = two_customers(story)
    assert claim(story, first).verdict == "go"
    put(story, first, state=state, **{maybe: story.clock.now() if maybe == "unsure_since" else "x1"})

    assert claim(story, second).verdict == "gone"
    row = effect(story, second)
    assert (row["state"], row["reason"]) == ("held", "unanswered")
    assert first.effect in row["detail"]
    assert second.effect not in story.ask(forgotten_effects)

    if state == "parked":
        receive(story, first, Done(record_id="x1"), what="by a person")
    else:
        put(story, first, unsure_since=None, handle=None, record_id=None)
    assert second.effect in story.ask(forgotten_effects), "nobody wakes it else"
    with story.engine.begin() as conn:
        Advance(story.rules, story.ids, story.clock)(conn, [second.effect])
    assert effect(story, second)["state"] == ("cancelled" if state == "parked" else "ready")


@pytest.mark.parametrize("other", [{"client": "cli_other"}, {"connection": "con_other"}, {"state": "cancelled"}])
def test_what_may_be_another_clients_or_tools_record_keeps_nobody_waiting(story: Story, other: dict[str, str]) -> None:
    first, second = two_customers(story)
    put(story, first, **{"state": "parked", "unsure_since": story.clock.now(), **other})

    assert claim(story, second).verdict == "go"
