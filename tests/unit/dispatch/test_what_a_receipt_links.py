"""When a receipt links something, everything that this makes possible is decided at once, or after whatever went wrong."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from lifecyclehub.dispatch.upkeep import Advance, undecided
from lifecyclehub.intake.decide import Decide
from lifecyclehub.messages import Done, Refused
from lifecyclehub.store import tables as t
from lifecyclehub.store.writer import StoreBusy
from tests.support.bad_input import Hall
from tests.support.effects import DONE, claim, effect, in_flight, ready_project, receive, two_customers
from tests.support.story import Story

pytestmark = pytest.mark.anyio


def engagement(h: Hall) -> tuple[str, bool]:
    (row,) = h.rows(t.engagement)
    return row["stage"], row["undecided"]


# --- the store ------------------------------------------------------------------------------------------------------------


def test_a_create_that_fills_something_marks_its_engagement_until_that_is_decided_on(story: Story) -> None:
    prepared = in_flight(story)
    (row,) = story.rows(t.engagement)
    assert (row["stage"], row["undecided"]) == ("onboarding", False)

    receive(story, prepared, DONE)
    assert story.ask(undecided) == [(row["id"], row["client"])]

    with story.engine.begin() as conn:
        Decide(story.rules, story.ids, story.clock)(conn, [((row["id"],), ())])
    assert story.ask(undecided) == []
    assert [one["stage"] for one in story.rows(t.engagement)] == ["delivery"]


def test_what_fills_nothing_or_failed_asks_for_no_decision(story: Story) -> None:
    project = ready_project(story)
    receive(story, project, Refused("no"))
    assert story.ask(undecided) == []


def test_a_task_in_the_project_asks_for_no_decision(story: Story) -> None:
    project = in_flight(story)
    receive(story, project, DONE)
    (row,) = story.rows(t.engagement)
    with story.engine.begin() as conn:
        ready = Decide(story.rules, story.ids, story.clock)(conn, [((row["id"],), ())])[0]
    version = story.rows(t.engagement)[0]["version"]
    task = next(one for one in ready if one.action == "create_task")

    story.answer(task, Done(record_id="t1"))

    assert story.ask(undecided) == []
    assert story.rows(t.engagement)[0]["version"] == version + 1


def test_a_customer_that_was_prepared_before_the_same_client_was_entered_is_not_entered_again(story: Story) -> None:
    first, second = two_customers(story)
    assert first.target == second.target

    story.answer(first, Done(record_id="x1"))

    assert claim(story, second).verdict == "again", "what it was prepared from holds no more"
    with story.engine.begin() as conn:
        Advance(story.rules, story.ids, story.clock)(conn, [second.effect])
    assert effect(story, second)["state"] == "cancelled"


def test_a_customer_that_was_refused_lets_the_next_one_try(story: Story) -> None:
    first, second = two_customers(story)
    story.answer(first, Refused("no"))
    assert claim(story, second).verdict == "go"


def test_many_are_decided_on_with_as_many_statements_as_one(story: Story) -> None:
    from sqlalchemy import event

    receive(story, in_flight(story), DONE)
    (row,) = story.rows(t.engagement)
    asked: list[str] = []

    def count(*pairs: Any) -> int:
        asked.clear()
        with story.engine.begin() as conn:
            event.listen(conn, "before_cursor_execute", lambda *a: asked.append(a[2]))
            Decide(story.rules, story.ids, story.clock)(conn, pairs)
        return len(asked)

    one = count(((row["id"],), ()))
    assert count(*(((row["id"],), ()) for _ in range(20))) == one


# --- the hub --------------------------------------------------------------------------------------------------------------


async def test_the_stage_moves_on_with_our_own_project_and_not_only_with_news_of_it(h: Hall) -> None:
    await h.win()

    assert engagement(h) == ("delivery", False)
    assert h.rows(t.notice, connector="asana") == []


async def test_what_waited_for_the_project_is_sent_after_it_was_decided(h: Hall) -> None:
    await h.win()

    assert {row["state"] for row in h.rows(t.effect, role="project")} == {"done"}
    assert [path for path, _ in h.vendors.made].count("/api/1.0/tasks") == len(h.rows(t.effect, name="checklist"))


async def test_under_load_it_is_decided_with_the_tick(h: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifecyclehub.dispatch.dispatcher._CALM", -1)
    await h.win()
    assert engagement(h) == ("onboarding", True)
    monkeypatch.undo()

    await h.forward(0)

    assert engagement(h) == ("delivery", False)


async def test_a_database_that_is_busy_just_then_only_delays_it(h: Hall) -> None:
    store: Any = h.hub.store
    failing = [True]
    run_all = store.run_all

    async def busy(operation: Any, items: Any) -> Any:
        if operation is h.hub.dispatcher._decide and failing:
            failing.clear()
            raise StoreBusy("database is locked")
        return await run_all(operation, items)

    store.run_all = busy
    await h.win()
    assert engagement(h) == ("onboarding", True)

    await h.forward(0)

    assert engagement(h) == ("delivery", False)
    assert {row["state"] for row in h.rows(t.effect, role="project")} == {"done"}


async def test_a_start_decides_on_what_a_crash_left_undecided(h: Hall) -> None:
    await h.win()
    (row,) = h.rows(t.engagement)
    with h.hub.engine.begin() as conn:
        conn.execute(update(t.engagement).values(stage="onboarding", undecided=True))

    await h.hub.dispatcher.recover()

    assert engagement(h) == ("delivery", False)
    assert h.rows(t.engagement)[0]["version"] > row["version"]


async def test_an_engagement_that_cannot_be_decided_on_keeps_neither_its_effects_nor_others_waiting(
    h: Hall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decide = h.hub.dispatcher._decide

    def faulty(conn: Any, pairs: Any) -> Any:
        if any(one[0] for one in pairs):
            raise ZeroDivisionError("a bug")
        return decide(conn, pairs)

    h.hub.dispatcher._decide = faulty
    await h.win()

    assert "cannot decide on" in caplog.text
    assert {row["state"] for row in h.rows(t.effect, role="project")} == {"done"}, "what only needed the project went on"
    assert engagement(h) == ("onboarding", True)
    h.hub.dispatcher._decide = decide
    await h.forward(0)
    await h.hub.dispatcher.recover()
    assert engagement(h) == ("delivery", False)
