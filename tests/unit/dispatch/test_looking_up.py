"""An effect in doubt: each kind of `once` is resolved in its own way, and a failed look-up is never absence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lifecyclehub.connector import NativeKey, Natural, Never, UniqueId
from lifecyclehub.dispatch.perform import key_lasts_s
from lifecyclehub.dispatch.tools import Restored
from lifecyclehub.errors import ConfigurationError, Forbidden, NeedsReauthorization, PluginRaised, RecordGone, TryAgain
from lifecyclehub.messages import Absent, CannotTell, Done, Found, Retry
from lifecyclehub.store import tables as t
from tests.support.desk import CACHING, KEY, MARKER, SERVER_S, TOTAL_S, Desk, doubt, raising
from tests.support.effects import DONE, OTHER, effect, in_flight, put
from tests.support.story import Story

pytestmark = pytest.mark.anyio


# --- what may simply be sent again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("once", [Natural(), UniqueId("email"), KEY, CACHING])
async def test_what_the_vendor_folds_is_sent_again_without_a_look(story: Story, once: Any) -> None:
    prepared = doubt(story)
    desk = Desk(story, once)

    row = await desk.look(prepared)

    assert (row["state"], row["reason"]) == ("ready", "retry")
    assert desk.act.looks == 0
    assert row["body"] is not None, "as it was: the key stands for this body"


async def test_again_and_again_is_never_in_haste(story: Story) -> None:
    prepared = doubt(story)
    desk = Desk(story, KEY)
    waits = []
    for _ in range(5):
        row = await desk.look(prepared)
        waits.append(round((row["not_before"] - story.clock.now()).total_seconds()))
        put(story, prepared, state="in doubt", reason="no answer", not_before=None)

    assert waits == [1, 5, 30, 120, 600]


@pytest.mark.parametrize(
    ("once", "reason", "detail", "age_s"),
    [
        (KEY, "no answer", "the line broke", 3600),  # the key's window is over
        (KEY, "no answer", "the line broke", 3600 - TOTAL_S),  # or would be, before the repeat has arrived
        (KEY, "no answer", "the line broke", 3600 - TOTAL_S - SERVER_S),  # or before the tool has come to do it
        (CACHING, "unknown outcome", "status 500: internal", 10),  # a stored error would only come back
        (UniqueId("email"), "exists already", "taken", 10),  # it is there: but is it ours?
        (KEY, "exists already", "taken", 10),
    ],
)
async def test_where_the_key_does_not_serve_it_is_looked_up(
    story: Story, once: Any, reason: str, detail: str, age_s: float
) -> None:
    prepared = doubt(story)
    claimed = story.clock.now() - timedelta(seconds=age_s)
    put(story, prepared, reason=reason, detail=detail, claimed_at=claimed, unsure_since=claimed)
    if reason == "unknown outcome":
        was_answered(story, prepared, 500)
    desk = Desk(story, once, lambda: Found((DONE,)))

    row = await desk.look(prepared)

    assert desk.act.looks == 1
    assert (row["state"], row["record_id"]) == ("done", "555")


def test_a_repeat_begins_only_while_its_key_serves_until_the_tool_has_done_it_at_the_latest(story: Story) -> None:
    target = Desk(story, KEY).target
    assert 3600 - TOTAL_S - SERVER_S - 5 < key_lasts_s(KEY, TOTAL_S, target) < 3600 - TOTAL_S - SERVER_S


async def test_what_a_restore_made_us_forget_is_looked_up_though_its_key_would_serve(story: Story) -> None:
    """Since the backup it may have been rendered anew, and been done under that key."""
    prepared = doubt(story)
    put(story, prepared, reason="restored")
    desk = Desk(story, KEY, lambda: Found((DONE,)))

    row = await desk.look(prepared)

    assert (desk.act.looks, row["state"], row["record_id"]) == (1, "done", "555")


async def test_so_is_what_was_in_doubt_when_the_backup_was_made(story: Story) -> None:
    prepared = doubt(story)
    desk = Desk(story, KEY, lambda: Found((DONE,)))
    now = story.clock.now()
    desk.tools.restored = lambda: Restored(now, now + timedelta(seconds=1))

    assert (await desk.look(prepared))["state"] == "done"


def was_answered(story: Story, prepared: Any, status: int | None, revision: int = 1) -> None:
    """Note what the vendor answered to a sending."""
    now = story.clock.now()
    row = {"effect": prepared.effect, "revision": revision, "epoch": 1, "what": "sent", "outcome": "Unknown", "status": status}
    with story.engine.begin() as conn:
        conn.execute(t.attempt.insert(), [row | {"id": story.ids.new("att"), "began_at": now, "at": now}])


async def test_whether_the_vendor_answered_is_read_from_what_is_kept_and_not_from_its_words(story: Story) -> None:
    prepared = doubt(story)
    put(story, prepared, reason="unknown outcome", detail="the line broke; look at our status page")
    was_answered(story, prepared, None)
    was_answered(story, prepared, 500, revision=7)  # under another key

    assert (await Desk(story, CACHING).look(prepared))["state"] == "ready"


async def test_a_key_that_stores_no_errors_serves_after_one(story: Story) -> None:
    prepared = doubt(story)
    was_answered(story, prepared, 500)
    put(story, prepared, reason="unknown outcome", detail="status 500: internal")
    desk = Desk(story, KEY)

    assert (await desk.look(prepared))["state"] == "ready"
    assert desk.act.looks == 0


# --- what must be looked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("once", [MARKER, NativeKey("Once", window_s=1)])
async def test_absence_proves_nothing_before_the_vendor_must_have_shown_it(story: Story, once: Any) -> None:
    """The deadline, the vendor's own time-out, and its lag: until then it may still appear."""
    prepared = doubt(story)
    desk = Desk(story, once).sent(prepared)
    lag = MARKER.lag_s if once is MARKER else 0.0
    horizon = effect(story, prepared)["deadline"] + timedelta(seconds=SERVER_S + lag)

    row = await desk.look(prepared)
    assert (row["state"], row["not_before"]) == ("in doubt", horizon)
    assert story.rows(t.attempt) == []

    story.clock.at += (horizon - story.clock.now()).total_seconds() - 1
    assert (await desk.look(prepared))["state"] == "in doubt"
    story.clock.at += 1
    row = await desk.look(prepared)
    assert (row["state"], row["reason"]) == ("ready", "absence proven")
    assert [one["outcome"] for one in story.rows(t.attempt)] == ["Absent"]


