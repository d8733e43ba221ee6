"""A hub that may not act for a while forgets nothing: what it had not begun then is done once it may again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, insert, update

from lifecyclehub.admin.presence import ASLEEP, AWAKE
from lifecyclehub.admin.stored import changed
from lifecyclehub.dispatch.perform import Flow
from lifecyclehub.dispatch.upkeep import expire
from lifecyclehub.intake.lanes import Lanes, RecordKey
from lifecyclehub.intake.split import split
from lifecyclehub.store import tables as t
from lifecyclehub.store.things import Row
from lifecyclehub.store.writer import StoreBusy
from tests.support.bad_input import Hall, a_deal, hall

pytestmark = pytest.mark.anyio


@pytest.fixture
async def h(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


def full(flow: Flow) -> asyncio.Semaphore:
    """Let nothing begin before room is given."""
    flow._gate = asyncio.Semaphore(0)
    return flow._gate


async def sleeps_and_wakes(h: Hall, gate: asyncio.Semaphore) -> None:
    """Let the hub fall asleep while something waits for room, and wake again."""
    h.hub._allow(ASLEEP)
    for _ in range(100):
        gate.release()
    await h.hub.settled()
    h.hub._allow(AWAKE)
    await h.hub._take_over()
    await h.hub.settled()
    await h.forward(0)


async def fall_asleep(h: Hall) -> None:
    """Let another home be the one that may act."""
    with h.hub.engine.begin() as conn:
        conn.execute(delete(t.host))
        changed(conn)
    await h.hub.look_for_changes()


async def won(h: Hall, record_id: str = "55") -> None:
    h.vendors.deals[record_id] = a_deal(record_id, stage="closedwon")
    assert (await h.knock("hubspot", h.deal_changed(record_id))).is_success


async def test_a_delivery_that_was_not_begun_takes_no_room_for_ever(h: Hall) -> None:
    gate = full(h.hub.intake.flow)
    await won(h)
    assert h.hub.intake.backlog == 1

    await sleeps_and_wakes(h, gate)

    assert h.hub.intake.backlog == 0
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"]
    await asyncio.wait_for(h.hub.intake.room("con_hubspot"), 5)


async def test_an_effect_that_was_not_begun_is_sent_later(h: Hall) -> None:
    await h.switch_on()
    gate = full(h.hub.dispatcher.flow)
    await won(h)
    await h.hub.intake.flow.drained()
    assert not h.vendors.made

    await sleeps_and_wakes(h, gate)

    assert h.vendors.made
    assert {row["state"] for row in h.rows(t.effect, name="project")} == {"done"}


async def test_records_that_were_not_begun_are_looked_at_later() -> None:
    seen: list[str] = []

    async def look(key: RecordKey, _: Sequence[Row]) -> None:
        seen.append(key[2])

    def notice(record: str) -> dict[str, Any]:
        return {"id": f"ntc_{record}", "connection": "con_1", "kind": "crm.deal", "record_id": record}

    flow = Flow()
    lanes = Lanes(flow, look)
    lanes.take(notice(str(n)) for n in range(500))
    flow.stopping = True
    await flow.drained()
    assert (seen, len(lanes), lanes.count("con_1"), lanes.stranded) == ([], 0, 0, True)

    flow.stopping = False
    lanes.take(notice(str(n)) for n in range(500))
    await flow.drained()
    assert len(seen) == 500


async def test_what_a_hub_had_in_hand_is_anybodys_once_it_may_not_act(h: Hall) -> None:
    h.vendors.answers["hubspot"] = lambda _: httpx.Response(503)
    await won(h)
    await h.hub.settled()
    assert [(row["state"], row["holder"]) for row in h.rows(t.notice)] == [("open", h.hub.tools.holder)]

    await fall_asleep(h)

    assert [(row["state"], row["holder"]) for row in h.rows(t.notice)] == [("open", None)]


async def test_what_is_just_being_split_when_a_hub_falls_asleep_is_anybodys_too(h: Hall) -> None:
    run = h.hub.store.run

    async def late(operation: Any, item: Any) -> Any:
        if operation is split and h.hub.may > ASLEEP:
            await fall_asleep(h)
        return await run(operation, item)

    h.hub.store.run = late  # type: ignore[method-assign]
    await won(h)
    await h.hub.settled()
    assert h.hub.may == ASLEEP

    await h.hub.be_present()

    assert [(row["state"], row["holder"]) for row in h.rows(t.notice)] == [("open", None)]


async def test_a_busy_store_while_a_hub_wakes_leaves_nothing_in_flight_for_ever(h: Hall) -> None:
    await h.switch_on()
    await won(h)
    await h.hub.settled()
    (project,) = h.rows(t.effect, name="project")
    (host,) = h.rows(t.host)
    await fall_asleep(h)
    with h.hub.engine.begin() as conn:
        conn.execute(update(t.effect).where(t.effect.c.id == project["id"]).values(state="in flight", holder="hub_dead"))
        conn.execute(insert(t.host).values(**host))
        changed(conn)
    run, busy = h.hub.store.run, [expire]

    async def sometimes(operation: Any, item: Any) -> Any:
        if operation in busy:
            busy.remove(operation)
            raise StoreBusy("the disk is full")
        return await run(operation, item)

    h.hub.store.run = sometimes  # type: ignore[method-assign]
    with pytest.raises(StoreBusy):
        await h.hub.look_for_changes()
    await h.hub.look_for_changes()
    await h.hub.settled()

    assert [row["state"] for row in h.rows(t.effect, id=project["id"])] != ["in flight"]
