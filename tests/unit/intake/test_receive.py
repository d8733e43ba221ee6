"""Steps 1 to 3: nobody hears 2xx before the delivery is committed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from lifecyclehub.connector import Door, Signature
from lifecyclehub.intake.directory import Directory, Entrance
from lifecyclehub.intake.keep import Arrival, keep
from lifecyclehub.intake.receive import Incoming, Reception
from lifecyclehub.ports import Ids, SystemClock, SystemRandomness
from lifecyclehub.signatures import Secret
from lifecyclehub.store.writer import StoreBusy

pytestmark = pytest.mark.anyio

DOOR = Door(name="door", signature=Signature(header="X-Token", algorithm="token"), scope="connection", setup="by_hand")
ENTRANCE = Entrance("end_1", "tool", DOOR, "con_1", None, (Secret("sec_1", b"open sesame"),))
INCOMING = Incoming(
    endpoint="end_1",
    method="POST",
    url="http://hub.example/hooks/end_1",
    headers={"x-token": "open sesame", "content-type": "application/json"},
    body=b"[]",
)


class SlowStore:
    """Commits when it is told to, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.commit = asyncio.Event()
        self.asked: list[Any] = []
        self.was_asked = asyncio.Event()
        self.error = error

    async def run(self, operation: Any, item: Any) -> None:
        assert operation is keep
        self.asked.append(item)
        self.was_asked.set()
        await self.commit.wait()
        if self.error is not None:
            raise self.error


def reception(store: Any, kept: list[Arrival]) -> Reception:
    directory = Directory({}, {"end_1": ENTRANCE}, 0)

    async def reread() -> Directory:
        return directory

    clock = SystemClock()
    return Reception(
        store=store,
        clock=clock,
        ids=Ids(clock, SystemRandomness()),
        vault=None,  # type: ignore[arg-type] # only handshakes seal anything
        directory=lambda: directory,
        reread=reread,
        kept=kept.append,
    )


async def test_a_delivery_is_answered_only_after_its_commit() -> None:
    store, kept = SlowStore(), []
    answering = asyncio.ensure_future(reception(store, kept).receive(INCOMING))
    await store.was_asked.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not answering.done()
    assert kept == []
    store.commit.set()
    answer = await answering
    assert answer.status == 200
    assert [one.id for one in kept] == [store.asked[0].id]
    assert kept[0].received_at <= datetime.now(UTC)


async def test_a_delivery_that_could_not_be_kept_is_not_answered_as_if_it_were() -> None:
    store, kept = SlowStore(StoreBusy("the disk is full")), []
    store.commit.set()
    with pytest.raises(StoreBusy):
        await reception(store, kept).receive(INCOMING)
    assert kept == []
