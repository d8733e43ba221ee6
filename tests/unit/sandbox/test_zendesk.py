"""The simulated Zendesk, driven over real HTTP by the connector's own code."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecyclehub.connector import Endpoint, Subscription
from lifecyclehub.connector.roles import AddInternalComment, AddTag
from lifecyclehub.errors import RecordGone
from lifecyclehub.messages import Absent, Delivery, Done, Found, Key, Ref, Refused, Reply, Request, Unknown
from lifecyclehub.sandbox.faults import Fault, Hooking
from lifecyclehub.sandbox.history import read_history
from lifecyclehub.sandbox.zendesk import ZendeskTool
from lifecyclehub.signatures import Secret, verify
from lifecyclehub_zendesk import Zendesk

KEY = Key(idempotency="k-1", marker="lh-7k2m9qx3ab")
OTHER = "lh-0000000000"
CONNECTOR = Zendesk()
DOOR = CONNECTOR.about.doors[0]


class HttpCall:
    """A call over HTTP that gets its token as the connector describes it."""

    def __init__(self, tool: ZendeskTool, client: httpx.AsyncClient) -> None:
        self._tool, self._client, self.token = tool, client, ""
        self.ahead = timedelta()

    @property
    def account(self) -> str:
        return self._tool.account_id

    @property
    def settings(self) -> Mapping[str, str]:
        return self._tool.settings()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def authorize(self, **change: str) -> httpx.Response:
        auth = CONNECTOR.about.auth(self._tool.auth)
        assert auth is not None
        assert auth.body_json
        form = {"grant_type": "client_credentials", "scope": auth.scope, **self._tool.credentials, **change}
        reply = await self._client.post(auth.token_path, json=form)
        if reply.is_success:
            self.token = reply.json()["access_token"]
        return reply

    async def send(self, request: Request) -> Reply:
        headers = {"authorization": f"Bearer {self.token}"}
        query = httpx.QueryParams(request.query)
        reply = await self._client.request(request.method, request.path, params=query, json=request.json, headers=headers)
        return Reply(status=reply.status_code, headers={k.lower(): v for k, v in reply.headers.items()}, body=reply.content)


class Hub:
    """A listener that keeps what Zendesk sends."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.got.append(({k.decode(): v.decode() for k, v in scope["headers"]}, message["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def tool(tmp_path: Path) -> AsyncIterator[ZendeskTool]:
    tool = ZendeskTool(tmp_path)
    await tool.start()
    yield tool
    await tool.stop()


@pytest.fixture
async def call(tool: ZendeskTool) -> AsyncIterator[HttpCall]:
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        call = HttpCall(tool, client)
        await call.authorize()
        yield call


async def opened(tool: ZendeskTool, **more: Any) -> dict[str, Any]:
    facts = {
        "subject": "Checkout shows the old logo",
        "text": "Since this morning the checkout shows our old logo.",
        "requester_name": "Ida Brandt",
        "requester_email": "ida@brightwater.example",
        "organization": "Brightwater Foods",
        **more,
    }
    return await tool.open_ticket(**facts)


def said(tool: ZendeskTool, what: str) -> list[dict[str, Any]]:
    return [line for line in read_history(tool.history.path) if line["what"] == what]


async def sent(tool: ZendeskTool, hub: Hub) -> list[tuple[dict[str, str], bytes]]:
    """Send every webhook that waits to the hub, in this process."""
    transport = httpx.ASGITransport(app=hub)
    async with httpx.AsyncClient(transport=transport) as client:
        while not tool._sending.empty():
            await tool._ring_burst(client, tool._sending.get_nowait())
    return hub.got


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[ZendeskTool]:
    """A tool that does not listen: its webhooks are sent by the test."""
    tool = ZendeskTool(tmp_path)
    tool.port = 1
    yield tool
    tool.history.close()


def delivered(headers: dict[str, str], body: bytes) -> Delivery:
    parsed = json.loads(body)
    return Delivery(id="d1", door=DOOR.name, headers=headers, body=body, json=parsed, received_at=datetime.now(UTC))


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_connection_test_names_the_account(call: HttpCall) -> None:
    accounts = await CONNECTOR.accounts(call)
    assert [account.id for account in accounts] == ["northwind"]


@pytest.mark.anyio
async def test_a_wrong_client_secret_gets_no_token(call: HttpCall) -> None:
    reply = await call.authorize(client_secret="wrong")
    assert reply.status_code == 401
    assert reply.json()["error"] == "invalid_client"


