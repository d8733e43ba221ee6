"""An effect in doubt: clocks that jump make no vendor's time be over, and no key younger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.dispatch.upkeep import Advance
from lifecyclehub.messages import Absent, Found
from lifecyclehub.store import tables
from tests.support.desk import KEY, MARKER, SERVER_S, TOTAL_S, Desk, doubt
from tests.support.effects import DONE, effect, in_flight, put
from tests.support.story import Story

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def either(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Story]:
    """A home in either database."""
    told = Story(tmp_path, *([] if request.param == "sqlite" else [request.getfixturevalue("postgres_url")]))
    yield told
    told.close()


def put_clock(story: Story, seconds: float) -> None:
    """Put the wall clock forward or back; no time passes."""
    story.clock.put += seconds


async def test_a_wall_clock_that_is_put_forward_makes_no_vendors_time_be_over(story: Story) -> None:
    prepared = in_flight(story)
    desk = Desk(story, MARKER).sent(prepared)
    put(story, prepared, state="in doubt", reason="no answer")
    put_clock(story, 3600)
    story.clock.at += TOTAL_S + SERVER_S

    assert (await desk.look(prepared))["state"] == "in doubt", "its lag is not over"
    story.clock.at += 21
    assert (await desk.look(prepared))["state"] == "ready"


async def test_a_wall_clock_that_is_put_back_delays_nothing_more_than_it_must(story: Story) -> None:
    prepared = in_flight(story)
    desk = Desk(story, MARKER).sent(prepared)
    put(story, prepared, state="in doubt", reason="no answer")
    put_clock(story, -3600)
    story.clock.at += TOTAL_S + SERVER_S + 21

    assert (await desk.look(prepared))["state"] == "ready"


async def test_what_another_process_sent_is_watched_from_the_first_look_on(story: Story) -> None:
    prepared = doubt(story)
    desk = Desk(story, MARKER)
    assert (await desk.look(prepared))["state"] == "in doubt"
    put_clock(story, 3600)

    assert (await desk.look(prepared))["state"] == "in doubt"
    story.clock.at += SERVER_S + 20
    assert (await desk.look(prepared))["state"] == "ready"


async def test_what_the_process_before_sent_is_not_absent_because_the_clock_was_put_forward_between_them(either: Story) -> None:
    """The slow request of the process before lands a moment after the look of the one after it."""
    prepared = doubt(either)
    put_clock(either, 3600)
    sightings: list[Any] = [Absent(), Found((DONE,))]
    desk = Desk(either, MARKER, lambda: sightings.pop(0))

    row = await desk.look(prepared)
    assert (row["state"], row["not_before"]) == ("in doubt", either.clock.now() + timedelta(seconds=SERVER_S + MARKER.lag_s))
    either.clock.at += SERVER_S + MARKER.lag_s
    row = await desk.look(prepared)
    assert (row["state"], row["record_id"]) == ("done", "555")


async def test_what_really_never_arrived_is_sent_again_once_this_process_has_waited_long_enough(either: Story) -> None:
    prepared = doubt(either)
    put_clock(either, 3600)
    desk = Desk(either, MARKER)
    await desk.look(prepared)

    either.clock.at += SERVER_S + MARKER.lag_s - 1
    assert (await desk.look(prepared))["state"] == "in doubt"
    either.clock.at += 1
    assert (await desk.look(prepared))["state"] == "ready"


async def test_what_this_hub_sent_before_another_one_did_is_watched_as_the_others(either: Story) -> None:
    """It sent it once itself; that it waited then says nothing about the sending of the hub that died meanwhile."""
    prepared = doubt(either)
    desk = Desk(either, MARKER).sent(prepared)
    put(either, prepared, epoch=effect(either, prepared)["epoch"] + 1, holder="hub_2")
    put_clock(either, 3600)
    either.clock.at += SERVER_S + MARKER.lag_s

    assert (await desk.look(prepared))["state"] == "in doubt"
    either.clock.at += SERVER_S + MARKER.lag_s + 1
    assert (await desk.look(prepared))["state"] == "ready"


async def test_what_was_held_while_the_clock_was_ahead_goes_on_when_what_held_it_is_over(story: Story) -> None:
    """Its next try had come when it was held: that time must not count again, an hour later, after the clock is put right."""
    prepared = in_flight(story)
    put_clock(story, 3600)
    put(story, prepared, state="ready", reason="retry", not_before=story.clock.now())
    story.change(tables.connection, prepared.connection, state="paused", reason="by a person")
    with story.engine.begin() as conn:
        assert Advance(story.rules, story.ids, story.clock)(conn, [prepared.effect]) == [[]]
    assert (effect(story, prepared)["state"], effect(story, prepared)["reason"]) == ("held", "connection")

    put_clock(story, -3600)
    story.change(tables.connection, prepared.connection, state="active", reason=None)
    with story.engine.begin() as conn:
        ((ready,),) = Advance(story.rules, story.ids, story.clock)(conn, [prepared.effect])
    assert ready.effect == prepared.effect


@pytest.mark.parametrize(("put_s", "passed_s"), [(-3600, 3600), (-3600, 10), (3600, 10), (0, 3600)])
async def test_a_key_is_as_old_as_it_is_whatever_the_wall_clock_says(story: Story, put_s: float, passed_s: float) -> None:
    prepared = in_flight(story)
    desk = Desk(story, KEY, lambda: Found((DONE,))).sent(prepared)
    put(story, prepared, state="in doubt", reason="no answer", unsure_since=effect(story, prepared)["claimed_at"])
    put_clock(story, put_s)
    story.clock.at += passed_s

    row = await desk.look(prepared)

    assert row["state"] == ("ready" if passed_s == 10 else "done")


async def test_a_key_that_seems_to_come_from_the_future_after_a_restart_is_not_trusted(story: Story) -> None:
    prepared = doubt(story)
    put(story, prepared, unsure_since=effect(story, prepared)["claimed_at"])
    put_clock(story, -3600)
    desk = Desk(story, KEY, lambda: Found((DONE,)))

    assert (await desk.look(prepared))["state"] == "done"
    assert desk.act.looks == 1