@pytest.mark.parametrize("once", [MARKER, UniqueId("email"), KEY])
async def test_what_the_tool_says_is_there_is_waited_for_as_long_as_its_lists_may_lag(story: Story, once: Any) -> None:
    """Somebody made it a moment ago: the tool knows of it before its own lists do."""
    prepared = doubt(story)
    put(story, prepared, reason="exists already", detail="the name is taken")
    sightings: list[Any] = [Absent(), Found((DONE,))]
    desk = Desk(story, once, lambda: sightings.pop(0))

    row = await desk.look(prepared)
    assert (row["state"], row["reason"]) == ("in doubt", "exists already")
    story.clock.at += (row["not_before"] - story.clock.now()).total_seconds()
    row = await desk.look(prepared)
    assert (row["state"], row["record_id"]) == ("done", "555")


async def test_what_the_tool_says_is_there_but_never_shows_is_a_persons_question(story: Story) -> None:
    prepared = doubt(story)
    put(story, prepared, reason="exists already", detail="the name is taken")
    story.clock.at += 10_000  # long after everything must be visible

    row = await Desk(story, KEY).sent(prepared).look(prepared)

    assert (row["state"], row["reason"], row["detail"]) == ("parked", "refused", "the name is taken")


async def test_a_connections_own_lag_counts_instead_of_the_declared_one(story: Story) -> None:
    prepared = doubt(story)
    desk = Desk(story, MARKER).sent(prepared)
    desk.settings |= {"lag_s": "300", "server_timeout_s": "5"}

    row = await desk.look(prepared)

    assert row["not_before"] == row["deadline"] + timedelta(seconds=305)


async def test_what_is_found_is_taken_whenever_it_is_found(story: Story) -> None:
    prepared = doubt(story)
    row = await Desk(story, MARKER, lambda: Found((DONE,))).look(prepared)

    assert (row["state"], row["record_id"], row["address"]) == ("done", "555", DONE.url)
    assert len(story.rows(t.project)) == 1


async def test_two_found_are_a_persons_question_that_names_both(story: Story) -> None:
    prepared = doubt(story)
    row = await Desk(story, MARKER, lambda: Found((DONE, OTHER))).look(prepared)

    assert (row["state"], row["reason"]) == ("parked", "several found")
    assert str(DONE.url) in row["detail"]
    assert str(OTHER.url) in row["detail"]
    assert story.rows(t.project) == []