@pytest.mark.anyio
async def test_an_expired_token_is_refused_until_a_new_one_is_asked_for(tool: ZendeskTool, call: HttpCall) -> None:
    me = Request(method="GET", path="/api/v2/users/me.json")
    await tool.door.expire_tokens()
    assert (await call.send(me)).status == 401
    await call.authorize()
    assert (await call.send(me)).status == 200


@pytest.mark.anyio
async def test_a_token_for_reading_writes_nothing(tool: ZendeskTool, call: HttpCall) -> None:
    ticket = (await opened(tool))["ticket"]
    await call.authorize(scope="read")
    reply = await call.send(Request(method="PUT", path=f"/api/v2/tickets/{ticket}/tags.json", json={"tags": ["x"]}))
    assert reply.status == 403


# --- records ----------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_ticket_comes_with_its_requester_its_organization_and_its_project(tool: ZendeskTool, call: HttpCall) -> None:
    made = await opened(tool, project_ref="https://app.asana.example/0/1201/list")
    ticket = await CONNECTOR.fetch(call, Ref("zendesk.ticket", made["ticket"]))
    assert ticket.data["subject"] == "Checkout shows the old logo"
    assert ticket.data["project_ref"] == "https://app.asana.example/0/1201/list"
    assert ticket.data["requester"]["email"] == "ida@brightwater.example"
    assert ticket.data["assignee"]["name"] == "Mette Holm"
    assert ticket.url == made["url"]
    assert [(one.kind, one.id) for one in ticket.related] == [
        ("zendesk.user", made["requester"]),
        ("zendesk.organization", made["organization"]),
    ]


@pytest.mark.anyio
async def test_users_and_organizations_can_be_fetched_alone(tool: ZendeskTool, call: HttpCall) -> None:
    made = await opened(tool)
    user = await CONNECTOR.fetch(call, Ref("zendesk.user", made["requester"]))
    organization = await CONNECTOR.fetch(call, Ref("zendesk.organization", made["organization"]))
    assert user.data["name"] == "Ida Brandt"
    assert user.related == (organization,)
    assert organization.data["domain_names"] == ["brightwater.example"]


@pytest.mark.anyio
async def test_a_deleted_ticket_is_gone_until_it_is_restored(tool: ZendeskTool, call: HttpCall) -> None:
    ref = Ref("zendesk.ticket", (await opened(tool))["ticket"])
    await tool.delete_ticket(ref.id)
    with pytest.raises(RecordGone):
        await CONNECTOR.fetch(call, ref)
    await tool.restore_ticket(ref.id)
    assert (await CONNECTOR.fetch(call, ref)).id == ref.id


@pytest.mark.anyio
async def test_unknown_parameters_and_fields_are_refused(tool: ZendeskTool, call: HttpCall) -> None:
    ticket = (await opened(tool))["ticket"]
    path = f"/api/v2/tickets/{ticket}.json"
    assert (await call.send(Request(method="GET", path=path, query=(("include", "moods"),)))).status == 400
    for body, status in (
        ({"ticket": {"mood": "bad"}}, 422),
        ({"ticket": {"comment": {"body": ""}}}, 422),
        ({"ticket": {"comment": {"body": "x", "mood": 1}}}, 422),
        ({"ticket": {"custom_fields": [{"id": 1, "value": "x"}]}}, 422),
        ({"ticket": {"status": "happy"}}, 422),
        ({"tickets": {}}, 400),
    ):
        assert (await call.send(Request(method="PUT", path=path, json=body))).status == status
    assert said(tool, "commented") == []


# --- actions ----------------------------------------------------------------------------------------------------------


async def comment_on(call: HttpCall, ticket: str, text: str = "Project: https://app.asana.example/0/1201") -> tuple[Any, Any]:
    action = CONNECTOR.about.action("add_internal_comment")
    assert action is not None
    value = AddInternalComment(ticket=ticket, text=text)
    request = action.render(value, {"comment": {"body": value.text}}, KEY)
    return action.judge(await call.send(request), request), await action.find(call, value, KEY)


