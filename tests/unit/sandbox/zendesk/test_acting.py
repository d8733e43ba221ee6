"""The simulated Zendesk does what it is told, is swept, and calls."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from lifecyclehub.connector import Endpoint, Subscription
from lifecyclehub.connector.roles import AddInternalComment, AddTag
from lifecyclehub.messages import Absent, Done, Found, Refused, Request, Unknown
from lifecyclehub.sandbox.faults import Fault, Hooking
from lifecyclehub.sandbox.zendesk import ZendeskTool
from lifecyclehub.signatures import Secret, verify
from tests.support.zendesk_tool import CONNECTOR, DOOR, KEY, OTHER, HttpCall, Hub, delivered, opened, said, sent

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
