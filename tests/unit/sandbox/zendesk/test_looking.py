"""The simulated Zendesk lets in and shows what it should."""

from __future__ import annotations

import pytest

from lifecyclehub.errors import RecordGone
from lifecyclehub.messages import Ref, Request
from lifecyclehub.sandbox.zendesk import ZendeskTool
from tests.support.zendesk_tool import CONNECTOR, HttpCall, opened, said

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
