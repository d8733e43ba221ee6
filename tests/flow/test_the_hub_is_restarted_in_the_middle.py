"""The hub ends in the middle of everything, in good order or not; the next one ends with the same proof."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World, world

pytestmark = pytest.mark.anyio

ENDINGS = ["stopped", "abandoned"]


async def again(w: World, ending: str) -> None:
    await (w.stop_hub() if ending == "stopped" else w.abandon_hub())
    await w.start_hub()


def proof(w: World, clients: int) -> None:
    assert len(w.made("asana", "project")) == clients
    assert len(w.made("asana", "task")) == 4 * clients
    assert len(w.notes()) == clients
    assert {row["state"] for row in w.rows(t.effect)} == {"done"}
    assert {row["state"] for row in w.rows(t.notice)} <= {"processed", "ignored"}
    assert w.rows(t.finding) == []


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_hub_that_ends_at_any_moment_leaves_nothing_undone_and_nothing_twice(w: World, ending: str) -> None:
    chance = random.Random(11)
    for number in range(5):
        await w.win(title=f"Job {number}", domain=f"{number}-{w.domain}", contact_email=f"ada@{number}-{w.domain}")
        enough = w.hub.store.counts.operations + chance.randrange(50)
        await w.until(lambda: w.hub.store.counts.operations >= enough or w.at_rest())  # noqa: B023
        await again(w, ending)
    await w.quiet()
    proof(w, 5)


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_hub_that_ends_while_a_project_is_being_made_makes_no_second_one(w: World, ending: str) -> None:
    await w.misbehave("asana", faults=[{"do": "slow", "path": "/projects$", "seconds": 0.4}])
    await w.win()
    await w.until(lambda: w.effects().get("project") == ["in flight"])
    await again(w, ending)
    await w.quiet()
    proof(w, 1)


async def test_a_hub_abandoned_while_a_template_is_unfolding_asks_about_that_job_and_makes_no_second_project(w: World) -> None:
    template = (await w.act("asana", "add_template", name="Website", tasks=[]))["id"]
    tool = w.tools["asana"]
    await w.set_connection("asana", {"project_template": template})
    delay, tool.job_delay_s = tool.job_delay_s, 0.5
    try:
        await w.win()
        await w.until(lambda: [row for row in w.rows(t.effect, name="project") if row["handle"]])
        await w.abandon_hub()
        await w.start_hub()
        await w.quiet()
    finally:
        tool.job_delay_s = delay
        await w.set_connection("asana", {"project_template": ""})
    assert len(w.made("asana", "project")) == 1
    (effect,) = w.rows(t.effect, name="project")
    assert {row["what"] for row in w.rows(t.attempt, effect=effect["id"])} == {"sent", "checked"}
    assert len(w.history("asana", "queued")) == 1


async def test_a_second_hub_on_the_same_embedded_home_is_refused(tmp_path: Path) -> None:
    from lifecyclehub.errors import ConfigurationError
    from lifecyclehub.hub import Hub

    async with world(tmp_path) as w:
        second = Hub(w.settings, registry=w.registry)
        with pytest.raises(ConfigurationError, match="another hub is running"):
            await second.start()
        await second.stop()