@pytest.mark.anyio
async def test_an_internal_comment_is_made_once_and_found_by_its_marker(tool: ZendeskTool, call: HttpCall) -> None:
    made = await opened(tool)
    outcome, sighting = await comment_on(call, made["ticket"], f"Project {OTHER} is https://app.asana.example/0/1201")
    assert isinstance(outcome, Done)
    assert isinstance(sighting, Found)
    assert [one.record_id for one in sighting.records] == [outcome.record_id]
    assert outcome.url == made["url"]
    lines = said(tool, "commented")
    assert [(line["marker"], line["public"], line["by"]) for line in lines] == [(KEY.marker, False, "api")]


@pytest.mark.anyio
async def test_a_comment_is_found_behind_more_than_one_page(tool: ZendeskTool, call: HttpCall) -> None:
    ticket = (await opened(tool))["ticket"]
    for number in range(205):
        await tool.comment(ticket, f"note {number}", public=False)
    outcome, sighting = await comment_on(call, ticket)
    assert isinstance(outcome, Done)
    assert isinstance(sighting, Found)


@pytest.mark.anyio
async def test_a_closed_ticket_refuses_the_comment_and_says_why(tool: ZendeskTool, call: HttpCall) -> None:
    ticket = (await opened(tool))["ticket"]
    await tool.solve_ticket(ticket)
    await tool.close_ticket(ticket)
    outcome, sighting = await comment_on(call, ticket)
    assert isinstance(outcome, Refused)
    assert "closed prevents ticket update" in outcome.reason
    assert isinstance(sighting, Absent)


@pytest.mark.anyio
async def test_a_comment_stays_hidden_for_the_lag_then_is_found(tool: ZendeskTool, call: HttpCall) -> None:
    ticket = (await opened(tool))["ticket"]
    tool.misbehaviour.lag_s = 3600
    outcome, hidden = await comment_on(call, ticket)
    assert isinstance(outcome, Done)
    assert isinstance(hidden, Absent)
    tool.misbehaviour.lag_s = 0
    action = CONNECTOR.about.action("add_internal_comment")
    assert action is not None
    assert isinstance(await action.find(call, AddInternalComment(ticket=ticket, text="x"), KEY), Found)


@pytest.mark.anyio
async def test_a_lost_answer_leaves_the_comment_to_be_found(tool: ZendeskTool, call: HttpCall) -> None:
    ticket = (await opened(tool))["ticket"]
    tool.misbehaviour.faults = [Fault("lose_answer", method="PUT")]
    with pytest.raises(httpx.HTTPError):
        await comment_on(call, ticket)
    action = CONNECTOR.about.action("add_internal_comment")
    assert action is not None
    assert isinstance(await action.find(call, AddInternalComment(ticket=ticket, text="x"), KEY), Found)


@pytest.mark.anyio
async def test_a_login_page_leaves_it_unknown(tool: ZendeskTool, call: HttpCall) -> None:
    ticket = (await opened(tool))["ticket"]
    tool.misbehaviour.faults = [Fault("html", method="PUT")]
    outcome, sighting = await comment_on(call, ticket)
    assert isinstance(outcome, Unknown)
    assert isinstance(sighting, Absent)


@pytest.mark.anyio
async def test_a_tag_set_twice_changes_once(tool: ZendeskTool, call: HttpCall) -> None:
    ticket = (await opened(tool))["ticket"]
    action = CONNECTOR.about.action("add_tag")
    assert action is not None
    value = AddTag(ticket=ticket, tag="in-project")
    request = action.render(value, {"tags": ["in-project"]}, KEY)
    assert isinstance(await action.find(call, value, KEY), Absent)
    for _ in range(2):
        assert isinstance(action.judge(await call.send(request), request), Done)
    assert isinstance(await action.find(call, value, KEY), Found)
    assert [line["added"] for line in said(tool, "tagged")] == [["in-project"]]


# --- sweeps -----------------------------------------------------------------------------------------------------------


async def swept(call: HttpCall, kind: str, cursor: str | None = None, *, full: bool = True) -> list[Any]:
    return [page async for page in CONNECTOR.sweep(call, kind, cursor, full=full)]


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "part"), [("ticket", "ticket"), ("user", "requester"), ("organization", "organization")])
async def test_a_full_sweep_lists_what_is_there(tool: ZendeskTool, call: HttpCall, kind: str, part: str) -> None:
    made = await opened(tool)
    pages = await swept(call, f"zendesk.{kind}")
    assert [notice.record_id for page in pages for notice in page.notices] == [made[part]]
    assert pages[-1].last
    assert pages[-1].cursor is None


