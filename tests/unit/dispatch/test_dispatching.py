"""Effects keep moving: through a busy database, an error that nobody expected, and a turn that comes late."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from lifecyclehub.dispatch.perform import Answer
from lifecyclehub.dispatch.upkeep import due_effects, expire, forgotten_effects, park
from lifecyclehub.errors import LostRace
from lifecyclehub.store import tables as t
from lifecyclehub.store.writer import StoreBusy
from tests.support.bad_input import Hall, a_deal

pytestmark = pytest.mark.anyio


def failing_store(h: Hall, operation: Any, error: BaseException, times: int = 1) -> list[Any]:
    """Let an operation fail so many times; gives the list that its askers are noted in."""
    run, asked_for = h.hub.store.run, []

    async def sometimes(asked: Any, item: Any) -> Any:
        if asked is operation:
            asked_for.append(item)
            if len(asked_for) <= times:
                raise error
        return await run(asked, item)

    h.hub.store.run = sometimes  # type: ignore[method-assign]
    return asked_for


async def win(h: Hall) -> dict[str, Any]:
    await h.win()
    (project,) = h.rows(t.effect, name="project")
    return project


def projects(h: Hall) -> int:
    return [path for path, _ in h.vendors.made].count("/api/1.0/projects")


@pytest.mark.parametrize("error", [StoreBusy("database is locked"), LostRace("another worker was quicker each time")], ids=repr)
async def test_a_claim_that_met_a_busy_database_sends_nothing_and_is_tried_by_the_tick(h: Hall, error: Exception) -> None:
    failing_store(h, h.hub.dispatcher._performer._claims, error)

    project = await win(h)
    assert (project["state"], project["epoch"], projects(h)) == ("ready", 0, 0)

    await h.forward(0)
    assert [row["state"] for row in h.rows(t.effect, name="project")] == ["done"]
    assert projects(h) == 1


async def test_a_receipt_that_met_a_busy_database_is_written_later_and_nothing_is_sent_twice(h: Hall) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    h.clock.sleep = sleep  # type: ignore[method-assign]
    failing_store(h, h.hub.dispatcher._receipts, StoreBusy("database or disk is full"), times=3)

    project = await win(h)

    assert project["state"] == "done"
    assert slept == [1.0, 1.0, 1.0]
    assert projects(h) == 1
    assert len(h.rows(t.attempt, effect=project["id"])) == 1


async def test_an_error_that_nobody_expected_before_the_claim_parks_the_effect_with_its_words(
    h: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    failing_store(h, h.hub.dispatcher._performer._claims, KeyError("lines"))

    project = await win(h)

    assert (project["state"], project["reason"], project["detail"]) == ("parked", "error", "KeyError: 'lines'")
    assert projects(h) == 0
    assert "met an error" in caplog.text


async def test_an_error_that_nobody_expected_while_sending_is_in_doubt_once_its_deadline_is_over(h: Hall) -> None:
    def bug(*_: Any, **__: Any) -> Any:
        raise LookupError("a bug")

    send = h.hub.client.send
    h.hub.dispatcher._tools.client.send = bug  # type: ignore[method-assign]
    h.vendors.deals["1"] = a_deal("1", stage="closedwon")
    h.hub.intake._fetch = _given(h)  # type: ignore[method-assign]
    await h.knock("hubspot", h.deal_changed("1"))
    await h.hub.settled()
    assert [row["state"] for row in h.rows(t.effect, name="project")] == ["in flight"], "never simply ready again"
    h.hub.dispatcher._tools.client.send = send  # type: ignore[method-assign]

    await h.forward(40)
    await h.forward(1)
    (project,) = h.rows(t.effect, name="project")
    assert project["state"] == "in doubt"
    for _ in range(3):
        await h.forward(200)
    assert [row["state"] for row in h.rows(t.effect, name="project")] == ["done"]
    assert projects(h) == 1


def _given(h: Hall) -> Any:
    from lifecyclehub.messages import Document

    async def fetch(*_: Any) -> Document:
        return Document(kind="hubspot.deal", id="1", data=h.vendors.deals["1"], account="24810377")

    return fetch


async def test_an_effect_behind_one_that_a_person_must_decide_gets_its_turn(h: Hall) -> None:
    await win(h)
    first, second, *_ = h.rows(t.effect, name="checklist")
    h.change(t.effect, first["id"], state="in doubt", reason="no answer", not_before=None, record_id=None)
    h.change(t.effect, second["id"], state="ready", reason=None, body=None, not_before=None, record_id=None)
    await h.hub.dispatcher.advance([second["id"]])
    await h.hub.settled()
    assert h.rows(t.effect, id=second["id"])[0]["state"] == "ready", "it waits behind the uncertain one"

    await h.hub.dispatcher._park(first["id"], "in doubt", "a person must say")
    await h.forward(0)

    assert h.rows(t.effect, id=second["id"])[0]["state"] == "done"


def put(h: Hall, effect: str, **values: Any) -> None:
    """Put an effect where a test wants it, so that nobody is told."""
    with h.hub.engine.begin() as conn:
        conn.execute(update(t.effect).where(t.effect.c.id == effect).values(**values))


async def test_what_waits_for_its_turn_writes_nothing_and_goes_when_it_comes(h: Hall) -> None:
    await win(h)
    first, second, third, *_ = h.rows(t.effect, name="checklist")
    unsent = {"reason": None, "body": None, "record_id": None}
    put(h, first["id"], state="in doubt", reason="no answer", not_before=None, record_id=None)
    put(h, second["id"], state="ready", not_before=None, **unsent)
    put(h, third["id"], state="ready", not_before=h.clock.now(), **unsent)  # tried before, and due
    await h.hub.dispatcher.advance([second["id"], third["id"]])
    await h.hub.settled()
    await h.forward(0)  # what was left over from before is done

    asked: list[Any] = []
    run_all = h.hub.store.run_all

    async def noted(operation: Any, items: Any) -> Any:
        asked.append(operation)
        return await run_all(operation, items)

    h.hub.store.run_all = noted  # type: ignore[method-assign]
    for _ in range(5):
        h.hub.dispatcher._next_round = 0.0  # also when all that is forgotten is looked for
        await h.forward(0.5)
    assert set(asked) == {expire}, "only what every tick asks"

    await h.hub.dispatcher._park(first["id"], "in doubt", "a person must say")
    await h.forward(0.5)
    await h.forward(0.5)
    assert {one["state"] for one in h.rows(t.effect, name="checklist")} == {"parked", "done"}


async def test_what_waits_behind_others_keeps_nothing_that_is_due_from_being_looked_at(h: Hall) -> None:
    await win(h)
    first, second, third, *_ = h.rows(t.effect, name="checklist")
    now = h.clock.now()
    unsent = {"reason": None, "body": None, "record_id": None}
    put(h, first["id"], state="in doubt", reason="no answer", not_before=now, record_id=None)
    for one in (second, third):
        put(h, one["id"], state="ready", not_before=now - timedelta(hours=1), **unsent)
    assert [one.id for one in await h.hub.store.read(due_effects, now, limit=2)] == [first["id"]]
    put(h, second["id"], not_before=None)
    assert await h.hub.store.read(forgotten_effects) == [], "and it is not forgotten either"


async def test_two_who_submit_the_same_effect_send_it_once(h: Hall) -> None:
    submit = h.hub.dispatcher.submit

    def twice(prepared: Any) -> None:
        found = list(prepared)
        submit([*found, *found])

    h.hub.dispatcher.submit = twice  # type: ignore[method-assign]

    await win(h)

    assert projects(h) == 1
    assert len(h.vendors.made) == len(h.rows(t.effect, role="project", state="done"))


async def test_a_hub_that_stops_begins_nothing_more(h: Hall) -> None:
    h.hub.dispatcher.flow.stopping = True

    project = await win(h)

    assert (project["state"], projects(h)) == ("ready", 0)


async def test_a_tool_that_does_not_answer_takes_no_other_tools_room(h: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    await win(h)
    (row,) = h.rows(t.effect, name="project")
    go, begun = asyncio.Event(), []

    async def perform(prepared: Any) -> bool:
        begun.append(prepared.connection)
        if prepared.connection == "con_asana":
            await go.wait()
        return False

    monkeypatch.setattr(h.hub.dispatcher._performer, "perform", perform)
    slow = [_prepared(f"eff_{n}", row["connection"]) for n in range(600)]
    h.hub.dispatcher.submit([*slow, _prepared("eff_quick", "con_hubspot")])
    for _ in range(5):
        await asyncio.sleep(0)
    assert begun.count("con_asana") == 128
    assert begun.count("con_hubspot") == 1
    go.set()
    await h.hub.settled()
    assert begun.count("con_asana") == 600


def _prepared(effect: str, connection: str) -> Any:
    return SimpleNamespace(effect=effect, connection=connection)


# --- deadlines ------------------------------------------------------------------------------------------------------------


def claim_that_takes(h: Hall, seconds: float, clocks: tuple[str, ...]) -> None:
    """Let the first claim wait in the queue for so long, by these clocks."""
    store: Any = h.hub.store
    clock: Any = h.clock
    run, claims, left = store.run, h.hub.dispatcher._performer._claims, [seconds]

    async def slowly(asked: Any, item: Any) -> Any:
        answer = await run(asked, item)
        if asked is claims and left:
            passed = left.pop()
            if "wall" in clocks:
                clock.put_s += passed
            if "monotonic" in clocks:
                clock.monotonic_s += passed
        return answer

    store.run = slowly


@pytest.mark.parametrize("clocks", [("wall", "monotonic"), ("monotonic",), ("wall",)], ids=" and ".join)
async def test_what_waited_too_long_for_its_claim_is_not_sent_whichever_clock_says_so(h: Hall, clocks: tuple[str, ...]) -> None:
    """A machine that slept may have stopped one of them; meanwhile another hub may have looked, and sent it itself."""
    claim_that_takes(h, 31, clocks)

    project = await win(h)

    assert projects(h) == 0
    assert (project["state"], project["reason"]) == ("ready", "retry")
    (attempt,) = h.rows(t.attempt, effect=project["id"])
    assert (attempt["outcome"], attempt["bytes_sent"]) == ("Retry", False)
    await h.forward(2)
    assert [row["state"] for row in h.rows(t.effect, name="project")] == ["done"]
    assert projects(h) == 1


@pytest.mark.parametrize("put_s", [7200.0, -7200.0])
async def test_a_clock_that_is_put_while_a_request_is_under_way_sends_nothing_twice(
    h: Hall, put_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    performer = h.hub.dispatcher._performer
    ticks: list[int] = []
    send = performer._send

    async def meanwhile(*args: Any) -> Any:
        answer = await send(*args)
        if not ticks:
            ticks.append(projects(h))
            h.clock.put_s += put_s
            await h.hub.dispatcher.tick()  # its deadline seems to be over, or far away
        return answer

    monkeypatch.setattr(performer, "_send", meanwhile)
    project = await win(h)
    for _ in range(4):
        await h.forward(1)

    assert ticks == [1]
    assert [row["state"] for row in h.rows(t.effect, id=project["id"])] == ["done"]
    assert projects(h) == 1
    assert h.rows(t.finding, kind="double") == []


# --- what nobody has in hand any more -------------------------------------------------------------------------------------


async def test_what_nobody_was_told_to_go_on_with_is_taken_up_with_the_next_round(h: Hall) -> None:
    await win(h)
    await h.forward(0)  # nothing is left in its hands
    first, second, *_ = h.rows(t.effect, name="checklist")
    before = len(h.vendors.made)
    empty = {"body": None, "not_before": None, "record_id": None}
    with h.hub.engine.begin() as conn:
        of = update(t.effect).where
        conn.execute(of(t.effect.c.id == first["id"]).values(state="ready", reason=None, **empty))
        conn.execute(of(t.effect.c.id == second["id"]).values(state="held", reason="needs", **empty))

    h.hub.dispatcher._next_round = 0.0  # a minute later
    await h.hub.dispatcher.tick()
    await h.hub.settled()

    assert {row["state"] for row in h.rows(t.effect, name="checklist")} == {"done"}
    assert len(h.vendors.made) == before + 2


async def test_a_busy_database_while_an_effect_is_put_aside_loses_it_not(h: Hall) -> None:
    failing_store(h, h.hub.dispatcher._performer._claims, KeyError("lines"))
    store: Any = h.hub.store
    run, left = store.run, [True]

    async def busy(asked: Any, item: Any) -> Any:
        if asked is park and left:
            left.clear()
            raise StoreBusy("database is locked")
        return await run(asked, item)

    store.run = busy
    project = await win(h)
    assert project["state"] == "ready"

    await h.forward(0)

    assert [row["state"] for row in h.rows(t.effect, name="project")] == ["done"]


async def test_what_was_refused_with_old_credentials_goes_on_with_the_new_ones(h: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    performer = h.hub.dispatcher._performer
    send, refused = performer._send, [True]

    async def refused_once(*args: Any) -> Any:
        if not refused:
            return await send(*args)
        refused.clear()
        with h.hub.engine.begin() as conn:  # new ones were entered, and taken over, while this was on its way
            conn.execute(update(t.connection).values(active_since=h.clock.now() + timedelta(seconds=1)))
        return Answer(None, bytes_sent=True, detail="status 401")

    monkeypatch.setattr(performer, "_send", refused_once)
    await win(h)
    await h.forward(1)

    assert [row["state"] for row in h.rows(t.effect, name="project")] == ["done"]
    assert {row["state"] for row in h.rows(t.connection)} == {"active"}


async def test_waiting_for_the_turn_that_a_rate_leaves_is_no_attempt(h: Hall) -> None:
    target = await h.hub.target("con_asana")
    for _ in range(max(rate.limit for rate in target.rates)):  # all that this minute allows
        await h.hub.client._rates.wait(target.connection, target.grant, target.rates, h.clock.monotonic() + 1e9)
    project = await win(h)
    assert (project["state"], project["reason"]) == ("ready", "spared")
    assert (project["attempts"], project["first_failed_at"]) == (0, None)
    assert "leaves no room" in project["detail"]
    assert projects(h) == 0

    await h.forward(61)
    assert [row["state"] for row in h.rows(t.effect, name="project")] == ["done"]
