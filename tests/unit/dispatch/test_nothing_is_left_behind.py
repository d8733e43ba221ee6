"""What an answer sets free goes on, whoever died or was too busy to say so; what may have been done is never hidden."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.dispatch.receipt import open_settled
from lifecyclehub.dispatch.upkeep import Advance
from lifecyclehub.intake import merge
from lifecyclehub.intake.decide import Decide
from lifecyclehub.messages import Accepted, Done, Refused, Retry
from lifecyclehub.store import tables as t
from tests.support.effects import DONE, in_flight, put, ready_project, receive
from tests.support.story import Story, won_deal


def opened(story: Story) -> list[str]:
    with story.engine.begin() as conn:
        return open_settled(conn, [None])[0]


@pytest.mark.parametrize("state", ["done", "parked", "cancelled", "ready"])
def test_a_notice_whose_create_ended_in_a_crash_is_opened_at_the_next_start(story: Story, state: str) -> None:
    prepared = in_flight(story)
    (notice,) = story.arrive("asana", ("asana.project", "555"))
    story.change(t.notice, notice, state="held", reason=f"waiting({prepared.effect})")
    assert opened(story) == []

    put(story, prepared, state=state)

    assert opened(story) == [notice]
    assert [row["state"] for row in story.rows(t.notice, id=notice)] == ["open"]


def test_a_notice_that_waits_for_something_else_is_not_opened(story: Story) -> None:
    (notice,) = story.arrive("asana", ("asana.project", "555"))
    story.change(t.notice, notice, state="held", reason="connection")

    assert opened(story) == []


def test_an_accepted_job_whose_answer_came_late_is_asked_after_and_never_looked_up(story: Story) -> None:
    prepared = in_flight(story, state="in doubt", reason="no answer")

    receive(story, prepared, Accepted("job-1"))

    (row,) = story.rows(t.effect, id=prepared.effect)
    assert (row["state"], row["handle"]) == ("in flight", "job-1")


def draft(story: Story) -> Prepared:
    """Close a project whose customer is known; gives its draft invoice, prepared."""
    story.switch("closed-project-drafts-invoice")
    story.answer(ready_project(story), DONE)
    (client,), (engagement,) = story.rows(t.client), story.rows(t.engagement)
    customer = {"connection": "con_xero", "kind": "xero.contact", "record_id": "x1", "thing_kind": "client"}
    with story.engine.begin() as conn:
        conn.execute(t.link.insert(), [customer | {"thing": client["id"]}])
        conn.execute(update(t.project).values(status="closed", closed_at=story.clock.now()))
        (ready,) = Decide(story.rules, story.ids, story.clock)(conn, [((engagement["id"],), ())])
    return next(one for one in ready if one.action == "create_draft_invoice")


def reopen(story: Story) -> None:
    story.clock.at += 3600
    with story.engine.begin() as conn:
        conn.execute(update(t.project).values(status="open", closed_at=None))


def advance(story: Story, effect: str) -> None:
    with story.engine.begin() as conn:
        Advance(story.rules, story.ids, story.clock)(conn, [effect])


def test_a_draft_that_was_not_made_and_is_not_wanted_any_more_gives_its_charges_back(story: Story) -> None:
    prepared = draft(story)
    story.answer(prepared, Retry("busy"))
    reopen(story)

    advance(story, prepared.effect)

    (row,) = story.rows(t.effect, id=prepared.effect)
    assert (row["state"], row["body"], row["thing"], row["revision"]) == ("cancelled", None, None, 2)
    assert [line["live"] for line in story.rows(t.invoice_line)] == [False]
    assert [invoice["status"] for invoice in story.rows(t.invoice)] == ["void"]


def test_a_draft_for_what_was_merged_into_something_else_gives_its_charges_back(story: Story) -> None:
    prepared = draft(story)
    story.answer(prepared, Retry("busy"))

    with story.engine.begin() as conn:
        merge._cancel(SimpleNamespace(conn=conn), t.effect.c.id == prepared.effect)  # type: ignore[arg-type]

    (row,) = story.rows(t.effect, id=prepared.effect)
    assert (row["state"], row["reason"]) == ("cancelled", "merged")
    assert [line["live"] for line in story.rows(t.invoice_line)] == [False]


def test_what_may_have_been_done_is_never_cancelled_but_left_to_a_person(story: Story) -> None:
    prepared = draft(story)
    story.answer(prepared, Retry("busy"))
    put(story, prepared, unsure_since=story.clock.now())
    reopen(story)

    advance(story, prepared.effect)

    (row,) = story.rows(t.effect, id=prepared.effect)
    assert (row["state"], row["reason"]) == ("parked", "in doubt")
    assert [line["live"] for line in story.rows(t.invoice_line)] == [True]


def test_what_waited_for_an_effect_that_is_cancelled_goes_on_with_it(story: Story) -> None:
    prepared = draft(story)
    (note,) = story.rows(t.effect, handoff="closed-project-drafts-invoice", name="note")
    assert (note["state"], note["reason"]) == ("held", "needs")
    reopen(story)

    advance(story, prepared.effect)

    assert story.rows(t.effect, id=note["id"])[0]["state"] == "cancelled"


def test_money_that_does_not_add_up_holds_its_own_effects_and_no_notice(story: Story) -> None:
    prepared: Any = in_flight(story)
    receive(story, prepared, DONE)
    (engagement,) = story.rows(t.engagement)
    with story.engine.begin() as conn:
        conn.execute(update(t.project).values(status="closed", closed_at=story.clock.now() + timedelta(days=1)))
        foreign = {"id": "inv_1", "client": engagement["client"], "engagement": engagement["id"], "status": "draft"}
        conn.execute(t.invoice.insert(), [foreign | {"total_minor": 100, "total_currency": "CHF", "fields": {}}])

    story.see("hubspot", won_deal())

    assert {row["state"] for row in story.rows(t.notice)} == {"processed"}
    (note,) = story.rows(t.effect, name="note")
    assert (note["state"], note["reason"]) == ("held", "undecided")
    assert "CHF" in note["detail"]


# --- needs ----------------------------------------------------------------------------------------------------------------


def test_what_needs_something_that_was_cancelled_is_held_and_says_for_what(story: Story) -> None:
    project = ready_project(story)
    put(story, project, state="cancelled", reason="by a person")
    (note,) = story.rows(t.effect, name="note")

    advance(story, note["id"])

    (note,) = story.rows(t.effect, id=note["id"])
    assert (note["state"], note["reason"], note["detail"]) == ("held", "needs", "waits for project (cancelled)")


def test_what_only_needs_something_if_it_is_planned_goes_on_without_it(story: Story) -> None:
    story.switch("closed-project-drafts-invoice")
    story.answer(ready_project(story), DONE)
    (client,), (engagement,) = story.rows(t.client), story.rows(t.engagement)
    with story.engine.begin() as conn:
        conn.execute(update(t.project).values(status="closed", closed_at=story.clock.now()))
        Decide(story.rules, story.ids, story.clock)(conn, [((engagement["id"],), ())])
    (customer,), (invoice,) = story.rows(t.effect, name="customer"), story.rows(t.effect, name="invoice")
    assert (customer["state"], invoice["reason"]) == ("ready", "needs")
    known = {"connection": "con_xero", "kind": "xero.contact", "record_id": "x1", "thing_kind": "client", "thing": client["id"]}
    with story.engine.begin() as conn:
        conn.execute(t.link.insert(), [known])  # somebody entered the customer meanwhile

    advance(story, customer["id"])

    assert [row["state"] for row in story.rows(t.effect, name="customer")] == ["cancelled"]
    (invoice,) = story.rows(t.effect, name="invoice")
    assert (invoice["state"], invoice["reason"]) == ("ready", None)


def fresh(story: Story, effect: str) -> Prepared:
    """Prepare an effect with the values of now."""
    with story.engine.begin() as conn:
        ((prepared,),) = Advance(story.rules, story.ids, story.clock)(conn, [effect])
    return prepared


def test_one_of_several_requests_that_is_refused_parks_itself_and_the_others_go_on(story: Story) -> None:
    project = ready_project(story)
    story.answer(project, DONE)
    (engagement,) = story.rows(t.engagement)
    with story.engine.begin() as conn:
        (ready,) = Decide(story.rules, story.ids, story.clock)(conn, [((engagement["id"],), ())])
    tasks = sorted((one for one in ready if one.action == "create_task"), key=lambda one: one.effect)
    (note,) = (one for one in ready if one.action == "add_note")

    woken = story.answer(tasks[0], Refused("the assignee may not do that"), status=403)
    assert woken == [tasks[1].effect], "its turn on the project comes all the same"
    for one in (*tasks[1:], note):
        story.answer(fresh(story, one.effect), Done(record_id=f"of {one.effect}"))

    states = {row["id"]: row["state"] for row in story.rows(t.effect)}
    assert states.pop(tasks[0].effect) == "parked"
    assert set(states.values()) == {"done"}
    put(story, tasks[0], state="planned", body=None, input=None, revision=2)
    assert fresh(story, tasks[0].effect).revision == 2, "only what is missing is made anew"
