"""Several workers on one PostgreSQL: whoever comes second sees what the first one did, and looks again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.made import Made
from lifecyclehub.dispatch.plan import Planner
from lifecyclehub.dispatch.prepared import Claim, Prepared, Receipt
from lifecyclehub.dispatch.receipt import WriteReceipts
from lifecyclehub.dispatch.upkeep import Advance
from lifecyclehub.errors import LostRace
from lifecyclehub.store import tables as t
from tests.support.effects import DONE, claim, effect, in_flight, put, ready_project
from tests.support.moves import not_allowed, watch_moves
from tests.support.reach import Middle
from tests.support.story import Story


@pytest.fixture
def story(tmp_path: Path, postgres_url: str) -> Iterator[Story]:
    """A home on PostgreSQL, with its moves watched."""
    told = Story(tmp_path, postgres_url)
    watch_moves(told.engine)
    yield told
    assert not_allowed(told.engine) == []
    told.close()


def first_time(monkeypatch: pytest.MonkeyPatch, owner: type, meanwhile: Any) -> None:
    """Let another worker do something just before one writes for the first time."""
    usual: Any = owner.write  # type: ignore[attr-defined]
    left = [True]

    def write(self: Any) -> None:
        if left:
            left.clear()
            meanwhile()
        usual(self)

    monkeypatch.setattr(owner, "write", write)


def test_what_is_claimed_meanwhile_is_not_put_back_by_one_who_saw_it_ready(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = ready_project(story)
    first_time(monkeypatch, Planner, lambda: claim(story, prepared))
    with story.engine.begin() as conn:
        conn.execute(update(t.connection).values(state="paused", reason="a test"))

    with pytest.raises(LostRace), story.engine.begin() as conn:
        Advance(story.rules, story.ids, story.clock)(conn, [prepared.effect])

    assert effect(story, prepared)["state"] == "in flight"
    with story.engine.begin() as conn:
        assert Advance(story.rules, story.ids, story.clock)(conn, [prepared.effect]) == [[]]
    assert effect(story, prepared)["state"] == "in flight"


def claims(story: Story, conn: Any, prepared: Prepared) -> str:
    action: Any = story.rules.action(prepared.connector, prepared.action)
    request = action.render(action.input.model_validate(prepared.input), prepared.body, prepared.key)
    one = Claim(prepared=prepared, request=request, holder="hub", sending_s=30)
    return TakeClaims(story.ids, story.clock)(conn, [one])[0].verdict


def test_two_workers_never_send_to_one_record_at_the_same_time(story: Story) -> None:
    project = ready_project(story)
    woken = story.answer(project, DONE)
    with story.engine.begin() as conn:
        found = [one for ready in Advance(story.rules, story.ids, story.clock)(conn, woken) for one in ready]
    earlier, later, *_ = sorted((one for one in found if one.action == "create_task"), key=lambda one: one.effect)
    for one in found:
        if one not in (earlier, later):
            put(story, one, state="parked")
    put(story, earlier, state="held")

    began = threading.Event()

    def second() -> str:
        with story.engine.begin() as conn:
            began.set()
            return claims(story, conn, earlier)

    with ThreadPoolExecutor(1) as worker:
        with story.engine.begin() as first:
            assert claims(story, first, later) == "go"
            put(story, earlier, state="ready")  # its turn would come first, had it not come late
            answer = worker.submit(second)
            assert began.wait(10)
            with pytest.raises(TimeoutError):
                answer.result(0.3)
        assert answer.result(10) == "wait"


def receive(story: Story, prepared: Prepared) -> None:
    facts: dict[str, Any] = {"what": "sent", "revision": 1, "began_at": story.clock.now(), "bytes_sent": True, "epoch": 1}
    with story.engine.begin() as conn:
        WriteReceipts(story.rules, story.ids, story.clock, Middle())(
            conn, [Receipt(effect=prepared.effect, outcome=DONE, **facts)]
        )


def test_a_record_that_another_worker_links_meanwhile_is_not_taken_from_its_thing(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = in_flight(story)
    (client,) = story.rows(t.client)
    row = {"connection": "con_asana", "kind": "asana.project", "record_id": "555", "thing_kind": "client", "thing": client["id"]}

    def links_it() -> None:
        with story.engine.begin() as conn:
            conn.execute(t.link.insert(), [row])

    first_time(monkeypatch, Made, links_it)

    with pytest.raises(LostRace):
        receive(story, prepared)
    assert (effect(story, prepared)["state"], story.rows(t.attempt)) == ("in flight", [])

    receive(story, prepared)
    assert (effect(story, prepared)["state"], effect(story, prepared)["reason"]) == ("parked", "linked elsewhere")
    assert [one["thing"] for one in story.rows(t.link, record_id="555")] == [client["id"]]
