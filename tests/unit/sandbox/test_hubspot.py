"""The simulated HubSpot, driven over real HTTP by the connector's own code; its webhooks checked as a delivery is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from lifecyclehub.connector.roles import AddNote, CreateCrmTask, SetFields
from lifecyclehub.errors import Moved, RecordGone
from lifecyclehub.mapping.files import load_mappings, read_folder
from lifecyclehub.messages import Absent, CannotTell, Delivery, Done, Found, Key, Notice, Ref, Refused, Reply, Request
from lifecyclehub.sandbox.faults import Fault
from lifecyclehub.sandbox.history import read_history
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.signatures import Secret, verify
from lifecyclehub_hubspot import HubSpot

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

pytestmark = pytest.mark.anyio

CONNECTOR = HubSpot()
DOOR = CONNECTOR.about.doors[0]
KEY = Key(idempotency="k-1", marker="lh-7k2m9qx3ab")
FOLDER = Path(__file__).parents[3] / "plugins/hubspot/lifecyclehub_hubspot/mappings"
MAPPINGS = load_mappings(read_folder(FOLDER), {}, CONNECTOR.about)
ACCOUNT = {"id": "24810377", "name": "Northwind Atelier", "currency": "EUR", "timezone": "Europe/Copenhagen"}
INQUIRY = {
    "company": "Brightwater Foods",
    "domain": "brightwater.example",
    "contact_name": "Ida Brandt",
    "contact_email": "ida@brightwater.example",
    "title": "New website",
    "amount": "12000.50",
    "owner_email": "astrid@northwind.example",
}


class HttpCall:
    """A call over HTTP with the tool's token."""

    def __init__(self, tool: HubSpotTool, client: httpx.AsyncClient) -> None:
        self._tool, self._client, self.token = tool, client, tool.credentials["token"]

    @property
    def account(self) -> str:
        return self._tool.account_id

    @property
    def settings(self) -> Mapping[str, str]:
        return {"ui_domain": "app.hubspot.com", **self._tool.settings()}

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def send(self, request: Request) -> Reply:
        reply = await self._client.request(
            request.method,
            request.path,
            params=httpx.QueryParams(request.query),
            json=request.json,
            headers={"authorization": f"Bearer {self.token}"},
        )
        return Reply(status=reply.status_code, headers={k.lower(): v for k, v in reply.headers.items()}, body=reply.content)


