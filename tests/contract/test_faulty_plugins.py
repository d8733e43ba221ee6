"""A connector that raises, hangs, gives nonsense or was made for another contract harms itself alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.connector import (
    CONTRACT_VERSION,
)
from lifecyclehub.hub import Workings
from lifecyclehub.registry.runner import PluginRunner
from tests.support.contract_world import contract_world
from tests.support.faulty import FAULTS, Both, Shaky, Sound, Tool, installed, raising
from tests.support.workbench import WON_DEAL_STARTS_PROJECT

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    FAULTS.clear()
    yield
    FAULTS.clear()


RAISED = [ValueError("no such thing"), SystemExit(3), RecursionError()]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_reader_that_raises_parks_its_delivery_and_the_other_tool_goes_on(tmp_path: Path, error: BaseException) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        both = await Both(world).set_up(acting="sound")
        FAULTS["read"] = raising(error)
        assert await both.ring("shaky", "d1") == 200
        assert await both.ring("sound", "d2") == 200
        await world.quiet()
        parked = world.rows("SELECT connector, reason FROM delivery WHERE state = 'parked'")
        assert [(row["connector"], type(error).__name__ in row["reason"]) for row in parked] == [("shaky", True)]
        assert [act["name"][:11] for act in both.sound.acts] == ["d2 of sound"]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_fetch_that_raises_parks_its_notice_and_the_next_one_is_taken(tmp_path: Path, error: BaseException) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        both = await Both(world).set_up(acting="sound")
        FAULTS["fetch"] = raising(error)
        await both.ring("shaky", "d1")
        await both.ring("sound", "d2")
        await world.quiet()
        assert sorted(world.notices()) == [("d1", "parked", "error"), ("d2", "processed", None)]
        FAULTS.clear()
        await both.ring("shaky", "d3")
        await world.quiet()
        assert [act["name"][:11] for act in both.sound.acts] == ["d2 of sound", "d3 of shaky"]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_rendering_that_raises_parks_the_effect_before_anything_is_sent(tmp_path: Path, error: BaseException) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        both = await Both(world).set_up(acting="shaky")
        FAULTS["render"] = raising(error)
        await both.ring("sound", "d1")
        await world.quiet()
        effect = world.rows("SELECT state, reason, detail FROM effect")[0]
        assert (effect["state"], effect["reason"]) == ("parked", "plugin")
        assert type(error).__name__ in effect["detail"]
        assert both.shaky.acts == []


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_judgement_that_raises_leaves_doubt_and_the_marker_clears_it(tmp_path: Path, error: BaseException) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        both = await Both(world).set_up(acting="shaky")
        FAULTS["judge"] = raising(error)
        await both.ring("sound", "d1")
        await world.quiet()
        assert world.effects() == [("project", "in doubt")]
        await world.pass_time(5, times=3)
        assert world.effects() == [("project", "done")]
        assert len(both.shaky.acts) == 1


class Nonsense:
    """Nothing that the contract knows."""


@pytest.mark.parametrize("where", ["read", "fetch", "render", "judge"])
async def test_nonsense_from_a_plugin_is_never_taken_for_an_answer(tmp_path: Path, where: str) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        both = await Both(world).set_up(acting="shaky")
        FAULTS[where] = Nonsense
        await both.ring("shaky", "d1")
        await world.quiet()
        await world.pass_time(20, times=3)
        assert len(both.shaky.acts) == (1 if where == "judge" else 0)
        states = {row["state"] for row in world.rows("SELECT state FROM effect")}
        assert states == {"read": set(), "fetch": set(), "render": {"parked"}, "judge": {"done"}}[where]
        assert world.rows("SELECT name FROM connection WHERE state <> 'active'") == []


@pytest.mark.parametrize("answer", [None, Nonsense()], ids=["nothing", "nonsense"])
async def test_a_judgement_that_is_no_outcome_leaves_doubt_and_pauses_nothing(tmp_path: Path, answer: Any) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        both = await Both(world).set_up(acting="shaky")
        FAULTS["judge"] = lambda: answer
        await both.ring("sound", "d1")
        await world.quiet()
        assert world.effects() == [("project", "in doubt")]
        assert world.rows("SELECT name FROM connection WHERE state <> 'active'") == []
        await world.pass_time(5, times=3)
        assert world.effects() == [("project", "done")]
        assert len(both.shaky.acts) == 1


@pytest.mark.parametrize("answer", [None, Nonsense()], ids=["nothing", "nonsense"])
async def test_a_look_up_that_gives_no_sighting_proves_no_absence(tmp_path: Path, answer: Any) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        both = await Both(world).set_up(acting="shaky")
        FAULTS["find"] = lambda: answer
        both.shaky.losing = 1
        await both.ring("sound", "d1")
        await world.quiet()
        await world.pass_time(30, times=5)
        assert world.effects() == [("project", "in doubt")]
        assert world.rows("SELECT name FROM connection WHERE state <> 'active'") == []
        FAULTS.clear()
        await world.pass_time(600, times=3)
        assert world.effects() == [("project", "done")]
        assert len(both.shaky.acts) == 1


# --- hanging ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Let the watchdog bark soon; gives a fault that hangs until the test is over."""
    monkeypatch.setattr("lifecyclehub.hub.Workings", partial(Workings, runner=partial(PluginRunner, hang_after_s=0.3)))
    over = threading.Event()
    yield lambda: over.wait() and None
    over.set()


