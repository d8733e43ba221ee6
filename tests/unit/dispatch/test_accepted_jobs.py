"""An effect whose job was accepted: it is asked after by its handle, and never sent again by itself."""

from __future__ import annotations

from typing import Any

import pytest

from lifecyclehub.errors import NeedsReauthorization, RecordGone, TryAgain
from lifecyclehub.messages import Absent, Accepted, Done, Found, Refused, Unknown
from lifecyclehub.store import tables as t
from tests.support.desk import ENDS_S, MARKER, Desk, raising
from tests.support.effects import DONE, in_flight
from tests.support.story import Story

pytestmark = pytest.mark.anyio


def job(story: Story) -> Any:
    return in_flight(story, handle="job-1")


@pytest.mark.parametrize(
    ("says", "state"),
    [
        (lambda: Done(record_id="555"), "done"),
        (lambda: Accepted("job-1"), "in flight"),
        (lambda: Refused("the template is gone"), "parked"),
        (raising(TryAgain("503")), "in flight"),
        (raising(LookupError("status")), "in flight"),
        (raising(NeedsReauthorization("status 401")), "in flight"),
        (lambda: None, "in flight"),
        (lambda: "done", "in flight"),
    ],
)
async def test_an_accepted_job_is_asked_about_and_never_sent_again_or_looked_up(story: Story, says: Any, state: str) -> None:
    prepared = job(story)
    story.clock.at += ENDS_S
    desk = Desk(story, MARKER, checked=says)

    row = await desk.look(prepared)

    assert row["state"] == state
    assert row["handle"] == "job-1"
    assert desk.act.looks == 0
    assert [one["what"] for one in story.rows(t.attempt)] == ["checked"]


NEVER_ENDS = [lambda: Accepted("job-1"), raising(TryAgain("503")), raising(LookupError("status")), lambda: None]


@pytest.mark.parametrize("says", NEVER_ENDS)
async def test_a_job_that_does_not_end_is_a_persons_question_that_says_what_was_heard_last(story: Story, says: Any) -> None:
    prepared = job(story)
    story.clock.at += ENDS_S + 1
    desk = Desk(story, MARKER, checked=says)

    row = await desk.look(prepared)

    assert (row["state"], row["reason"], row["not_before"]) == ("parked", "not finished", None)
    assert "its job job-1 and has not ended it within 120 minutes" in row["detail"]
    assert ("503" in row["detail"]) is ("503" in str(story.rows(t.attempt)[-1]["detail"]))
    assert desk.act.looks == 1, "that it is not there proves nothing while the tool may be at it"


async def test_how_long_a_job_may_take_is_a_setting_of_the_connection(story: Story) -> None:
    prepared = job(story)
    story.clock.at += 61
    desk = Desk(story, MARKER, checked=lambda: Accepted("job-1"))
    assert (await desk.look(prepared))["state"] == "in flight"
    desk.settings["accepted_s"] = "60"
    story.clock.at += 1

    assert (await desk.look(prepared))["state"] == "parked"


async def test_what_an_endless_job_made_is_taken(story: Story) -> None:
    prepared = job(story)
    story.clock.at += ENDS_S + 1

    row = await Desk(story, MARKER, lambda: Found((DONE,)), checked=raising(TryAgain("503"))).look(prepared)

    assert (row["state"], row["record_id"]) == ("done", "555")


@pytest.mark.parametrize("says", [raising(RecordGone("no such job")), lambda: Unknown("the job is not known")])
@pytest.mark.parametrize(
    ("there", "state", "reason"), [(lambda: Found((DONE,)), "done", None), (Absent, "parked", "not finished")]
)
async def test_a_job_that_the_tool_does_not_know_any_more_is_looked_for_and_never_sent_again_by_itself(
    story: Story, says: Any, there: Any, state: str, reason: str | None
) -> None:
    prepared = job(story)
    story.clock.at += 600  # the vendor must have shown it by now
    desk = Desk(story, MARKER, there, checked=says).sent(prepared)

    assert (await desk.look(prepared))["state"] == "in doubt"
    row = await desk.look(prepared)

    assert (row["state"], row["reason"]) == (state, reason)


async def test_a_job_of_an_action_that_is_gone_is_a_persons_question(story: Story) -> None:
    prepared = job(story)
    desk = Desk(story, MARKER)
    desk.act = None

    row = await desk.look(prepared)

    assert (row["state"], row["reason"]) == ("parked", "not finished")
    assert "cannot create_project any more" in row["detail"]