@pytest.mark.anyio
async def test_a_sweep_goes_on_where_the_last_one_began_and_sees_deletes(tool: ZendeskTool, call: HttpCall) -> None:
    made = await opened(tool)
    first = await swept(call, "zendesk.ticket", full=False)
    await tool.delete_ticket(made["ticket"])
    again = await swept(call, "zendesk.ticket", first[-1].cursor, full=False)
    assert [(notice.record_id, notice.change) for notice in again[0].notices] == [(made["ticket"], "deleted")]


@pytest.mark.anyio
async def test_a_sweep_walks_through_many_pages(tool: ZendeskTool, call: HttpCall) -> None:
    for number in range(520):
        await tool.open_ticket(f"Question {number}", "How?", "Ida Brandt", "ida@brightwater.example")
    pages = await swept(call, "zendesk.ticket")
    assert len(pages) == 3
    assert len({notice.record_id for page in pages for notice in page.notices}) == 520


@pytest.mark.anyio
async def test_a_start_time_that_is_too_recent_is_refused(call: HttpCall) -> None:
    recent = str(int(datetime.now(UTC).timestamp()))
    path = "/api/v2/incremental/tickets/cursor.json"
    assert (await call.send(Request(method="GET", path=path, query=(("start_time", recent),)))).status == 422


# --- webhooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_change_rings_signed_and_the_connector_reads_it(silent: ZendeskTool) -> None:
    hub = Hub()
    hook = await silent.door.set_webhook("http://127.0.0.1:9/hooks/ep_1")
    made = await opened(silent)
    await silent.solve_ticket(made["ticket"])
    await silent.delete_ticket(made["ticket"])
    got = await sent(silent, hub)
    assert hook["signing_secret"] == silent.signing_secret
    for headers, body in got:
        secret = [Secret("s", hook["signing_secret"].encode())]
        url = "http://127.0.0.1:9/hooks/ep_1"
        verdict = verify(DOOR.signature, secret, method="POST", url=url, headers=headers, body=body, now=datetime.now(UTC))
        assert verdict.ok, verdict
        forged = verify(DOOR.signature, secret, method="POST", url=url, headers=headers, body=body + b" ", now=datetime.now(UTC))
        assert forged.reason == "bad-signature"
    notices = [notice for headers, body in got for notice in CONNECTOR.read(delivered(headers, body))]
    assert [(notice.kind, notice.change) for notice in notices] == [
        ("zendesk.organization", "changed"),
        ("zendesk.user", "changed"),
        ("zendesk.ticket", "changed"),
        ("zendesk.ticket", "changed"),
        ("zendesk.ticket", "changed"),
        ("zendesk.ticket", "deleted"),
    ]
    assert len({notice.key for notice in notices}) == 6
    assert {notice.record_id for notice in notices} == {made["ticket"], made["requester"], made["organization"]}


@pytest.mark.anyio
async def test_a_repeated_webhook_has_the_same_invocation_and_another_event_has_not(silent: ZendeskTool) -> None:
    hub = Hub()
    await silent.door.set_webhook("http://127.0.0.1:9/hooks/ep_1")
    silent.misbehaviour.hooks = Hooking(copies=2)
    await opened(silent)
    got = await sent(silent, hub)
    assert DOOR.delivery_key is not None
    ids = [headers[DOOR.delivery_key.lower()] for headers, _ in got]
    assert len(ids) == 8
    assert len(set(ids)) == 4


@pytest.mark.anyio
async def test_subscribing_makes_one_webhook_that_is_probed_and_ended(tool: ZendeskTool, call: HttpCall) -> None:
    endpoint = Endpoint(id="ep_1", url="http://127.0.0.1:9/hooks/ep_1", door=DOOR.name)
    subscription = await CONNECTOR.subscribe(call, endpoint)
    assert isinstance(subscription, Subscription)
    assert subscription.secret
    assert await CONNECTOR.subscribe(call, endpoint) == subscription
    assert len(tool.records.webhooks) == 1
    assert (await CONNECTOR.probe(call, subscription)).ok
    tool.records.webhooks[subscription.id].status = "inactive"
    assert not (await CONNECTOR.probe(call, subscription)).ok
    await CONNECTOR.unsubscribe(call, subscription)
    await CONNECTOR.unsubscribe(call, subscription)
    assert tool.records.webhooks == {}
    assert "deleted" in (await CONNECTOR.probe(call, subscription)).reason
