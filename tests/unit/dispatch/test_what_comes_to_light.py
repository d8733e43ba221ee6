"""A record shows itself with the marker of an effect that seemed not done: what the effect made, or a person's copy of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from lifecyclehub.dispatch import plan
from lifecyclehub.dispatch.advance import Left
from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.prepared import Claim, Prepared, Receipt
from lifecyclehub.dispatch.receipt import Aftermath, WriteReceipts
from lifecyclehub.dispatch.tools import Restored
from lifecyclehub.dispatch.upkeep import Answered, answer
from lifecyclehub.messages import Absent, Done, Found
from lifecyclehub.store import tables as t
from tests.support.effects import (
    DONE,
    OTHER,
    advance,
    claim,
    effect,
    in_flight,
    put,
    ready_project,
    receive,
    request_of,
    two_customers,
)
from tests.support.reach import Middle
from tests.support.story import Story


def shows(story: Story, prepared: Prepared, record: Done = DONE) -> Aftermath:
    """Let a record come in that carries its marker."""
    row = effect(story, prepared)
    one = Receipt(
        effect=prepared.effect,
        epoch=row["epoch"],
        revision=row["revision"],
        what="came to light",
        began_at=story.clock.now(),
        outcome=record,
    )
    with story.engine.begin() as conn:
        return WriteReceipts(story.rules, story.ids, story.clock, Middle())(conn, [one])[0]


def looked_up(story: Story, prepared: Prepared, found: Any) -> dict[str, Any]:
    receive(story, prepared, found, what="looked up")
    return effect(story, prepared)


@pytest.mark.parametrize("state", ["planned", "held", "ready"])
def test_what_was_rendered_is_looked_up_instead_of_being_taken_for_the_one(story: Story, state: str) -> None:
    prepared = in_flight(story, state=state, deadline=story.clock.now())

    after = shows(story, prepared)

    row = effect(story, prepared)
    assert (row["state"], row["reason"], row["not_before"]) == ("in doubt", "came to light", story.clock.now())
    assert row["unsure_since"] == row["claimed_at"], "since then it may have been done"
    assert row["record_id"] is None
    assert after.still, "what waits for it is not looked at again and again meanwhile"


@pytest.mark.parametrize("restored", [True, False])
def test_what_was_never_rendered_is_rendered_and_looked_up_when_its_turn_comes(story: Story, restored: bool) -> None:
    """Else the project would be nobody's: before the first claim nothing says in which tool, nor as which thing of ours."""
    prepared, at = ready_project(story), story.clock.now()
    shows(story, prepared)
    assert (effect(story, prepared)["state"], effect(story, prepared)["unsure_since"]) == ("ready", at)
    # As far as the restore goes it is surely new: it was met after every tool had been looked at, its fact is much later.
    forgot = Restored(at - timedelta(days=60), at - timedelta(days=50), at - timedelta(days=49)) if restored else None
    one = Claim(prepared=prepared, request=request_of(story, prepared), holder="hub", sending_s=30)

    with story.engine.begin() as conn:
        assert TakeClaims(story.ids, story.clock, restored=lambda: forgot)(conn, [one])[0].verdict == "gone"

    row = effect(story, prepared)
    assert (row["state"], row["creates"], row["connection"]) == ("in doubt", "asana.project", "con_asana")
    assert row["reason"] == ("restored" if restored else "came to light")
    assert row["unsure_since"] == (forgot.since if forgot else at), "no key of that time serves any more"
    assert None not in (row["body"], row["input"], row["deadline"])


def test_what_the_look_up_finds_is_the_one(story: Story) -> None:
    prepared = in_flight(story, state="ready")
    shows(story, prepared, OTHER)

    row = looked_up(story, prepared, Found((DONE,)))

    assert (row["state"], row["record_id"]) == ("done", "555")
    assert [link["thing_kind"] for link in story.rows(t.link, record_id="555")] == ["project"]


def test_of_several_a_person_chooses(story: Story) -> None:
    prepared = in_flight(story, state="ready")
    shows(story, prepared, OTHER)

    row = looked_up(story, prepared, Found((DONE, OTHER)))

    assert (row["state"], row["reason"]) == ("parked", "several found")
    assert str(DONE.url) in row["detail"]
    assert str(OTHER.url) in row["detail"]


@pytest.mark.parametrize(("seen", "state"), [((DONE, DONE), "done"), ((DONE, OTHER), "parked")])
def test_what_was_seen_is_not_absent_whatever_the_look_up_says(story: Story, seen: tuple[Done, ...], state: str) -> None:
    prepared = in_flight(story, state="ready")
    for record in seen:
        shows(story, prepared, record)
        put(story, prepared, state="ready")
    put(story, prepared, state="in doubt")

    row = looked_up(story, prepared, Absent())

    assert (row["state"], row["record_id"]) == (state, "555" if state == "done" else None)
    assert story.rows(t.attempt)[-1]["outcome"] == "Absent", "it is written down as it was said"
    assert (str(OTHER.url) in (row["detail"] or "")) is (state == "parked")


@pytest.mark.parametrize("creates", ["asana.project", None])
def test_of_an_effect_that_is_over_it_is_a_double(story: Story, creates: str | None) -> None:
    """Once; of one that was never prepared, too, whose record would else be looked at again for ever."""
    prepared = in_flight(story, state="cancelled", creates=creates)

    after = shows(story, prepared)

    assert [row["facts"]["found"] for row in story.rows(t.finding, kind="double")] == ["555"]
    assert not after.still
    assert effect(story, prepared)["record_id"] == "555"


@pytest.mark.parametrize(("unsure", "state"), [(True, "ready"), (False, "in doubt")])
def test_what_is_about_to_be_sent_again_in_a_way_that_its_tool_folds_needs_no_look(
    story: Story, unsure: bool, state: str
) -> None:
    """Else the look-up would let it be sent again, and that would let the record be looked at, round and round."""
    first, _ = two_customers(story)
    assert claim(story, first).verdict == "go"
    put(story, first, state="ready", unsure_since=story.clock.now() if unsure else None)

    shows(story, first)

    assert effect(story, first)["state"] == state


@pytest.mark.parametrize("ends", ["cancelled", "done"])
def test_what_may_have_been_done_does_not_end_unseen(story: Story, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    prepared = ready_project(story)
    shows(story, prepared)
    monkeypatch.setattr(plan, "prepare", lambda *_: Left(ends, "condition", "it is not wanted"))
    with story.engine.begin() as conn:
        conn.execute(update(t.deal).values(status="lost"))

    advance(story, prepared.effect)

    assert (effect(story, prepared)["state"], effect(story, prepared)["reason"]) == ("parked", "in doubt")


@pytest.mark.parametrize("state", ["planned", "held", "ready"])
def test_what_a_person_had_made_anew_is_not_taken_for_what_they_did_not_mean(story: Story, state: str) -> None:
    prepared = in_flight(story, state="parked", reason="several found")
    word = Answered(effect=prepared.effect, who="Ines", at=story.clock.now(), attempt=story.ids.new("att"), verdict="anew")
    with story.engine.begin() as conn:
        answer(conn, [word])
    put(story, prepared, state=state)

    shows(story, prepared)
    assert [row["facts"]["found"] for row in story.rows(t.finding, kind="double")] == ["555"]
    assert advance(story, prepared.effect) == []

    assert (effect(story, prepared)["state"], effect(story, prepared)["reason"]) == ("parked", "late answer")