@pytest.mark.parametrize("where", ["read", "render", "judge"])
async def test_a_plugin_that_hangs_holds_its_own_work_until_a_restart_and_the_other_tool_goes_on(
    tmp_path: Path, where: str, impatient: Callable[[], Any]
) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        both = await Both(world).set_up(acting="shaky")
        FAULTS[where] = impatient
        assert await both.ring("shaky", "d1") == 200
        assert await both.ring("sound", "d2") == 200
        await world.quiet()
        assert world.hub.runner.hanging == {"shaky"}
        await world.pass_time(1)
        assert {one for one in world.notices() if one[0] == "d2"} == {("d2", "processed", None)}
        if where != "judge":  # after a sending, a look-up may clear the doubt already
            assert both.shaky.acts == []
        FAULTS.clear()
        await world.restart()
        await world.quiet()
        await world.pass_time(20, times=3)
        assert world.effects() == [("project", "done"), ("project", "done")]
        assert sorted(act["name"][:11] for act in both.shaky.acts) == ["d1 of shaky", "d2 of sound"]


async def test_a_fetch_without_end_is_cut_and_tried_again(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        both = await Both(world).set_up(acting="sound")
        with world.hub.engine.begin() as conn:
            conn.exec_driver_sql("UPDATE connection SET settings = '{\"total_s\": \"0.5\"}' WHERE name = 'shaky'")
        await world.hub.reconfigure()
        FAULTS["endless fetch"] = lambda: None
        await both.ring("shaky", "d1")
        await both.ring("sound", "d2")
        await world.quiet()
        assert sorted(world.notices()) == [("d1", "open", "retry"), ("d2", "processed", None)]
        FAULTS.clear()
        await world.pass_time(5)
        assert [act["name"][:11] for act in both.sound.acts] == ["d2 of sound", "d1 of shaky"]


# --- refused at the start -----------------------------------------------------------------------------------------------


async def test_plugins_that_cannot_be_used_are_refused_by_name_and_the_good_one_works(tmp_path: Path) -> None:
    registry = installed("broken", "future", "missing", "sound")
    assert sorted(registry.connectors) == ["sound"]
    reasons = {one.name: f"{one.reason} {one.mend}" for one in registry.refused}
    assert set(reasons) == {"broken", "future", "missing"}
    assert f"version {CONTRACT_VERSION + 1} of the contract; this hub speaks version {CONTRACT_VERSION}" in reasons["future"]
    assert "SystemExit" in reasons["broken"]
    async with contract_world(tmp_path, handoffs=WON_DEAL_STARTS_PROJECT, registry=registry) as world:
        tool = Tool(world, "sound")
        url = await world.open(await world.connect("sound"), secret="secret-of-sound")
        await world.switch_on("won-deal-starts-project")
        world.clock.at += 10
        await world.ring(url, {"deals": ["d1"]})
        await world.quiet()
        assert len(tool.acts) == 1


async def test_a_connector_that_is_refused_after_an_upgrade_loses_nothing_that_comes_meanwhile(tmp_path: Path) -> None:
    async with contract_world(tmp_path, handoffs=WON_DEAL_STARTS_PROJECT, registry=installed("sound", "shaky")) as world:
        both = await Both(world).set_up(acting="shaky")
        FAULTS["endless fetch"] = lambda: None
        assert await both.ring("shaky", "d0") == 200
        assert await both.ring("shaky", "d3") == 200
        await world.kill()
        FAULTS.clear()
        world.registry = installed("sound")
        await world.rise()
        assert await both.ring("sound", "d1") == 200
        await world.quiet()
        assert await both.ring("shaky", "d2") == 503  # the vendor keeps it and calls again
        await world.pass_time(60)
        assert world.rows("SELECT id FROM delivery WHERE state = 'parked'") == []
        assert {state for _, state, _ in world.notices()} <= {"open", "processed"}
        assert world.effects() == [("project", "held")]
        world.registry = installed("sound", "shaky")
        await world.restart()
        assert await both.ring("shaky", "d2") == 200
        await world.quiet()
        await world.pass_time(60)
        wanted = ["d0 of shaky", "d1 of sound", "d2 of shaky", "d3 of shaky"]
        assert sorted(act["name"][:11] for act in both.shaky.acts) == wanted
