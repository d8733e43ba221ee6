"""Poll only: no webhooks at all, and a list that tells changes by the whole second."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Auth,
    Call,
    Host,
    Kind,
    Page,
    UniqueId,
)
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.errors import CallFailed, NotOurJson, RecordGone, TryAgain
from lifecyclehub.jsonio import loads
from lifecyclehub.messages import (
    Absent,
    CannotTell,
    Document,
    Done,
    Found,
    Json,
    Key,
    Notice,
    Ref,
    Request,
    Sighting,
)
from tests.support.contract_world import ContractWorld, Making, ThrowAway, Vendor, contract_world, said
from tests.support.workbench import MAKES_PROJECTS, WON_DEAL_STARTS_PROJECT, tells_deals

pytestmark = pytest.mark.anyio

POLL_S = 30
PAGE = 2


class OpenFolder(Making[CreateProject]):
    name = "create_project"
    input = CreateProject
    once = UniqueId("ref")
    creates = "sundial.folder"

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        return Request(method="POST", path="/folders", json={**body, "ref": key.marker})

    async def find(self, call: Call, v: CreateProject, key: Key) -> Sighting:
        try:
            reply = await call.send(Request(method="GET", path=f"/folders/by-ref/{key.marker}"))
            if reply.status == 404:
                return Absent()
            return Found((Done(record_id=reply.json()["id"]),)) if reply.status == 200 else CannotTell(f"status {reply.status}")
        except (CallFailed, NotOurJson, LookupError) as error:
            return CannotTell(str(error))


class Sundial(ThrowAway):
    about = About(
        id="sundial",
        name="Sundial",
        contract=CONTRACT_VERSION,
        roles=("crm", "project"),
        kinds=(
            Kind(id="sundial.lead", fills="deal", order="time", resolution_s=1, poll_s=POLL_S),
            Kind(id="sundial.folder", fills="project"),
        ),
        doors=(),
        auths=(Auth(name="login", kind="basic", label="Log-in", secrets=("user", "password")),),
        hosts=(Host(name="api", base="https://sundial.example/api"),),
        actions=(OpenFolder(),),
    )
    mappings: ClassVar = {
        "lead.toml": tells_deals("sundial.lead"),
        "create_project.toml": MAKES_PROJECTS,
    }

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path=f"/leads/{ref.id}"))
        if reply.status == 404:
            raise RecordGone(ref.id)
        lead = reply.json()
        return Document(kind=ref.kind, id=ref.id, changed_at=_instant(lead["changed"]), data=lead)

    async def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        """Ask from the second of the cursor on, that second included: more may have happened in it after we looked.

        Each page begins after the last record of the one before, not at a number: records that change meanwhile move.
        """
        if kind != "sundial.lead":
            return
        since = 0 if full else json.loads(cursor)["since"] if cursor else int(call.now().timestamp())
        started, after = int(call.now().timestamp()), f"{since}."
        while True:
            reply = await call.send(Request(method="GET", path="/leads", query=(("after", after),)))
            if reply.status != 200:
                raise TryAgain(f"status {reply.status}")
            rows, last = reply.json()["rows"], not reply.json()["more"]
            notices = tuple(Notice(kind=kind, record_id=row["id"], at=_instant(row["changed"])) for row in rows)
            yield Page(notices, json.dumps({"since": started if last else since}), last=last)
            if last:
                return
            after = f"{rows[-1]['changed']}.{rows[-1]['id']}"


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class SundialVendor(Vendor):
    """Cuts every moment to the whole second, as it says in its lists; keeps one folder for each ref."""

    host = "sundial.example"

    def __init__(self, world: ContractWorld) -> None:
        super().__init__(world.router)
        self.clock = world.clock
        self.leads: dict[str, dict[str, Any]] = {}
        self.failing = 0
        self.refused = 0
        self.between_pages: list[tuple[str, str]] = []
        self.on("GET", "/api/leads", self.index)
        self.on("GET", "/api/leads/(?P<lead>[a-z0-9]+)", self.show)
        self.on("POST", "/api/folders", self.create)
        self.on("GET", "/api/folders/by-ref/(?P<ref>[a-z0-9-]+)", self.by_ref)

    def change(self, lead: str, status: str) -> None:
        now = int(self.clock.now().timestamp())
        known = self.leads.get(lead, {"id": lead, "name": f"Lead {lead}"})
        self.leads[lead] = known | {"status": status, "changed": now} | ({"won_at": now} if status == "won" else {})

    def index(self, request: httpx.Request) -> httpx.Response:
        if self.failing:
            self.failing -= 1
            return said({}, 500)
        second, _, lead = request.url.params["after"].partition(".")
        places = sorted((one["changed"], one["id"]) for one in self.leads.values())
        rows = [{"changed": changed, "id": one} for changed, one in places if (changed, one) > (int(second), lead)]
        answer = said({"rows": rows[:PAGE], "more": len(rows) > PAGE})
        while self.between_pages:
            self.change(*self.between_pages.pop())
        return answer

    def show(self, request: httpx.Request, lead: str) -> httpx.Response:
        return said(self.leads[lead]) if lead in self.leads else said({}, 404)

    async def create(self, request: httpx.Request) -> httpx.Response:
        asked = loads(request.content)
        if any(one["ref"] == asked["ref"] for one in self.acts):
            self.refused += 1
            return said({"error": "ref is taken"}, 409)
        made = {"id": f"f{len(self.acts) + 1}", **asked}
        return await self.acted(made, 201, made)

    def by_ref(self, request: httpx.Request, ref: str) -> httpx.Response:
        found = next((one for one in self.acts if one["ref"] == ref), None)
        return said(found) if found else said({}, 404)

    @property
    def titles(self) -> list[str]:
        return sorted(act["title"] for act in self.acts)


async def set_up(world: ContractWorld) -> SundialVendor:
    vendor = SundialVendor(world)
    await world.connect("sundial", secrets={"user": "hub", "password": "secret"})
    await world.switch_on("won-deal-starts-project")
    await world.pass_time(0)
    return vendor


async def test_what_changes_in_the_second_of_the_look_is_seen_by_the_next_one_and_acts_once(
    tmp_path: Path, database_url: str
) -> None:
    async with contract_world(tmp_path, Sundial(), handoffs=WON_DEAL_STARTS_PROJECT, database_url=database_url) as world:
        vendor = await set_up(world)
        world.clock.at += POLL_S + 0.2
        vendor.change("l1", "won")
        await world.pass_time(0.1)
        assert vendor.titles == ["Lead l1"]
        vendor.change("l2", "won")  # the same whole second, but after we looked
        await world.pass_time(POLL_S, times=3)
        assert vendor.titles == ["Lead l1", "Lead l2"]


async def test_a_record_that_changes_twice_within_a_second_ends_as_it_is_now(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Sundial(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        vendor = await set_up(world)
        world.clock.at += POLL_S
        vendor.change("l1", "new")
        await world.pass_time(0.1)
        assert vendor.titles == []
        vendor.change("l1", "won")  # its time in the list stays the same
        await world.pass_time(POLL_S, times=2)
        assert vendor.titles == ["Lead l1"]
        assert [row["status"] for row in world.rows("SELECT status FROM deal")] == ["won"]


async def test_what_moves_between_pages_is_not_lost(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Sundial(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        vendor = await set_up(world)
        for number in range(1, 6):
            world.clock.at += 1
            vendor.change(f"l{number}", "won")
        vendor.between_pages = [("l1", "won")]  # it moves to the end of the list while that is read
        await world.pass_time(POLL_S)
        await world.pass_time(POLL_S, times=2)
        assert vendor.titles == [f"Lead l{number}" for number in range(1, 6)]


async def test_a_sweep_that_fails_and_a_restart_lose_and_double_nothing(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Sundial(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        vendor = await set_up(world)
        world.clock.at += 5
        for number in range(1, 4):
            vendor.change(f"l{number}", "won")
        vendor.failing = 3
        await world.pass_time(POLL_S)
        assert vendor.titles == []
        await world.restart()
        await world.pass_time(POLL_S, times=2)
        await world.restart()
        await world.pass_time(POLL_S, times=2)
        assert vendor.titles == ["Lead l1", "Lead l2", "Lead l3"]


async def test_a_folder_whose_answer_was_lost_is_refused_the_second_time_and_adopted(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Sundial(), handoffs=WON_DEAL_STARTS_PROJECT, database_url=database_url) as world:
        vendor = await set_up(world)
        world.clock.at += 5
        vendor.change("l1", "won")
        vendor.losing = 1
        await world.pass_time(POLL_S)
        assert world.effects() == [("project", "in doubt")]
        await world.pass_time(5, times=4)
        assert world.effects() == [("project", "done")]
        assert vendor.refused == 1
        assert vendor.titles == ["Lead l1"]
        linked = world.rows("SELECT record_id FROM link WHERE kind = 'sundial.folder'")
        assert [row["record_id"] for row in linked] == ["f1"]


async def test_what_is_won_after_the_go_live_in_its_very_second_acts(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Sundial(), handoffs=WON_DEAL_STARTS_PROJECT, database_url=database_url) as world:
        vendor = SundialVendor(world)
        await world.connect("sundial", secrets={"user": "hub", "password": "secret"})
        world.clock.at = int(world.clock.at) + 1.4
        await world.switch_on("won-deal-starts-project")
        await world.pass_time(0)
        world.clock.at += 0.2
        vendor.change("l1", "won")
        await world.pass_time(POLL_S, times=2)
        assert vendor.titles == ["Lead l1"]
        assert world.rows("SELECT id FROM finding WHERE kind = 'withheld'") == []


async def test_what_was_won_before_go_live_stays_history(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Sundial(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        vendor = SundialVendor(world)
        vendor.change("l1", "won")
        await world.connect("sundial", secrets={"user": "hub", "password": "secret"})
        world.clock.at += 60
        await world.switch_on("won-deal-starts-project")
        await world.pass_time(0)
        connection = next(iter(world.hub.directory.connections.values()))
        kind = Sundial.about.kinds[0]
        await world.hub.sweeper.sweep(connection, kind, "full")
        await world.quiet()
        assert set(world.notices()) == {("l1", "processed", None)}
        assert vendor.acts == []
