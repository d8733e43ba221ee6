"""An effect in doubt: each kind of `once` is resolved in its own way, and a failed look-up is never absence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from lifecyclehub.connector import Marker, NativeKey, Natural, Never, UniqueId
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.dispatch.lookup import Lookup
from lifecyclehub.dispatch.perform import Performer
from lifecyclehub.dispatch.upkeep import DueEffect
from lifecyclehub.errors import ConfigurationError, Forbidden, NeedsReauthorization, PluginRaised, RecordGone, TryAgain
from lifecyclehub.messages import Absent, Accepted, CannotTell, Done, Found, Refused, Retry
from lifecyclehub.store import tables as t
from tests.support.effects import DONE, OTHER, effect, in_flight, put, receive
from tests.support.story import Story

pytestmark = pytest.mark.anyio

KEY = NativeKey("Once", window_s=3600)
CACHING = replace(KEY, caches_errors=True)
MARKER = Marker("data.notes", lag_s=20)
SERVER_S = 60.0
TOTAL_S = 30.0


class Act:
    """An action whose `once`, look-up and check a test sets."""

    name = "create_project"
    input = CreateProject
    creates = "asana.project"

    def __init__(self, once: Any, found: Callable[[], Any], checked: Callable[[], Any] | None = None) -> None:
        self.once, self.found, self.checked, self.looks = once, found, checked, 0

    async def find(self, *_: Any) -> Any:
        self.looks += 1
        return self.found()

    async def check(self, *_: Any) -> Any:
        assert self.checked is not None
        return self.checked()


class Desk:
    """A look-up whose receipts are really written, without a network."""

    def __init__(
        self, story: Story, once: Any, found: Callable[[], Any] = Absent, checked: Callable[[], Any] | None = None
    ) -> None:
        self.story, self.parked = story, []
        self.act: Any = Act(once, found, checked)
        about = SimpleNamespace(id="asana", action=lambda _: self.act, server_timeout_s=SERVER_S)
        self.settings: dict[str, str] = {}
        self.target: Any = SimpleNamespace(about=about, settings=self.settings, timeout_s=TOTAL_S)
        tools: Any = SimpleNamespace(
            store=self,
            clock=story.clock,
            installation=story.made.installation,
            targets=self._target,
            registry=SimpleNamespace(get=lambda _: SimpleNamespace(about=about)),
            client=SimpleNamespace(clock=story.clock),
        )
        nobody: Any = None
        performer = Performer(tools, nobody, nobody, nobody, nobody)
        self.lookup = Lookup(tools, performer, self._receive, self._park)
        self.unreachable: Exception | None = None

    parked: list[tuple[str, str]]

    async def read(self, question: Any, *args: Any) -> Any:
        with self.story.engine.begin() as conn:
            return question(conn, *args)

    async def run(self, operation: Any, item: Any) -> Any:
        with self.story.engine.begin() as conn:
            return operation(conn, [item])[0]

    async def _target(self, _: str) -> Any:
        if self.unreachable is not None:
            raise self.unreachable
        return self.target

    async def _receive(self, receipt: Any) -> None:
        assert receipt.bytes_sent is False
        prepared: Any = SimpleNamespace(effect=receipt.effect)
        receive(self.story, prepared, receipt.outcome, what=receipt.what, began_at=receipt.began_at, detail=receipt.detail)

    async def _park(self, effect_id: str, reason: str, detail: str) -> None:
        self.parked.append((reason, detail))
        with self.story.engine.begin() as conn:
            conn.execute(update(t.effect).where(t.effect.c.id == effect_id).values(state="parked", reason=reason, detail=detail))

    async def look(self, prepared: Any) -> dict[str, Any]:
        row = effect(self.story, prepared)
        await self.lookup.run(DueEffect(row["id"], row["state"], row["handle"]))
        return effect(self.story, prepared)


def doubt(story: Story, **values: Any) -> Any:
    prepared = in_flight(story, state="in doubt", reason="no answer", handle=None, **values)
    story.clock.at += TOTAL_S + 1
    return prepared


def raising(error: Exception) -> Callable[[], Any]:
    def now() -> Any:
        raise error

    return now


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
        put(story, prepared, state="in doubt", reason="no answer")

    assert waits == [1, 5, 30, 120, 600]


@pytest.mark.parametrize(
    ("once", "reason", "detail", "age_s"),
    [
        (KEY, "no answer", "the line broke", 3600),  # the key's window is over
        (KEY, "no answer", "the line broke", 3600 - TOTAL_S),  # or would be, before the repeat has arrived
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
    desk = Desk(story, once, lambda: Found((DONE,)))

    row = await desk.look(prepared)

    assert desk.act.looks == 1
    assert (row["state"], row["record_id"]) == ("done", "555")


async def test_a_key_that_stores_no_errors_serves_after_one(story: Story) -> None:
    prepared = doubt(story)
    put(story, prepared, reason="unknown outcome", detail="status 500: internal")
    desk = Desk(story, KEY)

    assert (await desk.look(prepared))["state"] == "ready"
    assert desk.act.looks == 0


# --- what must be looked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("once", [MARKER, NativeKey("Once", window_s=1)])
async def test_absence_proves_nothing_before_the_vendor_must_have_shown_it(story: Story, once: Any) -> None:
    """The deadline, the vendor's own time-out, and its lag: until then it may still appear."""
    prepared = doubt(story)
    desk = Desk(story, once)
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


async def test_a_connections_own_lag_counts_instead_of_the_declared_one(story: Story) -> None:
    prepared = doubt(story)
    desk = Desk(story, MARKER)
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


async def test_where_no_look_up_is_possible_a_person_must_say(story: Story) -> None:
    prepared = doubt(story)
    desk = Desk(story, Never())

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


# --- accepted jobs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "state"),
    [
        (lambda: Done(record_id="555"), "done"),
        (lambda: Accepted("job-1"), "in flight"),
        (lambda: Refused("the template is gone"), "parked"),
        (raising(TryAgain("503")), "in flight"),
        (raising(RecordGone("no such job")), "in flight"),
        (raising(NeedsReauthorization("status 401")), "in flight"),
        (lambda: None, "in flight"),
        (lambda: "done", "in flight"),
    ],
)
async def test_an_accepted_job_is_asked_about_and_never_sent_again_or_looked_up(story: Story, says: Any, state: str) -> None:
    prepared = in_flight(story, handle="job-1")
    story.clock.at += 3600
    desk = Desk(story, MARKER, checked=says)

    row = await desk.look(prepared)

    assert row["state"] == state
    assert row["handle"] == "job-1"
    assert desk.act.looks == 0
    assert [one["what"] for one in story.rows(t.attempt)] == ["checked"]


@pytest.mark.parametrize("state", ["ready", "done", "parked", "cancelled", "held"])
async def test_only_what_is_uncertain_is_looked_up(story: Story, state: str) -> None:
    prepared = in_flight(story, state=state)
    desk = Desk(story, MARKER)
    before = effect(story, prepared)

    assert await desk.look(prepared) == before
    assert desk.act.looks == 0
