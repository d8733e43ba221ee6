"""A connector that raises, hangs, gives nonsense or was made for another contract harms itself alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Action,
    Auth,
    Call,
    Connector,
    Door,
    Host,
    Kind,
    Marker,
    Signature,
    usual_judgement,
)
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.errors import RecordGone
from lifecyclehub.hookspecs import ENTRY_POINTS, hookimpl
from lifecyclehub.jsonio import loads
from lifecyclehub.messages import (
    Absent,
    Delivery,
    Document,
    Done,
    Found,
    Json,
    Key,
    Notice,
    Outcome,
    Ref,
    Reply,
    Request,
    Sighting,
)
from lifecyclehub.registry.registry import Registry
from lifecyclehub.registry.runner import PluginRunner
from tests.support.contract_world import ContractWorld, ThrowAway, Vendor, contract_world, said

pytestmark = pytest.mark.anyio

HANDOFF = """
format = 1
[[handoff]]
id = "won-deal-starts-project"
per = "deal"
when = "deal.status == 'won'"
at = "deal.won_at"
  [[handoff.effects]]
  name = "project"
  do = "project.create_project"
    [handoff.effects.with]
    name = { from = "deal.title", required = true }
"""
FAULTS: dict[str, Callable[[], Any]] = {}


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    FAULTS.clear()
    yield
    FAULTS.clear()


def fault(where: str) -> Any:
    """Do what the test wants to go wrong here, if anything; gives what the plugin is to give instead."""
    return FAULTS[where]() if where in FAULTS else None


class Make(Action[CreateProject]):
    name = "create_project"
    input = CreateProject
    once = Marker("name", lag_s=1)

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        return Request(method="POST", path="/projects", json={"name": f"{body['name']} {key.marker}"})

    def judge(self, reply: Reply, request: Request) -> Outcome:
        return usual_judgement(reply, creates=True) or Done(record_id=reply.json()["id"])

    async def find(self, call: Call, v: CreateProject, key: Key) -> Sighting:
        reply = await call.send(Request(method="GET", path="/projects"))
        found = tuple(Done(record_id=one["id"]) for one in reply.json()["rows"] if key.marker in one["name"])
        return Found(found) if found else Absent()


class SoundMake(Make):
    creates = "sound.project"


class ShakyMake(Make):
    creates = "shaky.project"

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        return fault("render") or super().render(v, body, key)

    def judge(self, reply: Reply, request: Request) -> Outcome:
        if "judge" in FAULTS:
            return fault("judge")
        return super().judge(reply, request)

    async def find(self, call: Call, v: CreateProject, key: Key) -> Sighting:
        if "find" in FAULTS:
            return fault("find")
        return await super().find(call, v, key)


def described(name: str, make: Action[Any], *, contract: int = CONTRACT_VERSION) -> About:
    return About(
        id=name,
        name=name.title(),
        contract=contract,
        roles=("crm", "project"),
        kinds=(Kind(id=f"{name}.deal", fills="deal"), Kind(id=f"{name}.project", fills="project")),
        doors=(Door(name="hook", signature=Signature(header="Signature"), scope="connection", setup="by_hand"),),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base=f"https://api.{name}.example"),),
        actions=(make,),
        server_timeout_s=5,
    )


def mapped(name: str) -> dict[str, str]:
    return {
        "deal.toml": f"""
            format = 1
            record = "{name}.deal"
            [fields]
            "deal.title"  = {{ from = "title", required = true }}
            "deal.status" = {{ from = "status", required = true }}
            "deal.won_at" = {{ from = "won_at", convert = "instant" }}
        """,
        "create_project.toml": """
            format = 1
            action = "create_project"
            [body]
            "name" = { from = "name", required = true }
        """,
    }


class Sound(ThrowAway):
    about = described("sound", SoundMake())
    mappings: ClassVar = mapped("sound")

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        return [Notice(kind=f"{self.about.id}.deal", record_id=one) for one in delivery.json["deals"]]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path=f"/deals/{ref.id}"))
        if reply.status == 404:
            raise RecordGone(ref.id)
        return Document(kind=ref.kind, id=ref.id, data=reply.json())


class Shaky(Sound):
    about = described("shaky", ShakyMake())
    mappings: ClassVar = mapped("shaky")

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        return fault("read") or super().read(delivery)

    async def fetch(self, call: Call, ref: Ref) -> Document:
        if "endless fetch" in FAULTS:
            await asyncio.Event().wait()
        return fault("fetch") or await super().fetch(call, ref)


class Tool(Vendor):
    """Both tools' truth; they differ only in their addresses."""

    def __init__(self, world: ContractWorld, name: str) -> None:
        self.host = f"api.{name}.example"  # type: ignore[misc]
        super().__init__(world.router)
        self.name, self.clock = name, world.clock
        self.on("GET", "/deals/(?P<deal>[a-z0-9]+)", self.show)
        self.on("GET", "/projects", lambda request: said({"rows": self.acts}))
        self.on("POST", "/projects", self.make)

    def show(self, request: httpx.Request, deal: str) -> httpx.Response:
        return said({"title": f"{deal} of {self.name}", "status": "won", "won_at": self.clock.now().isoformat()})

    async def make(self, request: httpx.Request) -> httpx.Response:
        made = {"id": f"p{len(self.acts) + 1}", **loads(request.content)}
        return await self.acted(made, 201, made)


