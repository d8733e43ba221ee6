"""Whatever happens to one record, its notices end where a person sees them, or stay open and are taken up again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from lifecyclehub.admin.connections import pause_connection, resume_connection
from lifecyclehub.dispatch.perform import Flow
from lifecyclehub.errors import Forbidden, LostRace, RecordGone, Unsupported
from lifecyclehub.intake import work
from lifecyclehub.store import tables as t
from lifecyclehub.store.writer import StoreBusy
from tests.support.bad_input import Hall, a_deal, hall

pytestmark = pytest.mark.anyio


@pytest.fixture
async def h(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


def failing_store(h: Hall, operation: Any, error: BaseException, times: int = 1) -> None:
    """Let an operation fail so many times."""
    run, left = h.hub.store.run, [times]

    async def sometimes(asked: Any, item: Any) -> Any:
        if asked is operation and left[0]:
            left[0] -= 1
            raise error
        return await run(asked, item)

    h.hub.store.run = sometimes  # type: ignore[method-assign]


async def change(h: Hall, record_id: str = "55") -> list[dict[str, Any]]:
    h.vendors.deals[record_id] = a_deal(record_id)
    assert (await h.knock("hubspot", h.deal_changed(record_id))).is_success
    await h.hub.settled()
    return h.rows(t.notice, record_id=record_id)


@pytest.mark.parametrize(
    "error", [KeyError("stage"), TypeError("no"), AssertionError("cannot be"), ZeroDivisionError("by zero")], ids=repr
)
async def test_an_error_that_nobody_expected_parks_the_notice_with_its_name_and_words(h: Hall, error: Exception) -> None:
    failing_store(h, h.hub.intake._settle, error)

    (notice,) = await change(h)

    assert (notice["state"], notice["reason"]) == ("parked", "error")
    assert notice["detail"] == f"{type(error).__name__}: {error}"
    await h.good()


async def test_a_busy_database_parks_nothing_and_the_notice_is_taken_up_again(h: Hall) -> None:
    failing_store(h, h.hub.intake._settle, StoreBusy("database or disk is full"))

    (notice,) = await change(h)
    assert (notice["state"], notice["attempts"]) == ("open", 0)

    await h.forward(0)
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"]


async def test_a_database_that_is_still_busy_when_the_failure_is_noted_loses_nothing(h: Hall) -> None:
    failing_store(h, h.hub.intake._settle, KeyError("stage"))
    failing_store(h, work.fail, StoreBusy("database or disk is full"))

    (notice,) = await change(h)
    assert notice["state"] == "open"

    await h.forward(0)
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"]


async def test_a_delivery_that_could_not_be_split_for_a_busy_database_is_split_by_the_tick(h: Hall) -> None:
    failing_store(h, work.split, StoreBusy("database is locked"))
    assert await change(h) == []
    assert h.delivery()["state"] == "open"

    await h.forward(0)
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"]


async def test_a_delivery_that_the_database_refuses_is_parked_and_does_not_come_again(h: Hall) -> None:
    failing_store(h, work.split, ValueError("no time zone"))
    assert await change(h) == []

    delivery = h.delivery()
    assert (delivery["state"], delivery["reason"]) == ("parked", "cannot be kept: ValueError: no time zone")
    await h.good()


async def test_who_lost_every_race_is_tried_again_and_no_persons_question(h: Hall) -> None:
    failing_store(h, h.hub.intake._settle, LostRace("another worker was quicker each time"))
    (notice,) = await change(h)
    assert (notice["state"], notice["reason"]) == ("open", "retry")
    await h.forward(2)
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"]


async def test_what_was_parked_is_no_question_any_more_once_its_record_was_taken_in(h: Hall) -> None:
    async def hidden(*_: Any) -> Any:
        raise Forbidden("no right to see it")

    fetch = h.hub.intake._fetch
    h.hub.intake._fetch = hidden  # type: ignore[method-assign]
    await change(h)
    h.clock.ahead_s += 1
    await h.hub.close_answered()
    assert [(row["state"], row["reason"]) for row in h.rows(t.notice, record_id="55")] == [("parked", "forbidden")]

    h.hub.intake._fetch = fetch  # type: ignore[method-assign]
    await change(h)
    await h.hub.close_answered()
    assert [(row["state"], row["reason"]) for row in h.rows(t.notice, record_id="55")] == [
        ("processed", "seen since"),
        ("processed", None),
    ]

    h.clock.ahead_s += 1
    h.hub.intake._fetch = hidden  # type: ignore[method-assign]
    await change(h)
    await h.hub.close_answered()
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed", "processed", "parked"]


async def test_what_a_tool_cannot_show_at_all_is_told_at_once_and_not_asked_for_days(h: Hall) -> None:
    async def cannot(*_: Any) -> Any:
        raise Unsupported("this plan shows no deals")

    h.hub.intake._fetch = cannot  # type: ignore[method-assign]
    (notice,) = await change(h)
    assert (notice["state"], notice["reason"], notice["detail"]) == ("parked", "unsupported", "this plan shows no deals")


async def test_a_look_serves_the_notices_read_before_it_began_and_never_later_ones(h: Hall) -> None:
    h.vendors.deals["55"] = a_deal("55")
    looking, go, looks = asyncio.Event(), asyncio.Event(), []
    fetch = h.hub.intake._fetch

    async def slowly(*asked: Any) -> Any:
        looks.append(asked)
        looking.set()
        await go.wait()
        return await fetch(*asked)

    h.hub.intake._fetch = slowly  # type: ignore[method-assign]
    await h.knock("hubspot", h.deal_changed("55"))
    await looking.wait()
    for _ in range(4):
        await h.knock("hubspot", h.deal_changed("55"))
    while len(h.rows(t.notice, record_id="55")) < 5:  # noqa: ASYNC110 (they are split beside this)
        await asyncio.sleep(0)
    assert len(looks) == 1, "one at a time per record"
    go.set()
    await h.hub.settled()

    assert len(looks) == 2, "four notices came while the first look was under way: one more serves them all"
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"] * 5


async def test_a_tool_whose_connection_a_person_paused_is_not_even_asked_for_what_was_to_be_tried_again(h: Hall) -> None:
    asked: list[httpx.Request] = []

    def down(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503)

    h.vendors.answers["hubspot"] = down
    (notice,) = await change(h)
    assert (notice["state"], notice["reason"]) == ("open", "retry")
    (connection,) = h.rows(t.connection, connector="hubspot")
    await pause_connection(h.hub, connection)
    await h.hub.look_for_changes()
    asked.clear()

    await h.forward(600)
    (notice,) = h.rows(t.notice, record_id="55")
    assert (notice["state"], notice["reason"], notice["attempts"]) == ("held", "connection", 1)
    assert not asked

    del h.vendors.answers["hubspot"]
    assert await resume_connection(h.hub, connection) == 1
    await h.hub.look_for_changes()
    await h.forward(0)
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"]


async def test_what_was_held_just_after_its_connection_was_released_is_opened_all_the_same(h: Hall) -> None:
    (notice,) = await change(h)
    with h.hub.engine.begin() as conn:  # as another writer commits it that met the old directory
        conn.execute(update(t.notice).where(t.notice.c.id == notice["id"]).values(state="held", reason="connection"))

    await h.hub.timers._scheduler.get_job("held").func()
    await h.forward(0)

    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"]


async def test_what_does_not_fit_into_memory_is_read_from_the_store_later(h: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "BACKLOG", 0)
    assert await change(h) == []
    assert h.delivery()["state"] == "open"
    monkeypatch.undo()

    await h.forward(0)
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"]


async def test_work_that_ends_in_an_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def bad() -> None:
        raise LookupError("nobody waits for this")

    flow = Flow()
    with caplog.at_level(logging.ERROR):
        flow.start(bad())
        await flow.drained()

    assert flow.busy == 0
    assert "nobody waits for this" in caplog.text


async def test_what_has_not_begun_when_the_hub_stops_is_left_in_the_store() -> None:
    ran: list[int] = []

    async def one(n: int) -> None:
        ran.append(n)
        flow.stopping = True

    flow = Flow(limit=1)
    for n in range(3):
        flow.start(one(n))
    await flow.drained()

    assert ran == [0]


@pytest.mark.parametrize("there", [True, False])
async def test_a_look_is_known_with_its_beginning_and_its_end(h: Hall, there: bool) -> None:
    fetch = h.hub.intake._fetch

    async def slowly(*asked: Any) -> Any:
        h.clock.ahead_s += 3
        if not there:
            raise RecordGone("deleted")
        return await fetch(*asked)

    h.hub.intake._fetch = slowly  # type: ignore[method-assign]
    await change(h)

    looks = [row["answered_at"] - row["fetched_at"] for row in h.rows(t.link)]
    assert looks
    assert all(3.0 <= look.total_seconds() < 60 for look in looks)
