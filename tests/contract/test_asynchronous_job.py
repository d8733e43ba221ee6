"""An asynchronous job: the tool takes the order, gives a number, and makes the project later."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
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
    Door,
    Host,
    Kind,
    Marker,
    Natural,
    Signature,
    usual_judgement,
)
from lifecyclehub.connector.roles import CreateProject, RenameProject
from lifecyclehub.errors import RecordGone, TryAgain
from lifecyclehub.jsonio import loads
from lifecyclehub.messages import (
    Accepted,
    Delivery,
    Document,
    Done,
    Json,
    Key,
    Notice,
    Outcome,
    Ref,
    Refused,
    Reply,
    Request,
    Unknown,
    marker_in,
)
from tests.support.contract_world import ContractWorld, Making, ThrowAway, Vendor, contract_world, said
from tests.support.workbench import WON_DEAL_STARTS_PROJECT

pytestmark = pytest.mark.anyio

JOB_S = 40
HANDOFF = f"""{WON_DEAL_STARTS_PROJECT}
  [[handoff.effects]]
  name = "rename"
  do = "project.rename_project"
  needs = ["project"]
    [handoff.effects.with]
    project = {{ from = "made.project.record", required = true }}
    name = {{ from = "deal.title", required = true }}
"""


class OrderProject(Making[CreateProject]):
    name = "create_project"
    input = CreateProject
    once = Marker("name", lag_s=JOB_S + 10)
    creates = "kiln.project"

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        return Request(method="POST", path="/orders", json={"name": f"{body['name']} {key.marker}"})

    def judge(self, reply: Reply, request: Request) -> Outcome:
        return usual_judgement(reply, creates=True) or Accepted(reply.json()["order"])

    async def check(self, call: Call, handle: str) -> Outcome:
        reply = await call.send(Request(method="GET", path=f"/orders/{handle}"))
        if reply.status == 404:
            raise RecordGone(handle)
        if reply.status != 200:
            raise TryAgain(f"status {reply.status}")
        match reply.json():
            case {"state": "baked", "project": project}:
                return Done(record_id=project, url=f"https://kiln.example/{project}")
            case {"state": "cracked", "why": why}:
                return Refused(why)
            case {"state": "baking"}:
                return Accepted(handle)
            case other:
                return Unknown(str(other))

    def look(self, v: CreateProject, key: Key) -> Request:
        return Request(method="GET", path="/projects")

    def is_ours(self, row: Any, key: Key) -> bool:
        return marker_in(row["name"]) == key.marker


class Rename(Action[RenameProject]):
    name = "rename_project"
    input = RenameProject
    once = Natural()
    target = "kiln.project"
    target_field = "project"

    def render(self, v: RenameProject, body: Json, key: Key) -> Request:
        return Request(method="PATCH", path=f"/projects/{v.project}", json=body)

    def judge(self, reply: Reply, request: Request) -> Outcome:
        return usual_judgement(reply, creates=False) or Done()


class Kiln(ThrowAway):
    about = About(
        id="kiln",
        name="Kiln",
        contract=CONTRACT_VERSION,
        roles=("crm", "project"),
        kinds=(
            Kind(id="kiln.project", fills="project", order="version"),
            Kind(id="kiln.quote", fills="deal", order="version"),
        ),
        doors=(Door(name="hook", signature=Signature(header="Kiln-Signature"), scope="connection", setup="by_hand"),),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://api.kiln.example"),),
        actions=(OrderProject(), Rename()),
        server_timeout_s=10,
    )
    mappings: ClassVar = {
        "quote.toml": """
            format = 1
            record = "kiln.quote"
            [fields]
            "deal.title"  = { from = "title", required = true }
            "deal.status" = { from = "status", lookup = "status", required = true }
            "deal.won_at" = { from = "signed_at", convert = "instant" }
            [lookup.status]
            signed = "won"
        """,
        "project.toml": """
            format = 1
            record = "kiln.project"
            [fields]
            "project.title"      = { from = "name", required = true }
            "project.status"     = { from = "state", lookup = "status", required = true }
            "project.created_at" = { from = "created_at", convert = "instant" }
            [lookup.status]
            live = "open"
        """,
        "create_project.toml": """
            format = 1
            action = "create_project"
            [body]
            "name" = { from = "name", required = true }
        """,
        "rename_project.toml": """
            format = 1
            action = "rename_project"
            [body]
            "name" = { from = "name", required = true }
        """,
    }

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        """The payload is the record itself, with a version: it may stand for a fetch."""
        kind, record = f"kiln.{delivery.json['type']}", delivery.json["record"]
        yield Notice(kind=kind, record_id=record["id"], version=str(record["version"]), document=self._document(kind, record))

    @staticmethod
    def _document(kind: str, record: dict[str, Any]) -> Document:
        return Document(
            kind=kind, id=record["id"], version=str(record["version"]), data=record, marker=marker_in(record.get("name"))
        )

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path=f"/{ref.kind.partition('.')[2]}s/{ref.id}"))
        if reply.status == 404:
            raise RecordGone(ref.id)
        return self._document(ref.kind, reply.json())


class KilnVendor(Vendor):
    """Makes a project forty seconds after it was ordered."""

    host = "api.kiln.example"

    def __init__(self, world: ContractWorld) -> None:
        super().__init__(world.router)
        self.clock = world.clock
        self.orders: dict[str, tuple[float, str]] = {}
        self.projects: dict[str, dict[str, Any]] = {}
        self.checks = self.stumbling = 0
        self.cracks = self.forgetful = False
        self.on("POST", "/orders", self.order)
        self.on("GET", "/orders/(?P<order>[a-z0-9]+)", self.state)
        self.on("GET", "/projects", self.index)
        self.on("GET", "/projects/(?P<project>[a-z0-9]+)", self.show)
        self.on("PATCH", "/projects/(?P<project>[a-z0-9]+)", self.rename)

    async def order(self, request: httpx.Request) -> httpx.Response:
        order = f"j{len(self.orders) + 1}"
        self.orders[order] = (self.clock.at, loads(request.content)["name"])
        return await self.acted({"ordered": order}, 202, {"order": order})

    def bake(self) -> None:
        """Make what is due by now."""
        for order, (at, name) in self.orders.items():
            project = f"p{order[1:]}"
            if self.clock.at - at >= JOB_S and not self.cracks and project not in self.projects:
                created: datetime = self.clock.now()
                self.projects[project] = {
                    "id": project,
                    "name": name,
                    "state": "live",
                    "version": 1,
                    "created_at": created.isoformat(),
                }

    def state(self, request: httpx.Request, order: str) -> httpx.Response:
        self.bake()
        self.checks += 1
        if self.stumbling:
            self.stumbling -= 1
            return said({}, 500)
        if self.forgetful:
            return said({}, 404)
        if self.clock.at - self.orders[order][0] < JOB_S:
            return said({"state": "baking"})
        project = f"p{order[1:]}"
        done = {"state": "baked", "project": project}
        return said({"state": "cracked", "why": "the template is broken"} if self.cracks else done)

    def index(self, request: httpx.Request) -> httpx.Response:
        self.bake()
        return said({"rows": list(self.projects.values())})

    def show(self, request: httpx.Request, project: str) -> httpx.Response:
        self.bake()
        return said(self.projects[project]) if project in self.projects else said({}, 404)

    async def rename(self, request: httpx.Request, project: str) -> httpx.Response:
        record = self.projects[project]
        record |= loads(request.content) | {"version": record["version"] + 1}
        return await self.acted({"renamed": project}, 200, record)


async def set_up(world: ContractWorld) -> tuple[KilnVendor, str]:
    vendor = KilnVendor(world)
    url = await world.open(await world.connect("kiln"), secret="signing-secret")
    await world.switch_on("won-deal-starts-project")
    world.clock.at += 10
    return vendor, url


async def win(world: ContractWorld, url: str) -> None:
    quote = {"id": "q1", "title": "Tea set", "status": "signed", "signed_at": world.clock.now().isoformat(), "version": 4}
    assert await world.ring(url, {"type": "quote", "record": quote}) == 200
    await world.quiet()


DONE = [("project", "done"), ("rename", "done")]
ONCE = [{"ordered": "j1"}, {"renamed": "p1"}]


async def test_an_accepted_order_is_asked_about_until_it_is_done_and_what_needs_it_waits(
    tmp_path: Path, database_url: str
) -> None:
    async with contract_world(tmp_path, Kiln(), handoffs=HANDOFF, database_url=database_url) as world:
        vendor, url = await set_up(world)
        await win(world, url)
        await world.pass_time(3, times=5)
        assert world.effects() == [("project", "in flight"), ("rename", "held")]
        assert vendor.checks >= 3
        await world.pass_time(15, times=6)
        assert world.effects() == DONE
        assert vendor.acts == ONCE
        assert vendor.projects["p1"]["name"] == "Tea set"


@pytest.mark.parametrize("end", ["restart", "kill"])
async def test_after_a_restart_the_order_is_asked_about_by_its_number_and_never_sent_again(tmp_path: Path, end: str) -> None:
    async with contract_world(tmp_path, Kiln(), handoffs=HANDOFF) as world:
        vendor, url = await set_up(world)
        await win(world, url)
        if end == "kill":
            await world.kill()
            await world.rise()
        else:
            await world.restart()
        assert world.effects() == [("project", "in flight"), ("rename", "held")]
        await win(world, url)
        await world.pass_time(20, times=8)
        assert world.effects() == DONE
        assert vendor.acts == ONCE
        assert {row["what"] for row in world.rows("SELECT what FROM attempt")} == {"sent", "checked"}


async def test_news_of_the_new_project_waits_for_the_order_and_joins_the_same_project(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Kiln(), handoffs=HANDOFF) as world:
        vendor, url = await set_up(world)
        await win(world, url)
        world.clock.at += JOB_S
        vendor.bake()
        assert await world.ring(url, {"type": "project", "record": vendor.projects["p1"]}) == 200
        await world.quiet()
        assert [(state, reason and reason[:12]) for _, state, reason in world.notices()] == [
            ("processed", None),
            ("held", "waiting(eff_"),
        ]
        await world.pass_time(20, times=3)
        assert world.effects() == DONE
        assert [state for _, state, _ in world.notices()] == ["processed", "processed"]
        assert len(world.rows("SELECT id FROM project")) == 1
        assert world.rows("SELECT kind FROM finding") == []


async def test_an_order_that_fails_is_parked_with_the_tools_reason(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Kiln(), handoffs=HANDOFF) as world:
        vendor, url = await set_up(world)
        vendor.cracks = True
        await win(world, url)
        await world.pass_time(30, times=4)
        first = world.rows("SELECT state, reason, detail FROM effect ORDER BY id")[0]
        assert first == {"state": "parked", "reason": "refused", "detail": "the template is broken"}
        assert vendor.acts == [{"ordered": "j1"}]


async def test_a_check_that_fails_says_nothing_about_the_order(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Kiln(), handoffs=HANDOFF) as world:
        vendor, url = await set_up(world)
        vendor.stumbling = 9
        await win(world, url)
        await world.pass_time(20, times=2)
        assert world.effects()[0] == ("project", "in flight")
        await world.pass_time(60, times=12)
        assert world.effects() == DONE
        assert vendor.acts == ONCE


async def test_an_order_that_never_ends_is_a_persons_question_and_is_not_given_again(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Kiln(), handoffs=HANDOFF, database_url=database_url) as world:
        vendor, url = await set_up(world)
        vendor.cracks, vendor.stumbling = True, 10_000  # so that nothing is ever made, and nobody says so
        await win(world, url)
        await world.pass_time(300, times=11)
        assert world.effects() == [("project", "in flight"), ("rename", "held")]
        await world.pass_time(300, times=2)
        first = world.rows("SELECT state, reason, detail FROM effect ORDER BY id")[0]
        assert (first["state"], first["reason"]) == ("parked", "not finished")
        assert first["detail"].endswith("has not ended it within 60 minutes. Asked last, it said: status 500.")
        await world.pass_time(3600, times=3)
        assert vendor.acts == [{"ordered": "j1"}]


@pytest.mark.parametrize(("made", "effects"), [(True, "done"), (False, "parked")])
async def test_an_order_that_the_tool_has_forgotten_is_looked_for_and_never_given_again(
    tmp_path: Path, made: bool, effects: str
) -> None:
    async with contract_world(tmp_path, Kiln(), handoffs=HANDOFF) as world:
        vendor, url = await set_up(world)
        vendor.forgetful, vendor.cracks = True, not made
        await win(world, url)
        await world.pass_time(JOB_S, times=6)
        assert world.effects()[0] == ("project", effects)
        assert vendor.acts[:1] == [{"ordered": "j1"}]
        assert {"ordered": "j2"} not in vendor.acts


async def test_an_order_whose_number_was_lost_is_found_by_the_project_it_makes(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Kiln(), handoffs=HANDOFF, database_url=database_url) as world:
        vendor, url = await set_up(world)
        vendor.losing = 1
        await win(world, url)
        await world.pass_time(5, times=2)
        assert world.effects()[0] == ("project", "in doubt")  # the project is not there yet, which proves nothing
        await world.restart()
        await world.pass_time(30, times=8)
        assert world.effects() == DONE
        assert vendor.acts == ONCE


async def test_of_payloads_that_wait_together_none_is_taken_for_the_newest_but_the_record_is_looked_at(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Kiln()) as world:
        vendor = KilnVendor(world)
        url = await world.open(await world.connect("kiln"), secret="signing-secret")
        quote = {"id": "q1", "title": "As it is", "status": "signed", "signed_at": None, "version": 3}
        vendor.on("GET", "/quotes/q1", lambda _: said(quote))
        lanes, waiting = world.hub.intake.lanes, []
        take, lanes.take = lanes.take, waiting.extend  # type: ignore[method-assign]
        for version, title in ((3, "As it is"), (2, "As it was")):  # the older one comes late
            assert await world.ring(url, {"type": "quote", "record": quote | {"version": version, "title": title}}) == 200
            await world.quiet()
        take(waiting)
        await world.quiet()
        assert [state for _, state, _ in world.notices()] == ["processed", "processed"]
        assert world.rows("SELECT title FROM deal") == [{"title": "As it is"}]