@pytest.mark.parametrize(
    "fails",
    [
        TryAgain("503"),
        Forbidden("not yours"),
        RecordGone("the list is gone"),
        PluginRaised("asana", "find", KeyError("data")),
        ConfigurationError("no workspace"),
        LookupError("a list was expected"),
        TimeoutError(),
    ],
    ids=repr,
)
async def test_a_look_up_that_fails_is_never_absence(story: Story, fails: Exception) -> None:
    prepared = doubt(story)
    story.clock.at += 10_000  # long after everything must be visible
    desk = Desk(story, MARKER, raising(fails))

    row = await desk.look(prepared)

    assert row["state"] == "in doubt"
    assert row["not_before"] > story.clock.now()
    assert row["detail"]
    assert [one["outcome"] for one in story.rows(t.attempt)] == ["CannotTell"]


@pytest.mark.parametrize("gives", [None, True, "absent", Done(record_id="1"), Retry("busy")], ids=repr)
async def test_what_is_no_sighting_is_never_absence(story: Story, gives: Any) -> None:
    prepared = doubt(story)
    story.clock.at += 10_000

    row = await Desk(story, MARKER, lambda: gives).look(prepared)

    assert row["state"] == "in doubt"
    assert [one["outcome"] for one in story.rows(t.attempt)] == ["CannotTell"]


async def test_what_cannot_be_told_is_asked_again(story: Story) -> None:
    prepared = doubt(story)
    row = await Desk(story, MARKER, lambda: CannotTell("two of three pages")).look(prepared)

    assert (row["state"], row["detail"]) == ("in doubt", "two of three pages")


async def test_refused_credentials_leave_it_in_doubt(story: Story) -> None:
    prepared = doubt(story)
    row = await Desk(story, MARKER, raising(NeedsReauthorization("status 401"))).look(prepared)

    assert row["state"] == "in doubt"
    assert row["not_before"] > story.clock.now()


@pytest.mark.parametrize("once", [Never(), NativeKey("Once", window_s=60, marker_after=False)], ids=["never", "its key ended"])
async def test_where_no_look_up_is_possible_a_person_must_say(story: Story, once: Any) -> None:
    prepared = doubt(story)
    story.clock.at += 10_000
    desk = Desk(story, once)

    row = await desk.look(prepared)

    assert row["state"] == "parked"
    assert desk.parked == [("in doubt", "whether it was done cannot be looked up in this tool: a person must say")]
    assert desk.act.looks == 0


async def test_a_connection_that_cannot_be_used_keeps_it_in_doubt(story: Story) -> None:
    prepared = doubt(story)
    desk = Desk(story, MARKER)
    desk.unreachable = ConfigurationError("the setting team is missing.")

    row = await desk.look(prepared)

    assert (row["state"], row["detail"]) == ("in doubt", "the setting team is missing.")


async def test_an_action_that_is_gone_is_a_persons_question(story: Story) -> None:
    prepared = doubt(story)
    desk = Desk(story, MARKER)
    desk.act = None

    row = await desk.look(prepared)

    assert (row["state"], row["reason"]) == ("parked", "unsupported")


async def test_one_look_is_under_way_at_a_time(story: Story) -> None:
    prepared = doubt(story)
    meanwhile: list[Any] = []

    def looking() -> Any:
        meanwhile.append(effect(story, prepared)["not_before"])
        return Found((DONE,))

    await Desk(story, MARKER, looking).look(prepared)

    assert meanwhile == [story.clock.now() + timedelta(minutes=2)]


async def test_what_was_absent_under_a_key_that_keeps_errors_gets_a_new_key(story: Story) -> None:
    prepared = doubt(story)
    was_answered(story, prepared, 500)
    story.clock.at += 10_000
    body = effect(story, prepared)["body"]

    row = await Desk(story, CACHING).sent(prepared).look(prepared)

    assert (row["state"], row["revision"], row["body"]) == ("ready", 2, None)
    assert body is not None


async def test_an_input_that_the_connector_does_not_take_any_more_keeps_it_in_doubt(story: Story) -> None:
    prepared = doubt(story, input={"of another version": True})

    row = await Desk(story, MARKER).look(prepared)

    assert row["state"] == "in doubt"
    assert "does not take the input of then any more" in row["detail"]


@pytest.mark.parametrize("state", ["ready", "done", "parked", "cancelled", "held"])
async def test_only_what_is_uncertain_is_looked_up(story: Story, state: str) -> None:
    prepared = in_flight(story, state=state)
    desk = Desk(story, MARKER)
    before = effect(story, prepared)

    assert await desk.look(prepared) == before
    assert desk.act.looks == 0