class Both:
    """Two tools: the sound one plays the project role, then (`shaky_acts`) the shaky one does."""

    def __init__(self, world: ContractWorld) -> None:
        self.world = world
        self.sound, self.shaky = Tool(world, "sound"), Tool(world, "shaky")
        self.urls: dict[str, str] = {}

    async def set_up(self, *, acting: str) -> Both:
        for name in ("sound", "shaky"):
            roles = ["crm", "project"] if name == acting else ["crm"]
            row = await self.world.connect(name, roles=roles, settings={"total_s": "2", "lag_s": "1"})
            self.urls[name] = await self.world.open(row, secret=f"secret-of-{name}")
        await self.world.switch_on("won-deal-starts-project")
        self.world.clock.at += 10
        return self

    async def ring(self, name: str, *deals: str) -> int:
        return await self.world.ring(self.urls[name], {"deals": list(deals)})


def raising(error: BaseException) -> Callable[[], Any]:
    def raise_it() -> Any:
        raise error

    return raise_it


RAISED = [ValueError("no such thing"), SystemExit(3), RecursionError()]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_reader_that_raises_parks_its_delivery_and_the_other_tool_goes_on(tmp_path: Path, error: BaseException) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=HANDOFF) as world:
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
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=HANDOFF) as world:
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
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=HANDOFF) as world:
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
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=HANDOFF) as world:
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
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=HANDOFF) as world:
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
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=HANDOFF) as world:
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
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=HANDOFF) as world:
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
    monkeypatch.setattr("lifecyclehub.hub.PluginRunner", partial(PluginRunner, hang_after_s=0.3))
    over = threading.Event()
    yield lambda: over.wait() and None
    over.set()


@pytest.mark.parametrize("where", ["read", "render", "judge"])
async def test_a_plugin_that_hangs_holds_its_own_work_until_a_restart_and_the_other_tool_goes_on(
    tmp_path: Path, where: str, impatient: Callable[[], Any]
) -> None:
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=HANDOFF) as world:
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
    async with contract_world(tmp_path, Sound(), Shaky(), handoffs=HANDOFF) as world:
        both = await Both(world).set_up(acting="sound")
        with world.hub.engine.begin() as conn:
            conn.exec_driver_sql("UPDATE connection SET settings = '{\"total_s\": \"0.1\"}' WHERE name = 'shaky'")
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


class FromTheFuture(Sound):
    about = described("future", SoundMake(), contract=CONTRACT_VERSION + 1)


class Gives:
    """A distribution's plugin object, as an entry point loads it."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector

    @hookimpl
    def lifecyclehub_connectors(self) -> list[Connector]:
        return [self.connector]


sound_plugin, shaky_plugin, future_plugin = Gives(Sound()), Gives(Shaky()), Gives(FromTheFuture())


def __getattr__(name: str) -> Any:
    if name == "broken_plugin":
        raise SystemExit("this plugin ends the process that imports it")
    raise AttributeError(name)


def installed(*names: str) -> Registry:
    return Registry.load([EntryPoint(name, f"{__name__}:{name}_plugin", ENTRY_POINTS) for name in names])


async def test_plugins_that_cannot_be_used_are_refused_by_name_and_the_good_one_works(tmp_path: Path) -> None:
    registry = installed("broken", "future", "missing", "sound")
    assert sorted(registry.connectors) == ["sound"]
    reasons = {one.name: f"{one.reason} {one.mend}" for one in registry.refused}
    assert set(reasons) == {"broken", "future", "missing"}
    assert f"version {CONTRACT_VERSION + 1} of the contract; this hub speaks version {CONTRACT_VERSION}" in reasons["future"]
    assert "SystemExit" in reasons["broken"]
    async with contract_world(tmp_path, handoffs=HANDOFF, registry=registry) as world:
        tool = Tool(world, "sound")
        url = await world.open(await world.connect("sound"), secret="secret-of-sound")
        await world.switch_on("won-deal-starts-project")
        world.clock.at += 10
        await world.ring(url, {"deals": ["d1"]})
        await world.quiet()
        assert len(tool.acts) == 1


async def test_a_connector_that_is_refused_after_an_upgrade_loses_nothing_that_comes_meanwhile(tmp_path: Path) -> None:
    async with contract_world(tmp_path, handoffs=HANDOFF, registry=installed("sound", "shaky")) as world:
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
