"""Step 7: an effect is taken once, with values that still hold, in its turn, and with the body it had."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from lifecyclehub.admin.backup import mark_restored
from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.prepared import Claim, Claimed, Prepared
from lifecyclehub.dispatch.tools import Restored, restored_of
from lifecyclehub.dispatch.upkeep import expire, have_their_turn
from lifecyclehub.messages import Done, Retry
from lifecyclehub.store import tables as t
from tests.support.effects import DONE, advance, claim, claims, effect, in_flight, put, ready_project, receive, request_of
from tests.support.story import Story


def test_a_claim_writes_everything_down_before_anything_is_sent(story: Story) -> None:
    prepared = ready_project(story)
    assert claim(story, prepared, "hub_1") == Claimed("go", 1)

    row = effect(story, prepared)
    assert (row["state"], row["epoch"], row["holder"]) == ("in flight", 1, "hub_1")
    assert row["claimed_at"] == story.clock.now()
    assert (row["deadline"] - row["claimed_at"]).total_seconds() == 30
    assert row["input"]["name"] == prepared.input["name"]
    assert row["marker"] in row["body"]["json"]["data"]["notes"]


def test_an_effect_is_taken_once(story: Story) -> None:
    prepared = ready_project(story)

    assert claim(story, prepared, "hub_1").verdict == "go"
    assert claim(story, prepared, "hub_2").verdict == "gone"
    assert effect(story, prepared)["holder"] == "hub_1"


def test_an_effect_is_taken_once_also_when_asked_for_twice_in_one_batch(story: Story) -> None:
    prepared = ready_project(story)

    assert claims(story, prepared, prepared) == ["go", "gone"]
    assert effect(story, prepared)["epoch"] == 1


@pytest.mark.parametrize("state", ["planned", "held", "in flight", "in doubt", "parked", "done", "cancelled"])
def test_only_a_ready_effect_is_taken(story: Story, state: str) -> None:
    prepared = ready_project(story)
    put(story, prepared, state=state)
    before = effect(story, prepared)

    assert claim(story, prepared).verdict == "gone"
    assert effect(story, prepared) == before


def test_what_was_prepared_before_an_older_epoch_ended_is_not_taken(story: Story) -> None:
    prepared = ready_project(story)
    put(story, prepared, epoch=3)

    assert claim(story, prepared).verdict == "gone"


def test_values_that_changed_meanwhile_are_prepared_again(story: Story) -> None:
    prepared = ready_project(story)
    with story.engine.begin() as conn:
        conn.execute(update(t.engagement).values(version=t.engagement.c.version + 1))

    assert claim(story, prepared).verdict == "again"
    assert effect(story, prepared)["state"] == "ready"
    (fresh,) = advance(story, prepared.effect)
    assert claim(story, fresh).verdict == "go"


def test_effects_on_one_record_are_sent_in_the_order_they_were_planned(story: Story) -> None:
    prepared = ready_project(story)
    woken = story.answer(prepared, DONE)
    tasks = [one for one in advance(story, *woken) if one.action == "create_task"]
    assert len(tasks) >= 3
    assert len({one.target for one in tasks}) == 1

    assert claims(story, *reversed(tasks)) == ["wait"] * (len(tasks) - 1) + ["go"]
    first, second, *_ = sorted(tasks, key=lambda one: one.effect)
    assert claim(story, second).verdict == "wait"
    put(story, first, state="in doubt")
    assert claim(story, second).verdict == "wait", "what is uncertain keeps its place"
    put(story, first, state="parked")
    assert claim(story, second).verdict == "go", "a person's question keeps nobody waiting"


def test_what_had_its_turn_keeps_it_also_when_the_clock_was_put_back_since(story: Story) -> None:
    prepared = ready_project(story)
    tasks = [one for one in advance(story, *story.answer(prepared, DONE)) if one.action == "create_task"]
    first, second, *_ = sorted(tasks, key=lambda one: one.effect)
    put(story, second, epoch=1)  # it was sent once, and is tried again; the other one got its id after the clock was put back
    second = replace(second, epoch=1)

    assert story.ask(have_their_turn, [first.effect, second.effect]) == [second.effect]
    assert claims(story, first, second) == ["wait", "go"]
    put(story, second, state="ready", epoch=2)
    assert claim(story, first).verdict == "wait"
    put(story, second, state="done")
    assert claim(story, first).verdict == "go"


def test_what_is_in_flight_wakes_the_next_one_on_its_record_when_it_is_done(story: Story) -> None:
    prepared = ready_project(story)
    tasks = sorted(
        (one for one in advance(story, *story.answer(prepared, DONE)) if one.action == "create_task"), key=lambda one: one.effect
    )

    assert story.answer(tasks[0], Done(record_id="t1")) == [tasks[1].effect]


def test_what_a_restore_may_have_made_us_forget_is_looked_up_with_a_body_also_when_its_key_ended(story: Story) -> None:
    prepared, at = ready_project(story), story.clock.now()
    put(story, prepared, unsure_since=at - timedelta(days=1))
    restored = Restored(at - timedelta(days=1), at + timedelta(seconds=1))
    one = Claim(prepared=prepared, request=request_of(story, prepared), holder="hub", sending_s=30, key_s=3600)
    story.clock.at += 2

    with story.engine.begin() as conn:
        assert TakeClaims(story.ids, story.clock, restored=lambda: restored)(conn, [one])[0].verdict == "gone"

    row = effect(story, prepared)
    assert (row["state"], row["reason"]) == ("in doubt", "restored")
    assert None not in (row["body"], row["input"], row["deadline"]), "else it could never be looked up"


@pytest.mark.parametrize(
    ("met_after_look_s", "fact_after_restore_s", "sent"),
    [
        (60.0, 7200.0, True),
        (-60.0, 7200.0, False),  # it may have been won and reopened in the time that is forgotten
        (60.0, 1800.0, False),  # a vendor's clock may be ahead of ours, and its tool may not have been there to look at
        (60.0, -1800.0, False),
    ],
)
def test_only_what_is_surely_new_since_a_restore_is_sent_without_a_look(
    story: Story, met_after_look_s: float, fact_after_restore_s: float, sent: bool
) -> None:
    met, prepared = story.clock.now(), ready_project(story)
    at = met + timedelta(hours=3)
    put(story, prepared, fact_at=at + timedelta(seconds=fact_after_restore_s))
    restored = Restored(at - timedelta(days=1), at, met - timedelta(seconds=met_after_look_s))

    assert claimed_after(story, prepared, restored) == (("go", "in flight") if sent else ("gone", "in doubt"))


def test_a_fact_of_before_the_look_back_is_not_new_though_the_clock_was_hours_behind_at_the_restore(story: Story) -> None:
    met, prepared = story.clock.now(), ready_project(story)
    looked = met - timedelta(minutes=1)
    restored = Restored(looked - timedelta(days=1), looked - timedelta(hours=3), looked)
    put(story, prepared, fact_at=looked - timedelta(minutes=2))

    assert claimed_after(story, prepared, restored) == ("gone", "in doubt")


def test_what_was_tried_before_a_restore_is_looked_up_though_the_clock_was_put_back_since(story: Story) -> None:
    prepared = in_flight(story)
    receive(story, prepared, Retry("busy"))
    story.clock.at, story.clock.put = story.clock.at + 5, -3600.0
    with story.engine.begin() as conn:
        mark_restored(conn, None, story.clock.now())
    story.clock.put = 0.0
    (again,) = advance(story, prepared.effect)
    (row,) = story.rows(t.installation)

    assert claimed_after(story, again, restored_of(row)) == ("gone", "in doubt")


def claimed_after(story: Story, prepared: Prepared, restored: Restored | None) -> tuple[str, str]:
    """Claim an effect after a restore; gives the verdict and the effect's state."""
    one = Claim(prepared=prepared, request=request_of(story, prepared), holder="hub", sending_s=30)
    with story.engine.begin() as conn:
        verdict = TakeClaims(story.ids, story.clock, restored=lambda: restored)(conn, [one])[0].verdict
    return verdict, effect(story, prepared)["state"]