class Hub:
    """A listener on loopback that keeps what HubSpot sends."""

    def __init__(self) -> None:
        self.url = ""
        self.got: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.got.put_nowait(({k.decode().lower(): v.decode() for k, v in scope["headers"]}, body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def next(self) -> tuple[dict[str, str], bytes]:
        return await asyncio.wait_for(self.got.get(), 5)

    async def notices(self) -> list[Notice]:
        headers, body = await self.next()
        return read(headers, body)


@pytest.fixture
async def tool(tmp_path: Path) -> AsyncIterator[HubSpotTool]:
    tool = HubSpotTool(tmp_path)
    await tool.start()
    yield tool
    await tool.stop()


@pytest.fixture
async def call(tool: HubSpotTool) -> AsyncIterator[HttpCall]:
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        yield HttpCall(tool, client)


@pytest.fixture
async def hub(tool: HubSpotTool) -> AsyncIterator[Hub]:
    hub = Hub()
    server = uvicorn.Server(uvicorn.Config(hub, port=0, log_level="critical", lifespan="off"))
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn tells no other way)
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    hub.url = f"http://127.0.0.1:{port}/hooks/ep_1"
    await tool.set_webhook(hub.url)
    yield hub
    server.should_exit = True
    await serving


def read(headers: dict[str, str], body: bytes) -> list[Notice]:
    delivery = Delivery(id="d", door="app", headers=headers, body=body, json=json.loads(body), received_at=datetime.now(UTC))
    return list(CONNECTOR.read(delivery))


def said(tool: HubSpotTool, what: str, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_history(tool.history.path) if line["what"] == what and line.get("kind") == kind]


async def act(tool: HubSpotTool, name: str, **arguments: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        reply = await client.post(f"/_sandbox/act/{name}", json=arguments)
        return reply.raise_for_status().json()


async def perform(call: HttpCall, name: str, given: Any) -> Any:
    action, mapping = CONNECTOR.about.action(name), MAPPINGS.outbound(name)
    assert action is not None
    assert mapping is not None
    request = action.render(given, mapping.body(given, {}, ACCOUNT), KEY)
    return action.judge(await call.send(request), request)


# --- webhooks ---------------------------------------------------------------------------------------------------------


async def test_its_batches_are_signed_over_method_address_body_and_time(tool: HubSpotTool, hub: Hub) -> None:
    await act(tool, "inquire", **INQUIRY)
    headers, body = await hub.next()

    def verdict(url: str, secret: str | None = tool.signing_secret, raw: bytes = body) -> str:
        secrets = [Secret("s", (secret or "").encode())]
        return verify(DOOR.signature, secrets, method="POST", url=url, headers=headers, body=raw, now=datetime.now(UTC)).reason

    assert verdict(hub.url) == ""
    assert verdict(hub.url + "?x=1") == "bad-signature"
    assert verdict(hub.url, secret="another") == "bad-signature"
    assert verdict(hub.url, raw=body + b" ") == "bad-signature"


async def test_an_inquiry_rings_for_company_contact_and_deal_and_tells_no_values_that_we_would_use(
    tool: HubSpotTool, hub: Hub
) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    notices = await hub.notices()
    assert {(one.kind, one.record_id) for one in notices} == {
        ("hubspot.company", made["company"]),
        ("hubspot.contact", made["contact"]),
        ("hubspot.deal", made["deal"]),
    }
    assert {one.account for one in notices} == {tool.account_id}
    assert all(one.document is None and one.actor == "CRM_UI:userId:771" for one in notices)
    keys = [one.key for one in notices]
    assert len(set(keys)) == len(keys)


async def test_our_own_note_rings_too(tool: HubSpotTool, hub: Hub, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    await hub.next()
    await perform(call, "add_note", AddNote(at=NOW, deal=made["deal"], text="Project: https://projects.example/7"))
    (notice,) = await hub.notices()
    assert (notice.kind, notice.record_id, notice.actor) == ("hubspot.deal", made["deal"], "INTEGRATION:1740025")


async def test_more_than_a_hundred_changes_come_in_several_batches(tool: HubSpotTool, hub: Hub) -> None:
    for place in range(120):
        tool.state.create("contacts", {"email": f"person{place}@brightwater.example"}, ("CRM_UI", "userId:771"))
    tool._flush()
    sizes = [len(json.loads((await hub.next())[1])) for _ in range(3)]
    assert sizes == [100, 100, 40]


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_a_won_deal_is_fetched_and_mapped_with_company_contact_owner_and_the_time_of_winning(
    tool: HubSpotTool, call: HttpCall
) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    before = datetime.now(UTC)
    await act(tool, "win_deal", deal=made["deal"])
    await act(tool, "edit_deal", deal=made["deal"], closedate="2026-01-01T00:00:00.000Z")
    document = await CONNECTOR.fetch(call, Ref("hubspot.deal", made["deal"]))
    assert [(one.kind, one.id) for one in document.related] == [
        ("hubspot.company", made["company"]),
        ("hubspot.contact", made["contact"]),
    ]
    inbound = {kind: MAPPINGS.inbound(kind) for kind in MAPPINGS.kinds}
    values: dict[str, Any] = {}
    for one in (document, *document.related):
        mapping = inbound[one.kind]
        assert mapping is not None
        values |= mapping.map(one, ACCOUNT).values
    won_at = values.pop("deal.won_at")
    assert abs((won_at - before).total_seconds()) < 5
    assert values.pop("deal.created_at") < won_at
    assert values == {
        "deal.title": "New website",
        "deal.status": "won",
        "deal.value.amount": 1200050,
        "deal.value.currency": "EUR",
        "deal.owner.email": "astrid@northwind.example",
        "deal.owner.name": "Astrid Holm",
        "deal.scope": None,
        "client.name": "Brightwater Foods",
        "client.kind": "company",
        "client.domain": "brightwater.example",
        "client.phone": None,
        "client.country": None,
        "client.standing": "lead",
        "contact.name": "Ida Brandt",
        "contact.email": "ida@brightwater.example",
        "contact.phone": None,
    }
    assert document.url == f"https://app.hubspot.com/contacts/{tool.account_id}/record/0-3/{made['deal']}"


async def test_a_deleted_deal_is_gone_until_it_is_restored(tool: HubSpotTool, call: HttpCall, hub: Hub) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    await hub.next()
    await act(tool, "delete_deal", deal=made["deal"])
    assert [one.change for one in await hub.notices()] == ["deleted"]
    with pytest.raises(RecordGone):
        await CONNECTOR.fetch(call, Ref("hubspot.deal", made["deal"]))
    await act(tool, "restore_deal", deal=made["deal"])
    assert (await CONNECTOR.fetch(call, Ref("hubspot.deal", made["deal"]))).id == made["deal"]


async def test_merged_companies_lead_to_the_new_one_by_both_old_ids(tool: HubSpotTool, call: HttpCall, hub: Hub) -> None:
    one = await act(tool, "inquire", **INQUIRY)
    other = await act(tool, "inquire", **{**INQUIRY, "domain": "brightwater.test", "company": "Brightwater"})
    await hub.next()
    await hub.next()
    merged = (await act(tool, "merge_companies", primary=one["company"], other=other["company"]))["company"]
    told = {(notice.record_id, notice.change, notice.into) for notice in await hub.notices()}
    assert {(one["company"], "merged", merged), (other["company"], "merged", merged), (merged, "changed", None)} <= told
    for old in (one["company"], other["company"]):
        with pytest.raises(Moved) as moved:
            await CONNECTOR.fetch(call, Ref("hubspot.company", old))
        assert moved.value.to == merged
    deal = await CONNECTOR.fetch(call, Ref("hubspot.deal", one["deal"]))
    assert deal.related[0].id == merged
    assert deal.related[0].data["properties"]["name"] == "Brightwater Foods"


async def test_a_sweep_finds_what_changed_and_a_full_one_everything(tool: HubSpotTool, call: HttpCall) -> None:
    made = [(await act(tool, "inquire", **{**INQUIRY, "title": f"Deal {place}"}))["deal"] for place in range(3)]
    (start,) = [page async for page in CONNECTOR.sweep(call, "hubspot.deal", None, full=False)]
    assert start.notices == ()
    await act(tool, "move_deal", deal=made[1], stage="contractsent")
    (page,) = [page async for page in CONNECTOR.sweep(call, "hubspot.deal", start.cursor, full=False)]
    assert made[1] in {one.record_id for one in page.notices}
    assert page.notices[-1].record_id == made[1]
    (everything,) = [page async for page in CONNECTOR.sweep(call, "hubspot.deal", None, full=True)]
    assert [one.record_id for one in everything.notices] == made
    assert everything.last
    assert everything.cursor is None


async def test_set_up_sees_the_account_and_every_pipeline_s_stages_by_label(call: HttpCall) -> None:
    (account,) = await CONNECTOR.accounts(call)
    assert (account.id, account.currency, account.timezone) == ("24810377", "EUR", "Europe/Copenhagen")
    fields = {one.path: one for one in await CONNECTOR.fields(call, "hubspot.deal")}
    assert ("167400212", "Retainers: Retainer signed") in fields["properties.dealstage"].options
    assert ("closedwon", "Sales Pipeline: Closed Won") in fields["properties.dealstage"].options
    assert "properties.service_line" in fields


# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "given"),
    [
        ("add_note", "note", lambda deal: AddNote(at=NOW, deal=deal, text="Project: <new>\nhttps://projects.example/7")),
        (
            "create_task",
            "task",
            lambda deal: CreateCrmTask(at=NOW, deal=deal, title="Call Ida", owner_email="astrid@northwind.example"),
        ),
    ],
)
async def test_an_activity_is_made_with_our_marker_and_found_again(
    tool: HubSpotTool, call: HttpCall, name: str, kind: str, given: Any
) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    await act(tool, "write_note", deal=made["deal"], text="Met at the fair.")
    action, value = CONNECTOR.about.action(name), given(made["deal"])
    assert action is not None
    assert await action.find(call, value, KEY) == Absent()
    done = await perform(call, name, value)
    assert isinstance(done, Done)
    assert await action.find(call, value, KEY) == Found((Done(record_id=done.record_id),))
    created = [line for line in said(tool, "created", kind) if line["by"] == "api"]
    assert [(line["id"], line["marker"]) for line in created] == [(done.record_id, KEY.marker)]


async def test_a_lost_answer_leaves_one_note_that_is_found(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    tool.misbehaviour.faults.append(Fault("lose_answer", path="/crm/v3/objects/notes$"))
    value = AddNote(at=NOW, deal=made["deal"], text="Project: https://projects.example/7")
    with pytest.raises(httpx.HTTPError):
        await perform(call, "add_note", value)
    action = CONNECTOR.about.action("add_note")
    assert action is not None
    assert isinstance(await action.find(call, value, KEY), Found)
    assert len(said(tool, "created", "note")) == 1


async def test_a_look_up_that_fails_is_never_absent(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    value, action = AddNote(at=NOW, deal=made["deal"], text="x"), CONNECTOR.about.action("add_note")
    assert action is not None
    await act(tool, "write_note", deal=made["deal"], text="Met at the fair.")
    for fault in (
        Fault("fail", method="GET", path="/associations/"),
        Fault("html", method="GET", path="/associations/"),
        Fault("garbage", path="/batch/read"),
        Fault("fail", path="/batch/read"),
    ):
        tool.misbehaviour.faults.append(fault)
        assert isinstance(await action.find(call, value, KEY), CannotTell)
    await act(tool, "delete_deal", deal=made["deal"])
    assert isinstance(await action.find(call, value, KEY), CannotTell)


async def test_what_is_new_stays_hidden_from_look_ups_while_the_tool_lags(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    tool.misbehaviour.lag_s = 60
    value, action = AddNote(at=NOW, deal=made["deal"], text="x"), CONNECTOR.about.action("add_note")
    assert action is not None
    await perform(call, "add_note", value)
    assert await action.find(call, value, KEY) == Absent()
    tool.misbehaviour.lag_s = 0
    assert isinstance(await action.find(call, value, KEY), Found)


async def test_the_standing_moves_forward_and_a_move_back_is_refused(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)

    def given(standing: str) -> SetFields:
        return SetFields(record=made["company"], values={"client.standing": standing})

    assert await perform(call, "set_fields", given("client")) == Done(record_id=made["company"])
    refused = await perform(call, "set_fields", given("lead"))
    assert isinstance(refused, Refused)
    assert "forward only" in refused.reason
    assert tool.state.get("companies", made["company"]).properties["lifecyclestage"] == "customer"


async def test_it_refuses_what_hubspot_refuses(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)

    async def status(method: Any, path: str, body: Any) -> int:
        return (await call.send(Request(method=method, path=path, json=body))).status

    deal = f"/crm/v3/objects/deals/{made['deal']}"
    tie = {"to": {"id": made["deal"]}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 214}]}
    note = {"hs_note_body": "x", "hs_timestamp": "2026-05-04T09:30:00Z"}
    assert await status("PATCH", deal, {"properties": {"colour": "red"}}) == 400
    assert await status("PATCH", deal, {"properties": {"dealstage": "nowhere"}}) == 400
    assert await status("PATCH", deal, {"props": {}}) == 400
    assert await status("POST", "/crm/v3/objects/notes", {"properties": {"hs_note_body": "x"}, "associations": [tie]}) == 400
    wrong = {**tie, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 202}]}
    assert await status("POST", "/crm/v3/objects/notes", {"properties": note, "associations": [wrong]}) == 400
    assert (
        await status("POST", "/crm/v3/objects/notes", {"properties": note, "associations": [{**tie, "to": {"id": "1"}}]}) == 404
    )
    assert said(tool, "created", "note") == []
    assert await status("POST", "/crm/v3/objects/contacts", {"properties": {"email": "ida@brightwater.example"}}) == 409
    call.token = "wrong"
    assert await status("GET", deal, None) == 401
