"""The simulated Asana refuses, calls, and is held against Asana's own description."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from lifecyclehub.errors import ConfigurationError, NeedsReauthorization
from lifecyclehub.messages import Delivery, Ref, Request
from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.signatures import Secret, verify
from tests.support.asana_tool import ASANA, SPEC, UNDESCRIBED, Doorbell, ToolCall, done, person, seen, subscribed, told

pytestmark = pytest.mark.anyio


class TestRefusals:
    @pytest.mark.parametrize(
        ("method", "path", "body", "says"),
        [
            ("POST", "/projects", {"name": "x", "colour": "red"}, "colour: Unrecognized property"),
            ("POST", "/projects", {"name": "x"}, "workspace: Missing input"),
            ("POST", "/projects", {"name": 7}, "name: Not a string"),
            ("POST", "/tasks", {"name": "x"}, "workspace: Missing input"),
            ("POST", "/webhooks", {"resource": "1"}, "target: Missing input"),
            ("POST", "/projects", None, "data: Missing input"),
            ("GET", "/projects?limit=101", None, "limit: Must be between 1 and 100"),
            ("GET", "/projects?limit=1&offset=bm9uZQ==", None, "offset: Your pagination token is invalid"),
            ("GET", "/tasks", None, "exactly one of project"),
            ("GET", "/projects/1", None, "project: Unknown object: 1"),
        ],
    )
    async def test_what_is_wrong_is_refused_in_asanas_shape(
        self, tool: AsanaTool, call: ToolCall, method: Any, path: str, body: Any, says: str
    ) -> None:
        where, _, query = path.partition("?")
        pairs = [tuple(pair.split("=", 1)) for pair in query.split("&") if query]
        if where == "/projects" and method == "GET":
            pairs.append(("workspace", tool.account_id))
        content = {} if body is None else {"data": body}
        request = Request(method=method, path=where, query=tuple(pairs), json=content if method == "POST" else None)
        reply = await call.send(request)
        assert reply.status in (400, 404)
        assert any(says in error["message"] and error["help"] for error in reply.json()["errors"])
        assert not told(tool, "created")

    async def test_a_wrong_token_is_not_authorized(self, tool: AsanaTool) -> None:
        with pytest.raises(NeedsReauthorization):
            await ASANA.accounts(ToolCall(tool, token="1/wrong:token"))

    async def test_a_refresh_token_buys_an_access_token(self, tool: AsanaTool) -> None:
        auth = ASANA.about.auth("oauth")
        assert auth is not None
        async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
            form = {"grant_type": "refresh_token", **tool.oauth}
            token = (await client.post(auth.token_path, data=form)).json()["access_token"]
            refused = await client.post(auth.token_path, data=form | {"refresh_token": "wrong"})
        assert refused.status_code == 400
        assert [one.id for one in await ASANA.accounts(ToolCall(tool, token))] == [tool.account_id]


class TestWebhooks:
    async def test_the_handshake_happens_while_the_call_is_open_and_names_the_same_secret(
        self, call: ToolCall, doorbell: Doorbell
    ) -> None:
        subscription = await subscribed(call, doorbell)
        assert [subscription.secret] == doorbell.secrets
        assert (await ASANA.probe(call, subscription)).ok

    async def test_without_an_echo_there_is_no_webhook(self, tool: AsanaTool, call: ToolCall, doorbell: Doorbell) -> None:
        doorbell.echo = False
        with pytest.raises(ConfigurationError, match="did not respond to the handshake"):
            await subscribed(call, doorbell)
        assert not tool.state.webhooks.records

    async def test_subscribing_again_replaces_the_webhook_of_that_address(
        self, tool: AsanaTool, call: ToolCall, doorbell: Doorbell
    ) -> None:
        first = await subscribed(call, doorbell)
        second = await subscribed(call, doorbell)
        assert list(tool.state.webhooks.records) == [second.id]
        assert first.secret != second.secret

    async def test_a_delivery_is_signed_with_its_webhooks_own_secret_and_read(
        self, tool: AsanaTool, call: ToolCall, doorbell: Doorbell
    ) -> None:
        subscription = await subscribed(call, doorbell)
        project = (await tool.create_project_by_hand("Website"))["id"]
        await tool.complete_project(project)
        await doorbell.heard(2)
        signature, now = ASANA.about.doors[0].signature, datetime.now(UTC)
        for headers, body in doorbell.rung:
            given = {"method": "POST", "url": doorbell.url, "headers": headers, "body": body, "now": now}
            assert verify(signature, [Secret("s", (subscription.secret or "").encode())], **given).ok
            assert not verify(signature, [Secret("s", b"of another webhook")], **given).ok
        headers, body = doorbell.rung[-1]
        delivery = Delivery(id="d", door="webhook", headers=headers, body=body, json=json.loads(body), received_at=now)
        [notice] = ASANA.read(delivery)
        assert (notice.kind, notice.record_id, notice.actor) == ("asana.project", project, tool.state.person["gid"])

    async def test_our_own_changes_ring_too_and_repeating_one_does_not(self, call: ToolCall, doorbell: Doorbell) -> None:
        await subscribed(call, doorbell)
        project = (await done(call, "create_project", {"name": "Website"})).record_id
        await done(call, "rename_project", {"project": project, "name": "New name"})
        await done(call, "rename_project", {"project": project, "name": "New name"})
        await done(call, "create_task", {"project": project, "title": "Kick-off"})
        await doorbell.heard(2)
        assert doorbell.events() == [("added", project), ("changed", project)]

    async def test_a_heartbeat_is_an_empty_signed_delivery(self, tool: AsanaTool, call: ToolCall, doorbell: Doorbell) -> None:
        await subscribed(call, doorbell)
        await tool.heartbeat()
        await doorbell.heard(1)
        headers, body = doorbell.rung[0]
        assert json.loads(body) == {"events": []}
        assert "x-hook-signature" in headers

    async def test_a_failing_address_shows_in_the_webhooks_state(
        self, tool: AsanaTool, call: ToolCall, doorbell: Doorbell
    ) -> None:
        subscription = await subscribed(call, doorbell)
        doorbell.status = 503
        await tool.heartbeat()
        await doorbell.heard(1)
        async with asyncio.timeout(5):
            while not (health := await ASANA.probe(call, subscription)).reason:  # noqa: ASYNC110 (asked over HTTP)
                await asyncio.sleep(0.005)
        assert health.ok
        assert "503" in health.reason

    async def test_an_ended_webhook_is_not_well_and_ending_it_again_is_fine(self, call: ToolCall, doorbell: Doorbell) -> None:
        subscription = await subscribed(call, doorbell)
        await ASANA.unsubscribe(call, subscription)
        await ASANA.unsubscribe(call, subscription)
        assert not (await ASANA.probe(call, subscription)).ok

    async def test_a_webhook_on_a_workspace_must_have_filters_and_none_for_tasks(
        self, call: ToolCall, doorbell: Doorbell
    ) -> None:
        for filters in ([], [{"resource_type": "task"}], [{"resource_type": "project", "fields": ["name"]}]):
            body = {"resource": call.account, "target": doorbell.url, "filters": filters}
            reply = await call.send(Request(method="POST", path="/webhooks", json={"data": body}))
            assert reply.status == 400
        assert not doorbell.secrets


class TestOwnDescription:
    async def test_everything_said_and_answered_fits_asanas_own_description(
        self, tool: AsanaTool, call: ToolCall, doorbell: Doorbell
    ) -> None:
        checker = SPEC.checker()
        if checker is None:
            pytest.skip("LIFECYCLEHUB_VENDOR_SPECS names no folder with Asana's file")
        await ASANA.accounts(call)
        await ASANA.fields(call, "asana.project")
        subscription = await subscribed(call, doorbell)
        template = (await tool.add_template("Website"))["id"]
        project = (await done(call, "create_project", {"name": "A", "starts_on": "2026-05-11", "due_on": "2026-07-15"})).record_id
        await done(call, "create_project", {"name": "B", "template": template})
        await done(call, "rename_project", {"project": project, "name": "C"})
        who = {"email": "ines@northwind-atelier.example", "record": person(tool, "Ines Okafor")}
        item = (await done(call, "create_task", {"project": project, "title": "Kick-off", "owner": who})).record_id
        story = (await done(call, "add_comment", {"project": project, "task": item, "text": "Hello"})).record_id
        await seen(call, "create_project", {"name": "A"})
        await seen(call, "create_task", {"project": project, "title": "Kick-off"})
        await seen(call, "add_comment", {"project": project, "task": item, "text": "Hello"})
        someone = Ref("asana.user", who["record"])
        for ref in (Ref("asana.project", project), Ref("asana.task", item), Ref("asana.story", story), someone):
            await ASANA.fetch(call, ref)
        _ = [page async for page in ASANA.sweep(call, "asana.user", None, full=True)]
        _ = [page async for page in ASANA.sweep(call, "asana.project", None, full=True)]
        await ASANA.probe(call, subscription)
        plain = ("/users/me", f"/workspaces/{call.account}", "/projects", "/project_templates", f"/project_templates/{template}")
        records = (f"/projects/{project}", f"/tasks/{item}", f"/tasks/{item}/stories", f"/webhooks/{subscription.id}")
        for path in (*plain, *records):
            query = (("workspace", call.account),) if path in ("/projects", "/project_templates") else ()
            await call.send(Request(method="GET", path=path, query=query))
        await ASANA.unsubscribe(call, subscription)
        problems = [
            problem
            for request, reply in call.exchanged
            for problem in SPEC.exchange_problems(checker, request, reply)
            if not any(known in problem for known in UNDESCRIBED)
        ]
        assert all(reply.status < 300 for _, reply in call.exchanged)
        assert len(call.exchanged) > 25
        assert problems == []
