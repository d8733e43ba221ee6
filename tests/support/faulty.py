"""Two connectors of tools that are alike: one sound, one in which a test lets something go wrong; and faulty plugins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import httpx

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
)
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.errors import RecordGone
from lifecyclehub.hookspecs import ENTRY_POINTS, hookimpl
from lifecyclehub.jsonio import loads
from lifecyclehub.messages import (
    Delivery,
    Document,
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
from tests.support.contract_world import ContractWorld, Making, ThrowAway, Vendor, said

FAULTS: dict[str, Callable[[], Any]] = {}


def fault(where: str) -> Any:
    """Do what the test wants to go wrong here, if anything; gives what the plugin is to give instead."""
    return FAULTS[where]() if where in FAULTS else None


class Make(Making[CreateProject]):
    name = "create_project"
    input = CreateProject
    once = Marker("name", lag_s=1)

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        return Request(method="POST", path="/projects", json={"name": f"{body['name']} {key.marker}"})

    def look(self, v: CreateProject, key: Key) -> Request:
        return Request(method="GET", path="/projects")

    def is_ours(self, row: Any, key: Key) -> bool:
        return key.marker in row["name"]


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
