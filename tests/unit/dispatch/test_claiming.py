"""Step 7: an effect is taken once, with values that still hold, in its turn, and with the body it had."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from lifecyclehub.admin.applied import read_applied
from lifecyclehub.admin.effects import Answer, AnswerEffects
from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.prepared import Claim, Claimed, Prepared
from lifecyclehub.dispatch.tools import Restored
from lifecyclehub.dispatch.upkeep import Advance, Answered, Parking, answer, expire, have_their_turn, hold, park
from lifecyclehub.intake.decide import Decide
from lifecyclehub.messages import Done, Retry
from lifecyclehub.store import tables as t
from lifecyclehub.store.upsert import insert_all
from tests.support.effects import DONE, claim, effect, in_flight, put, ready_project, receive
from tests.support.home import apply_files
from tests.support.reach import Middle
from tests.support.story import Story


def advance(story: Story, *effects: str) -> list[Prepared]:
    with story.engine.begin() as conn:
        return [one for found in Advance(story.rules, story.ids, story.clock)(conn, effects) for one in found]


def request_of(story: Story, prepared: Prepared) -> Any:
    action = story.rules.action(prepared.connector, prepared.action)
    assert action is not None
    return prepared.frozen or action.render(action.input.model_validate(prepared.input), prepared.body, prepared.key)


def claims(story: Story, *prepared: Prepared) -> list[str]:
    """Ask for several in one batch; gives the verdicts."""
    asked = [Claim(prepared=one, request=request_of(story, one), holder="hub", sending_s=30) for one in prepared]
    with story.engine.begin() as conn:
        return [one.verdict for one in TakeClaims(story.ids, story.clock)(conn, asked)]


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
    one = Claim(prepared=prepared, request=request_of(story, prepared), holder="hub", sending_s=30)

    with story.engine.begin() as conn:
        verdict = TakeClaims(story.ids, story.clock, restored=lambda: restored)(conn, [one])[0].verdict

    assert (verdict, effect(story, prepared)["state"]) == (("go", "in flight") if sent else ("gone", "in doubt"))


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


# --- P6 -------------------------------------------------------------------------------------------------------------------

FINAL = ("in flight", "in doubt", "parked", "done")


@pytest.mark.parametrize("state", FINAL)
def test_an_applied_edit_never_changes_what_was_sent_or_put_aside(story: Story, state: str) -> None:
    prepared = in_flight(story)
    put(story, prepared, state=state, reason="as it was")
    before = effect(story, prepared)
    _edit_name(story)
    story.rules = _applied(story)
    story.switch("won-deal-starts-delivery", "off")

    advance(story, prepared.effect)
    assert effect(story, prepared) == before
    _decide_again(story)
    assert effect(story, prepared) == before


def test_what_waits_is_rendered_with_the_set_that_planned_it_and_a_new_revision_with_the_newest(story: Story) -> None:
    prepared = ready_project(story)
    _edit_name(story)
    story.rules = _applied(story)

    (same,) = advance(story, prepared.effect)
    assert same.input["name"] == prepared.input["name"] != "Shop rebuild"

    put(story, prepared, state="parked", reason="refused")
    with story.engine.begin() as conn:
        word = Answer(effect=prepared.effect, verdict="anew", who="kim")
        AnswerEffects(story.rules, story.ids, story.clock, Middle())(conn, [word])
    (fresh,) = advance(story, prepared.effect)
    assert fresh.input["name"] == "Shop rebuild"
    assert effect(story, prepared)["applied_set"] == story.rules.version


def test_what_a_set_planned_that_cannot_be_used_any_more_is_a_persons(story: Story) -> None:
    prepared = ready_project(story)
    old = story.rules.version
    _edit_name(story)
    story.rules = replace(_applied(story), earlier={old: "its connector is another one now"})
    assert advance(story, prepared.effect) == []
    parked = effect(story, prepared)
    assert (parked["state"], parked["reason"]) == ("parked", "mapping")
    assert "its connector is another one now" in parked["detail"]


def test_what_another_hub_planned_with_a_set_not_taken_over_yet_is_left_to_it(story: Story) -> None:
    prepared = ready_project(story)
    before = effect(story, prepared)
    story.rules = replace(story.rules, version="an older one", earlier={})
    assert advance(story, prepared.effect) == []
    assert effect(story, prepared) == before


def _edit_name(story: Story) -> None:
    file = story.settings.mappings / "handoffs.toml"
    file.write_text(file.read_text("utf-8").replace("concat(client.name, ': ', deal.title)", "deal.title"), "utf-8")


def _applied(story: Story) -> Any:
    apply_files(story.settings, story.registry)
    return story.ask(read_applied, story.registry, story.settings.zone).rules


def _decide_again(story: Story) -> None:
    engagements = [row["id"] for row in story.rows(t.engagement)]
    with story.engine.begin() as conn:
        Decide(story.rules, story.ids, story.clock)(conn, [(engagements, [])])


# --- charges --------------------------------------------------------------------------------------------------------------


def due_invoice(story: Story) -> Prepared:
    """A closed project whose customer is known: its draft may be sent."""
    story.switch("won-deal-starts-delivery")
    story.switch("closed-project-drafts-invoice")
    prepared = ready_project(story)
    story.answer(prepared, DONE)
    (client,) = story.rows(t.client)
    with story.engine.begin() as conn:
        link = {
            "connection": "con_xero",
            "kind": "xero.contact",
            "record_id": "x1",
            "thing_kind": "client",
            "thing": client["id"],
        }
        insert_all(conn, t.link, [link])
    with story.engine.begin() as conn:
        conn.execute(update(t.project).values(status="closed", closed_at=story.clock.now()))
    _decide_again(story)
    (row,) = story.rows(t.effect, action="create_draft_invoice")
    (ready,) = advance(story, row["id"])
    return ready


def test_a_draft_takes_its_charges_with_its_claim(story: Story) -> None:
    invoice = due_invoice(story)
    assert claim(story, invoice).verdict == "go"

    (line,) = story.rows(t.invoice_line)
    (charge,) = story.rows(t.charge)
    assert (line["charge"], line["amount_minor"], line["live"]) == (charge["id"], 1_200_000, True)
    assert story.rows(t.invoice)[0]["status"] == "drafting"
    assert effect(story, invoice)["thing"] == line["invoice"]


def test_a_retry_of_a_draft_takes_its_charges_no_second_time(story: Story) -> None:
    invoice = due_invoice(story)
    claim(story, invoice)
    receive(story, invoice, Retry("busy"))
    story.clock.at += 5
    (again,) = advance(story, invoice.effect)

    assert claim(story, again).verdict == "go"
    assert len(story.rows(t.invoice_line)) == 1
    assert len(story.rows(t.invoice)) == 1


def test_two_drafts_never_take_the_same_charge(story: Story) -> None:
    """As when two projects of one engagement close in the same moment."""
    invoice = due_invoice(story)
    twin = dict(effect(story, invoice), id="eff_twin", key="another", target=None)
    with story.engine.begin() as conn:
        insert_all(conn, t.effect, [twin])
    other = replace(invoice, effect="eff_twin", target=None)

    assert claims(story, invoice, other) == ["go", "again"]
    assert claim(story, other).verdict == "again", "also in a batch of its own"
    assert len(story.rows(t.invoice_line)) == 1
    assert advance(story, "eff_twin") == []
    (row,) = story.rows(t.effect, id="eff_twin")
    assert (row["state"], row["reason"]) == ("cancelled", "condition"), "nothing is left to bill"


def answered(story: Story, prepared: Prepared, verdict: str, **more: Any) -> str:
    with story.engine.begin() as conn:
        word = Answered(
            effect=prepared.effect, who="Ines", at=story.clock.now(), attempt=story.ids.new("att"), verdict=verdict, **more
        )
        return answer(conn, [word])[0]


def test_anew_is_a_new_revision_with_present_values_and_frees_the_charges(story: Story) -> None:
    invoice = due_invoice(story)
    claim(story, invoice)
    put(story, invoice, state="parked")

    assert answered(story, invoice, "anew") == "planned"

    row = effect(story, invoice)
    assert (row["revision"], row["body"], row["thing"], row["attempts"]) == (2, None, None, 0)
    assert [line["live"] for line in story.rows(t.invoice_line)] == [False]
    assert [one["status"] for one in story.rows(t.invoice)] == ["void"]
    (again,) = advance(story, invoice.effect)
    assert again.revision == 2
    assert again.frozen is None
    assert again.key.idempotency != invoice.key.idempotency, "the vendor must not fold it into the one before"
    assert again.key.marker == invoice.key.marker
    assert claim(story, again).verdict == "go"
    assert [line["live"] for line in story.rows(t.invoice_line)] in ([False, True], [True, False])


def test_let_it_be_cancels_for_good_and_frees_the_charges(story: Story) -> None:
    invoice = due_invoice(story)
    claim(story, invoice)
    put(story, invoice, state="parked")

    assert answered(story, invoice, "cancel") == "cancelled"
    assert [line["live"] for line in story.rows(t.invoice_line)] == [False]
    _decide_again(story)
    assert effect(story, invoice)["state"] == "cancelled", "a person said so: it is not planned again by itself"


def test_this_is_the_record_waits_for_the_receipt_of_that_answer(story: Story) -> None:
    prepared = in_flight(story, state="parked", reason="several found")
    assert answered(story, prepared, "is", record_id="555") == "parked"
    receive(story, prepared, DONE, what="by a person")

    assert (effect(story, prepared)["state"], effect(story, prepared)["record_id"]) == ("done", "555")
    assert next((row["what"], row["detail"]) for row in story.rows(t.attempt)) == ("by a person", "Ines: 555")


@pytest.mark.parametrize("state", ["planned", "held", "ready", "in flight", "in doubt", "done", "cancelled"])
def test_only_a_parked_effect_is_answered(story: Story, state: str) -> None:
    prepared = in_flight(story, state=state)
    before = effect(story, prepared)

    assert answered(story, prepared, "anew") == ""
    assert effect(story, prepared) == before
    assert story.rows(t.attempt) == []


@pytest.mark.parametrize(
    ("operation", "takes"), [(park, {"planned", "held", "ready", "in doubt"}), (hold, {"planned", "held", "ready"})]
)
def test_what_is_on_its_way_or_over_is_neither_parked_nor_held(story: Story, operation: Any, takes: set[str]) -> None:
    prepared = in_flight(story)
    for state in ("planned", "held", "ready", "in flight", "in doubt", "parked", "done", "cancelled"):
        put(story, prepared, state=state)
        with story.engine.begin() as conn:
            assert operation(conn, [Parking(prepared.effect, "why", "detail", story.clock.now())]) == [state in takes], state
