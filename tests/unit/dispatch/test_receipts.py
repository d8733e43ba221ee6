"""Step 8: what each answer makes of an effect in each state, as the design's picture says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lifecyclehub.messages import Absent, Accepted, CannotTell, Found, Refused, Retry, Unknown
from lifecyclehub.store import tables as t
from tests.support.effects import DONE, OTHER, effect, in_flight, put, receive
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
    (DOUBT, Absent(), ("ready", "absence proven", 0.0)),
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

    receive(story, prepared, came)

    row = effect(story, prepared)
    wait = None if row["not_before"] is None else (row["not_before"] - story.clock.now()).total_seconds()
    assert (row["state"], row["reason"], wait) == (
        wanted[0],
        wanted[1],
        pytest.approx(wanted[2]) if wanted[2] is not None else None,
    )
    assert [one["outcome"] for one in story.rows(t.attempt)] == ["NeedsReauthorization" if came is None else type(came).__name__]


@pytest.mark.parametrize("state", ["done", "parked", "cancelled", "held", "planned", "ready"])
@pytest.mark.parametrize("came", [Refused("no"), Retry("busy"), Unknown("?"), Absent(), CannotTell("?"), Accepted("job"), None])
def test_a_late_answer_that_tells_of_no_record_is_stored_and_moves_nothing(story: Story, state: str, came: Any) -> None:
    prepared = in_flight(story, state=state, reason="as it was", record_id="555" if state == "done" else None)
    before = effect(story, prepared)

    receive(story, prepared, came)

    assert effect(story, prepared) == before
    assert len(story.rows(t.attempt)) == 1
    assert story.rows(t.finding) == []


def test_a_late_answer_settles_an_effect_in_doubt(story: Story) -> None:
    prepared = in_flight(story, **DOUBT)

    woken = receive(story, prepared, DONE)

    assert effect(story, prepared)["record_id"] == "555"
    assert [row["thing_kind"] for row in story.rows(t.link, record_id="555")] == ["project"]
    assert {row["name"] for row in story.rows(t.effect) if row["id"] in woken} >= {"checklist", "note"}


@pytest.mark.parametrize(("state", "record"), [("done", "554"), ("parked", None), ("cancelled", None), ("ready", None)])
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


def test_what_cannot_be_told_for_three_days_is_a_persons_question(story: Story) -> None:
    prepared = in_flight(story, **DOUBT, first_failed_at=story.clock.now() - timedelta(hours=72))
    receive(story, prepared, CannotTell("503"))

    assert (effect(story, prepared)["state"], effect(story, prepared)["reason"]) == ("parked", "in doubt")


# --- what it leaves behind ------------------------------------------------------------------------------------------------


def test_a_done_create_leaves_a_link_a_thing_an_event_and_what_the_mirror_expects(story: Story) -> None:
    prepared = in_flight(story)
    (engagement,) = story.rows(t.engagement)

    receive(story, prepared, DONE)

    (link,) = story.rows(t.link, record_id="555")
    (project,) = story.rows(t.project)
    assert (link["thing_kind"], link["thing"], link["address"]) == ("project", project["id"], DONE.url)
    assert project["engagement"] == engagement["id"]
    (mirror,) = story.rows(t.mirror, record_id="555")
    assert (mirror["field"], mirror["seen"]) == ("project.title", None)
    assert prepared.input["name"] in mirror["sent"]
    assert len(story.rows(t.event, kind="project.opened")) == 1
    assert story.rows(t.engagement)[0]["version"] == engagement["version"] + 1


def test_a_record_that_a_sweep_saw_first_keeps_what_it_saw(story: Story) -> None:
    prepared = in_flight(story)
    with story.engine.begin() as conn:
        seen = {"connection": "con_asana", "kind": "asana.project", "record_id": "555", "fetched_at": story.clock.now()}
        conn.execute(t.link.insert(), [seen])

    receive(story, prepared, replace(DONE, url=None))

    (link,) = story.rows(t.link, record_id="555")
    assert link["thing_kind"] == "project"
    assert link["fetched_at"] is not None


def test_nobody_is_woken_by_what_is_not_done(story: Story) -> None:
    prepared = in_flight(story)

    assert receive(story, prepared, Unknown("lost")) == []
    assert receive(story, prepared, CannotTell("503"), what="looked up") == []
    assert receive(story, prepared, Absent(), what="looked up") == [prepared.effect], "it may be sent again"
