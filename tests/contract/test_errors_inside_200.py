"""Errors inside 200: whatever happens, the status is 200 and a word in the body says what it was."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from lifecyclehub.admin.connections import new_credentials
from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Action,
    Auth,
    Call,
    Door,
    Host,
    Kind,
    Never,
    Signature,
    said_by,
    usual_judgement,
)
from lifecyclehub.connector.roles import AddNote
from lifecyclehub.errors import Forbidden, NeedsReauthorization, NotOurJson, RecordGone, TryAgain
from lifecyclehub.messages import (
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
    Retry,
    Unknown,
)
from lifecyclehub.store.things import Row
from tests.support.contract_world import ContractWorld, ThrowAway, Vendor, contract_world, said
from tests.support.workbench import WON_DEAL_IS_NOTED

pytestmark = pytest.mark.anyio

PAGE = "<!doctype html><title>Sign in</title>"


def result_of(reply: Reply) -> Any:
    """Give the result of a call. Raises what the word in the body means."""
    if reply.status != 200:
        raise TryAgain(f"status {reply.status}")
    try:
        body = reply.json()
    except NotOurJson as error:
        raise TryAgain(f"no answer of the tool's own: {said_by(reply, 60)}") from error
    match body:
        case {"ok": True, "result": result}:
            return result
        case {"ok": False, "error": "not_found"}:
            raise RecordGone("not_found")
        case {"ok": False, "error": "no_access"}:
            raise Forbidden("no_access")
        case {"ok": False, "error": "session_expired"}:
            raise NeedsReauthorization("the tool says session_expired")
        case {"ok": False, "error": "slow_down", "wait": wait}:
            raise TryAgain("slow_down", after=float(wait))
        case _:
            raise TryAgain(said_by(reply))


class WriteLine(Action[AddNote]):
    """A tool without keys, markers or look-ups: what is unknown goes to a person."""

    name = "add_note"
    input = AddNote
    once = Never()
    target = "parrot.case"
    target_field = "deal"

    def render(self, v: AddNote, body: Json, key: Key) -> Request:
        return Request(method="POST", path="/rpc", form=(("method", "case.write"), ("case", v.deal), ("line", body["line"])))

    def judge(self, reply: Reply, request: Request) -> Outcome:
        if usual := usual_judgement(reply, creates=True):
            return usual
        try:
            return Done(record_id=str(result_of(reply)["line"]))
        except NeedsReauthorization:
            raise
        except TryAgain as error:
            return Retry(error.reason, error.after) if error.after is not None else self._unclear(reply)
        except (RecordGone, Forbidden, LookupError, TypeError):
            return self._unclear(reply)

    @staticmethod
    def _unclear(reply: Reply) -> Outcome:
        """A sentence of the tool's own is a refusal; anything else says nothing about what was done."""
        try:
            body = reply.json()
        except NotOurJson:
            body = None
        if isinstance(body, dict) and body.get("ok") is False:
            return Refused(str(body.get("error")))
        return Unknown(said_by(reply, 60))


class Parrot(ThrowAway):
    about = About(
        id="parrot",
        name="Parrot",
        contract=CONTRACT_VERSION,
        roles=("crm",),
        kinds=(Kind(id="parrot.case", fills="deal"),),
        doors=(
            Door(
                name="hook",
                signature=Signature(header="Authorization", algorithm="basic"),
                scope="connection",
                setup="by_hand",
                media=frozenset({"application/x-parrot+json", "application/json"}),
            ),
        ),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://parrot.example"),),
        actions=(WriteLine(),),
        server_timeout_s=5,
    )
    mappings: ClassVar = {
        "case.toml": """
            format = 1
            record = "parrot.case"
            [fields]
            "deal.title"  = { from = "title", required = true }
            "deal.status" = { from = "status", lookup = "status", required = true }
            "deal.won_at" = { from = "status_at", convert = "epoch_ms" }
            [lookup.status]
            OPEN = "open"
            WON = "won"
        """,
        "add_note.toml": """
            format = 1
            action = "add_note"
            [body]
            "line" = { from = "text", required = true }
        """,
    }

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        yield Notice(kind="parrot.case", record_id=str(delivery.json["case"]))

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path="/rpc", query=(("method", "case.show"), ("case", ref.id))))
        return Document(kind=ref.kind, id=ref.id, data=result_of(reply))


class ParrotVendor(Vendor):
    """`says` is what it answers instead, once for each entry; a text is a page."""

    host = "parrot.example"

    def __init__(self, world: ContractWorld) -> None:
        super().__init__(world.router)
        self.cases: dict[str, dict[str, Any]] = {}
        self.says: dict[str, list[Any]] = {"case.show": [], "case.write": []}
        self.asked: list[str] = []
        self.on("GET", "/rpc", lambda request: self.call(dict(request.url.params)))
        self.on("POST", "/rpc", lambda request: self.write(dict(httpx.QueryParams(request.content.decode()))))

    def instead(self, method: str) -> httpx.Response | None:
        self.asked.append(method)
        if not self.says[method]:
            return None
        answer = self.says[method].pop(0)
        if isinstance(answer, str):
            return httpx.Response(200, text=answer, headers={"content-type": "text/html"})
        return said({"ok": False, **answer})

    def call(self, asked: dict[str, str]) -> httpx.Response:
        if answer := self.instead("case.show"):
            return answer
        found = self.cases.get(asked["case"])
        return said({"ok": True, "result": found} if found else {"ok": False, "error": "not_found"})

    async def write(self, asked: dict[str, str]) -> httpx.Response:
        if answer := self.instead("case.write"):
            return answer
        made = {"line": len(self.acts) + 1}
        return await self.acted(asked | made, 200, {"ok": True, "result": made})