def test_a_retry_sends_the_body_it_had_with_the_same_key(story: Story) -> None:
    prepared = in_flight(story)
    body = effect(story, prepared)["body"]
    receive(story, prepared, Retry("busy"))
    with story.engine.begin() as conn:
        conn.execute(update(t.deal).values(title="Renamed meanwhile"))
        conn.execute(update(t.engagement).values(version=t.engagement.c.version + 1))
    story.clock.at += 5

    (again,) = advance(story, prepared.effect)

    assert again.key == prepared.key
    assert again.revision == 1
    assert again.frozen is not None
    assert claim(story, again).verdict == "go"
    row = effect(story, prepared)
    assert row["body"] == body
    assert row["epoch"] == 2


# --- deadlines ------------------------------------------------------------------------------------------------------------


def expired(story: Story, holder: str | None = None) -> int:
    with story.engine.begin() as conn:
        return expire(conn, [(story.clock.now(), holder)])[0]


def test_an_expired_claim_is_in_doubt_and_never_ready(story: Story) -> None:
    prepared = in_flight(story)
    story.clock.at += 29
    assert expired(story) == 0
    story.clock.at += 2

    assert expired(story) == 1
    row = effect(story, prepared)
    assert (row["state"], row["reason"], row["not_before"]) == ("in doubt", "no answer", story.clock.now())


def test_an_accepted_job_has_no_sending_deadline(story: Story) -> None:
    prepared = in_flight(story, handle="job-1")
    story.clock.at += 3600

    assert expired(story) == 0
    assert expired(story, "hub_new") == 0
    assert effect(story, prepared)["state"] == "in flight"


def test_after_a_start_the_claims_of_the_hub_before_are_in_doubt_at_once(story: Story) -> None:
    prepared = in_flight(story)

    assert expired(story, "hub") == 0, "its own"
    assert expired(story, "hub_new") == 1
    assert effect(story, prepared)["state"] == "in doubt"
