"""Step 8: what each answer makes of an effect in each state, as the design's picture says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lifecyclehub.dispatch.upkeep import Advance
from lifecyclehub.messages import Absent, Accepted, CannotTell, Found, Refused, Retry, Unknown
from lifecyclehub.store import tables as t
from tests.support.effects import DONE, OTHER, claim, effect, in_flight, put, receive
from tests.support.story import Story

DOUBT = {"state": "in doubt", "reason": "no answer"}
EXISTS = {"state": "in doubt", "reason": "exists already"}

# where it stood, what came -> state, reason, seconds until its next time (None: none)
PICTURE: list[tuple[dict[str, Any], Any, tuple[str, str | None, float | None]]] = [
    ({}, DONE, ("done", None, None)),
    ({}, Refused("no"), ("parked", "refused", None)),
    ({}, Refused("it is there", exists=True), ("in doubt", "exists already", 0.0)),
    ({}, Retry("busy"), ("ready", "retry", 1.0)),
    ({}, Retry("busy", after=90.0), ("ready", "retry", 92.25)),
    ({}, Retry("come back next year", after=3e7), ("ready", "retry", 86_400.0)),
    ({}, Unknown("the line broke"), ("in doubt", "unknown outcome", 0.0)),
    ({}, Accepted("job-1"), ("in flight", None, 1.0)),
    ({}, None, ("held", "connection", None)),
    ({"handle": "job-1"}, Accepted("job-1"), ("in flight", None, 1.0)),
    ({"handle": "job-1"}, None, ("in flight", None, 1.0)),
    ({"handle": "job-1"}, DONE, ("done", None, None)),
    ({"handle": "job-1"}, Unknown("the job is not known"), ("in doubt", "unknown outcome", 0.0)),
    (DOUBT, DONE, ("done", None, None)),
    (DOUBT, Found((DONE,)), ("done", None, None)),
    (DOUBT, Found((DONE, OTHER)), ("parked", "several found", None)),
    (DOUBT, Absent(), ("ready", "absence proven", 1.0)),
    (DOUBT | {"handle": "job-1"}, Absent(), ("parked", "not finished", None)),
    (DOUBT, CannotTell("503"), ("in doubt", "no answer", 1.0)),
    (DOUBT, None, ("in doubt", "no answer", 1.0)),
    (DOUBT, Retry("doing it again changes nothing", 2.0), ("ready", "retry", 2.05)),
    (EXISTS, Absent(), ("parked", "refused", None)),
    (EXISTS, Found((DONE,)), ("done", None, None)),
]


@pytest.mark.parametrize(("stood", "came", "wanted"), PICTURE)
def test_an_answer_moves_an_effect(
    story: Story, stood: dict[str, Any], came: Any, wanted: tuple[str, str | None, float | None]
) -> None:
    prepared = in_flight(story, **stood)

    receive(story, prepared, came, what="checked" if "handle" in stood else "sent")

    row = effect(story, prepared)
    wait = None if row["not_before"] is None else (row["not_before"] - story.clock.now()).total_seconds()
    assert (row["state"], row["reason"], wait) == (
        wanted[0],
        wanted[1],
        pytest.approx(wanted[2]) if wanted[2] is not None else None,
    )
    assert [one["outcome"] for one in story.rows(t.attempt)] == ["NeedsReauthorization" if came is None else type(came).__name__]


TELLS_NOTHING = [Refused("no"), Retry("busy"), Unknown("?"), Absent(), CannotTell("?"), None]
STATES = ("done", "parked", "cancelled", "held", "planned", "ready")
OVER = ("done", "parked", "cancelled", "planned")


@pytest.mark.parametrize(
    ("came", "state"), [*((came, state) for came in TELLS_NOTHING for state in STATES), *((Accepted("job"), one) for one in OVER)]
)
def test_a_late_answer_that_tells_of_no_record_is_stored_and_moves_nothing(story: Story, state: str, came: Any) -> None:
    prepared = in_flight(story, state=state, reason="as it was", record_id="555" if state == "done" else None)
    before = effect(story, prepared)

    receive(story, prepared, came)

    assert effect(story, prepared) == before
    assert len(story.rows(t.attempt)) == 1
    assert story.rows(t.finding) == []


@pytest.mark.parametrize("came", [Absent(), CannotTell("503"), Found((DONE, OTHER)), Retry("folded"), None])
def test_a_look_up_that_began_before_the_job_was_accepted_moves_nothing(story: Story, came: Any) -> None:
    """Else a job that runs would be sent again for its absence."""
    prepared = in_flight(story, **DOUBT)
    receive(story, prepared, Accepted("job-1"))
    before = effect(story, prepared)

    receive(story, prepared, came, what="looked up")

    assert effect(story, prepared) == before
    assert (before["state"], before["handle"]) == ("in flight", "job-1")


# --- late answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["ready", "held", "parked"])
@pytest.mark.parametrize("outcome", [DONE, Found((DONE,))])
def test_a_late_answer_settles_what_was_put_back_and_not_sent_since(story: Story, state: str, outcome: Any) -> None:
    """Else what the tool has made already would be made again, and that be called a double."""
    prepared = in_flight(story, state=state)

    receive(story, prepared, outcome)

    assert (effect(story, prepared)["state"], effect(story, prepared)["record_id"]) == ("done", "555")
    assert [row["thing_kind"] for row in story.rows(t.link, record_id="555")] == ["project"]
    assert story.rows(t.finding) == []
    assert claim(story, prepared).verdict == "gone", "what was prepared meanwhile is not sent any more"


def test_the_answer_of_an_older_sending_does_not_settle_what_was_put_back_after_another_one(story: Story) -> None:
    prepared = in_flight(story, state="ready", epoch=2)

    receive(story, prepared, DONE, epoch=1)

    row = effect(story, prepared)
    assert (row["state"], row["record_id"]) == ("ready", "555"), "shown, and kept"
    assert len(story.rows(t.finding, kind="double")) == 1


@pytest.mark.parametrize(("left", "state"), [(False, "done"), (True, "ready")])
def test_claims_that_ended_before_anything_left_keep_no_late_answer_from_settling_it(
    story: Story, left: bool, state: str
) -> None:
    """Another hub took it over, and could not even reach the tool; then the first one wakes with its answer."""
    prepared = in_flight(story, epoch=3)
    receive(story, prepared, Retry("could not connect"), epoch=2, bytes_sent=left)
    receive(story, prepared, Retry("could not connect"), epoch=3, bytes_sent=False)

    receive(story, prepared, DONE, epoch=1)

    assert (effect(story, prepared)["state"], effect(story, prepared)["record_id"]) == (state, "555")
    assert len(story.rows(t.finding, kind="double")) == int(left)


@pytest.mark.parametrize(
    "stood", [{"state": "cancelled"}, {"state": "planned", "revision": 2}, {"state": "ready", "revision": 2}]
)
def test_what_a_late_answer_cannot_settle_is_shown_and_never_sent_again_without_a_persons_word(
    story: Story, stood: dict[str, Any]
) -> None:
    prepared = in_flight(story, body=None, input=None, **stood)

    receive(story, prepared, DONE)

    (finding,) = story.rows(t.finding, kind="double")
    assert "555 was made too" in finding["detail"]
    put(story, prepared, state="planned")
    with story.engine.begin() as conn:
        assert Advance(story.rules, story.ids, story.clock)(conn, [prepared.effect]) == [[]]
    row = effect(story, prepared)
    assert (row["state"], row["reason"]) == ("parked", "late answer")
    assert str(DONE.url) in row["detail"]


def test_a_change_that_is_answered_late_is_no_double(story: Story) -> None:
    """Two hubs may both have written a field: that is one record, and its change is made again at most."""
    prepared = in_flight(story, creates=None, state="ready", epoch=2)

    receive(story, prepared, DONE, epoch=1)

    assert (effect(story, prepared)["state"], effect(story, prepared)["record_id"]) == ("ready", None)
    assert story.rows(t.finding) == []


@pytest.mark.parametrize("state", ["ready", "held"])
def test_a_job_that_was_accepted_after_all_is_asked_after_and_not_sent_again(story: Story, state: str) -> None:
    prepared = in_flight(story, state=state)

    receive(story, prepared, Accepted("job-1"))

    row = effect(story, prepared)
    assert (row["state"], row["handle"]) == ("in flight", "job-1")
    assert row["not_before"] is not None, "asked after in its time"
    assert claim(story, prepared).verdict == "gone"


def test_a_late_answer_settles_an_effect_in_doubt(story: Story) -> None:
    prepared = in_flight(story, **DOUBT)

    woken = receive(story, prepared, DONE)

    assert effect(story, prepared)["record_id"] == "555"
    assert [row["thing_kind"] for row in story.rows(t.link, record_id="555")] == ["project"]
    assert {row["name"] for row in story.rows(t.effect) if row["id"] in woken} >= {"checklist", "note"}


@pytest.mark.parametrize(("state", "record"), [("done", "554"), ("parked", "554"), ("cancelled", "554"), ("ready", "554")])
def test_a_late_answer_that_tells_of_another_record_is_a_double_and_is_shown(
    story: Story, state: str, record: str | None
) -> None:
    prepared = in_flight(story, state=state, record_id=record)
    before = effect(story, prepared)

    receive(story, prepared, DONE)
    receive(story, prepared, DONE)

    assert effect(story, prepared) == before
    (finding,) = story.rows(t.finding, kind="double")
    assert "555 was made too" in finding["detail"]
    assert finding["facts"]["url"] == DONE.url


def test_the_same_answer_twice_is_no_double(story: Story) -> None:
    prepared = in_flight(story)
    receive(story, prepared, DONE)
    receive(story, prepared, DONE)

    assert story.rows(t.finding) == []
    assert len(story.rows(t.project)) == 1
    assert len(story.rows(t.attempt)) == 2


@pytest.mark.parametrize("came", [Refused("no"), Retry("busy"), Unknown("?"), Absent(), CannotTell("?")])
def test_the_failure_of_an_older_sending_says_nothing_about_the_present_one(story: Story, came: Any) -> None:
    prepared = in_flight(story, epoch=2)
    before = effect(story, prepared)

    receive(story, prepared, came, epoch=1)

    assert effect(story, prepared) == before


def test_the_success_of_an_older_sending_counts_and_that_of_the_present_one_is_a_double(story: Story) -> None:
    prepared = in_flight(story, epoch=2)
    receive(story, prepared, DONE, epoch=1)
    receive(story, prepared, OTHER, epoch=2)

    assert effect(story, prepared)["record_id"] == "555"
    assert ["556 was made too" in row["detail"] for row in story.rows(t.finding, kind="double")] == [True]


def test_attempts_are_only_ever_added(story: Story) -> None:
    prepared = in_flight(story)
    receive(story, prepared, Unknown("lost"), reply="kept", status=502)
    first = story.rows(t.attempt)
    for came in (CannotTell("503"), CannotTell("503"), Found((DONE,))):
        receive(story, prepared, came, what="looked up")

    found = story.rows(t.attempt)
    assert found[:1] == first
    assert [(row["what"], row["outcome"]) for row in found] == [
        ("sent", "Unknown"),
        ("looked up", "CannotTell"),
        ("looked up", "CannotTell"),
        ("looked up", "Found"),
    ]
    assert (first[0]["reply"], first[0]["status"], first[0]["bytes_sent"]) == ("kept", 502, True)


def test_tries_follow_the_schedule_and_end_after_three_days(story: Story) -> None:
    prepared = in_flight(story)
    waits = []
    while effect(story, prepared)["state"] != "parked":
        receive(story, prepared, Retry("busy"))
        row = effect(story, prepared)
        if row["state"] == "parked":
            break
        waits.append(round((row["not_before"] - story.clock.now()).total_seconds()))
        story.clock.at += waits[-1]
        put(story, prepared, state="in flight")

    assert waits[:7] == [1, 5, 30, 120, 600, 1800, 3600]
    assert set(waits[7:]) == {3600}
    assert 70 <= sum(waits) / 3600 <= 72
    assert effect(story, prepared)["reason"] == "gave up"


def test_a_tool_that_fails_each_time_without_doing_it_is_not_asked_for_ever(story: Story) -> None:
    prepared = in_flight(story)
    waits = []
    while True:
        receive(story, prepared, Unknown("status 500"))
        receive(story, prepared, Absent(), what="looked up")
        row = effect(story, prepared)
        if row["state"] == "parked":
            break
        assert (row["state"], row["reason"], row["unsure_since"]) == ("ready", "absence proven", None)
        waits.append(round((row["not_before"] - story.clock.now()).total_seconds()))
        story.clock.at += waits[-1] + 90
        put(story, prepared, state="in flight")

    assert waits[:7] == [1, 5, 30, 120, 600, 1800, 3600]
    assert 65 <= story.clock.at / 3600 <= 73
    assert row["reason"] == "gave up"


def test_what_cannot_be_told_for_three_days_is_a_persons_question(story: Story) -> None:
    prepared = in_flight(story, **DOUBT, first_failed_at=story.clock.now() - timedelta(hours=72))
    receive(story, prepared, CannotTell("503"))

    assert (effect(story, prepared)["state"], effect(story, prepared)["reason"]) == ("parked", "in doubt")
