"""A tool answers 429, or nothing at all for a while: its wish is obeyed, and everything arrives afterwards."""

from __future__ import annotations

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def fails(w: World, connection: str) -> None:
    breakers = w.hub.client.breakers
    breakers._states.pop(connection, None)  # what other stories' calls came to
    for _ in range(10):
        await breakers.note(connection, "status 503")


async def test_a_tool_that_asks_to_wait_is_not_called_again_before_that(w: World) -> None:
    await w.misbehave("asana", faults=[{"do": "rate_limit", "path": "/projects$", "seconds": 40}])
    await w.win()
    began = w.clock.now()
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    (effect,) = w.rows(t.effect, name="project")
    first, second = w.rows(t.attempt, effect=effect["id"])
    assert (first["outcome"], second["outcome"]) == ("Retry", "Done")
    assert "429" in first["detail"]
    assert (second["began_at"] - began).total_seconds() >= 40
    assert len(w.history("asana", "misbehaved")) == 1


async def test_a_tool_that_is_down_for_a_while_gets_everything_afterwards(w: World) -> None:
    faults = [{"do": "fail", "method": "*", "path": "/api/1.0", "times": 1000}]
    await w.misbehave("asana", faults=faults)
    for title in ("First job", "Second job"):
        await w.win(title=title)
    await w.until(lambda: len(w.history("asana", "misbehaved")) >= 2)
    assert w.made("asana", "project") == []
    await w.misbehave("asana", faults=[])
    await w.quiet(within_s=30)
    assert sorted(one["name"].partition(": ")[2] for one in w.made("asana", "project")) == ["First job", "Second job"]
    assert len(w.made("asana", "task")) == 8
    assert len(w.notes()) == 2
    assert {row["state"] for row in w.rows(t.effect)} == {"done"}


async def test_a_tool_that_cannot_be_read_keeps_its_notices_open_until_it_can(w: World) -> None:
    await w.misbehave("hubspot", faults=[{"do": "fail", "method": "GET", "path": "/objects/deals/", "times": 3}])
    await w.win()
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert {row["state"] for row in w.rows(t.notice, kind="hubspot.deal")} == {"processed"}


async def test_a_slow_tool_keeps_nobody_else_waiting(w: World) -> None:
    await w.misbehave("asana", faults=[{"do": "slow", "method": "POST", "path": "/projects$", "seconds": 1.5}])
    await w.win(title="Slow")
    await w.until(lambda: w.effects().get("project") == ["in flight"])
    await w.win(title="Quick")
    await w.until(lambda: sorted(w.effects()["project"]) == ["done", "in flight"])
    await w.quiet()
    assert len(w.made("asana", "project")) == 2


async def test_a_tool_that_fails_too_often_is_spared_which_uses_no_attempt_and_is_seen_by_all(w: World) -> None:
    await fails(w, "con_asana")
    (row,) = w.rows(t.breaker)
    assert (row["connection"], row["pause_s"]) == ("con_asana", 30)
    await w.win()
    await w.until(lambda: [one["reason"] for one in w.rows(t.effect, name="project")] == ["spared"])
    (effect,) = w.rows(t.effect, name="project")
    assert (effect["state"], effect["attempts"], effect["first_failed_at"]) == ("ready", 0, None)
    assert w.rows(t.attempt, effect=effect["id"]) == []
    assert abs(effect["not_before"] - row["open_until"]).total_seconds() < 1

    await w.quiet()
    assert len(w.made("asana", "project")) == 1
    assert w.rows(t.breaker) == []


async def test_a_record_of_a_tool_that_is_spared_is_looked_at_afterwards_and_no_attempt_is_used(w: World) -> None:
    await fails(w, "con_hubspot")
    await w.win()
    await w.until(lambda: [one for one in w.rows(t.notice, kind="hubspot.deal") if one["reason"] == "spared"])
    assert {one["attempts"] for one in w.rows(t.notice)} == {0}
    await w.quiet()
    assert len(w.made("asana", "project")) == 1