async def set_up(world: ContractWorld) -> tuple[ParrotVendor, str, Row]:
    vendor = ParrotVendor(world)
    connection = await world.connect("parrot")
    url = await world.open(connection, secret="parrot:polly")
    await world.switch_on("won-deal-is-noted")
    world.clock.at += 10
    vendor.cases["7"] = {"title": "Rain barrel", "status": "WON", "status_at": int(world.clock.now().timestamp() * 1000)}
    return vendor, url, connection


async def ring(world: ContractWorld, url: str, case: str = "7") -> None:
    assert await world.ring(url, {"case": case}) == 200
    await world.quiet()


async def test_a_wish_to_wait_inside_200_is_obeyed_and_the_note_is_written_once(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Parrot(), handoffs=WON_DEAL_IS_NOTED, database_url=database_url) as world:
        vendor, url, _ = await set_up(world)
        vendor.says = {
            "case.show": [{"error": "slow_down", "wait": 40}],
            "case.write": [{"error": "slow_down", "wait": 90}],
        }
        await ring(world, url)
        await world.pass_time(20)
        assert vendor.asked == ["case.show"]
        await world.pass_time(25)
        assert vendor.asked == ["case.show", "case.show", "case.write"]
        await world.pass_time(60)
        assert world.effects() == [("note", "ready")]
        await world.pass_time(40)
        await ring(world, url)
        assert world.effects() == [("note", "done")]
        assert len(vendor.acts) == 1


async def test_a_refusal_inside_200_parks_the_note_with_the_tools_own_word(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Parrot(), handoffs=WON_DEAL_IS_NOTED) as world:
        vendor, url, _ = await set_up(world)
        vendor.says["case.write"] = [{"error": "case_is_locked"}]
        await ring(world, url)
        await ring(world, url)
        await world.pass_time(600, times=3)
        parked = world.rows("SELECT state, reason, detail FROM effect")
        assert parked == [{"state": "parked", "reason": "refused", "detail": "case_is_locked"}]
        assert vendor.acts == []


@pytest.mark.parametrize("answer", ["a page with 200", "no answer"])
async def test_what_says_nothing_about_the_act_goes_to_a_person_and_is_never_repeated(tmp_path: Path, answer: str) -> None:
    async with contract_world(tmp_path, Parrot(), handoffs=WON_DEAL_IS_NOTED) as world:
        vendor, url, _ = await set_up(world)
        if answer == "no answer":
            vendor.losing = 1
        else:
            vendor.says["case.write"] = [PAGE]
        await ring(world, url)
        await world.pass_time(60, times=3)
        await world.restart()
        await ring(world, url)
        await world.pass_time(60, times=3)
        parked = world.rows("SELECT state, reason FROM effect")
        assert parked == [{"state": "parked", "reason": "in doubt"}]
        assert vendor.asked.count("case.write") == 1 if answer != "no answer" else len(vendor.acts) == 1


async def test_a_page_with_200_is_not_taken_for_a_record(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Parrot(), handoffs=WON_DEAL_IS_NOTED) as world:
        vendor, url, _ = await set_up(world)
        vendor.says["case.show"] = [PAGE]
        await ring(world, url)
        assert world.notices() == [("7", "open", "retry")]
        await world.pass_time(5)
        assert world.notices() == [("7", "processed", None)]
        assert len(vendor.acts) == 1


async def test_gone_and_forbidden_inside_200_are_told_apart(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Parrot(), handoffs=WON_DEAL_IS_NOTED) as world:
        vendor, url, _ = await set_up(world)
        await ring(world, url, "8")
        vendor.says["case.show"] = [{"error": "no_access"}]
        await ring(world, url, "9")
        assert world.notices() == [("8", "processed", "deleted"), ("9", "parked", "forbidden")]


async def test_an_expired_session_inside_200_pauses_the_connection_while_fetching(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Parrot(), handoffs=WON_DEAL_IS_NOTED) as world:
        vendor, url, connection = await set_up(world)
        vendor.says["case.show"] = [{"error": "session_expired"}]
        await ring(world, url)
        assert world.notices() == [("7", "held", "connection")]
        await go_on(world, connection)
        assert len(vendor.acts) == 1


async def test_an_expired_session_inside_200_pauses_the_connection_while_acting(tmp_path: Path, database_url: str) -> None:
    async with contract_world(tmp_path, Parrot(), handoffs=WON_DEAL_IS_NOTED, database_url=database_url) as world:
        vendor, url, connection = await set_up(world)
        vendor.says["case.write"] = [{"error": "session_expired"}]
        await ring(world, url)
        assert world.rows("SELECT state, reason FROM effect") == [{"state": "held", "reason": "connection"}]
        assert world.rows("SELECT state FROM connection") == [{"state": "paused"}]
        await go_on(world, connection)
        assert world.effects() == [("note", "done")]
        assert len(vendor.acts) == 1


async def go_on(world: ContractWorld, connection: Row) -> None:
    """A person enters new credentials, and the running hub notices."""
    await new_credentials(world.hub, connection, {"token": "a-new-token"})
    await world.hub.look_for_changes()
    await world.quiet()
