"""The simulated Asana, driven by the connector over real HTTP, and held against Asana's own description."""

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
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from lifecyclehub.connector import Endpoint, Subscription
from lifecyclehub.errors import ConfigurationError, NeedsReauthorization, RecordGone, TryAgain
from lifecyclehub.messages import Absent, Accepted, CannotTell, Delivery, Done, Found, Key, Ref, Refused, Reply, Request
from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.faults import Fault
from lifecyclehub.sandbox.history import read_history
from lifecyclehub.signatures import Secret, verify
from lifecyclehub.testing import VendorSpec
from lifecyclehub.testing.defaults import map_out
from lifecyclehub_asana import Asana

pytestmark = pytest.mark.anyio

ASANA = Asana()
SPEC = VendorSpec("asana/asana_oas.yaml")
KEY = Key(idempotency="key-1", marker="lh-7k2m9qx3ab")
# Asana's file describes rows of lists and people inside records without the fields that opt_fields asks for.
UNDESCRIBED = ("owner.name", "owner.email", "assignee.email", "$.data[")


class ToolCall:
    """A call to the simulated tool over HTTP; everything sent and answered is kept."""

    def __init__(self, tool: AsanaTool, token: str | None = None) -> None:
        self.account, self.settings = tool.account_id, tool.settings()
        self.exchanged: list[tuple[Request, Reply]] = []
        self._headers = {"authorization": f"Bearer {token or tool.credentials['token']}"}

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def send(self, request: Request) -> Reply:
        async with httpx.AsyncClient(base_url=self.settings[f"base_url.{request.host}"], trust_env=False) as client:
            try:
                answer = await client.request(
                    request.method, request.path, params=list(request.query), json=request.json, headers=self._headers
                )
            except httpx.HTTPError as fault:
                raise TryAgain(str(fault)) from fault
        reply = Reply(status=answer.status_code, headers=dict(answer.headers), body=answer.content)
        self.exchanged.append((request, reply))
        if reply.status == 401:
            raise NeedsReauthorization("status 401")
        return reply


class Doorbell:
    """A hub's address: echoes the handshake unless told not to, and keeps what rings."""

    def __init__(self) -> None:
        self.rung: list[tuple[dict[str, str], bytes]] = []
        self.secrets: list[str] = []
        self.echo, self.status = True, 200
        self.url = ""

    async def hear(self, request: HttpRequest) -> Response:
        secret = request.headers.get("x-hook-secret")
        if secret is not None:
            self.secrets.append(secret)
            return Response(headers={"X-Hook-Secret": secret} if self.echo else {})
        self.rung.append((dict(request.headers), await request.body()))
        return Response(status_code=self.status)

    def events(self) -> list[tuple[str, str]]:
        bodies = [json.loads(body) for _, body in self.rung]
        return [(event["action"], event["resource"]["gid"]) for body in bodies for event in body["events"]]

    async def heard(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.rung) < count:  # noqa: ASYNC110 (a server that other code drives)
                await asyncio.sleep(0.005)


@pytest.fixture
async def tool(tmp_path: Path) -> AsyncIterator[AsanaTool]:
    tool = AsanaTool(tmp_path, job_delay_s=0.02)
    await tool.start()
    yield tool
    await tool.stop()


@pytest.fixture
async def doorbell() -> AsyncIterator[Doorbell]:
    bell = Doorbell()
    app = Starlette(routes=[Route("/hooks/ep_1", bell.hear, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    runner = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    bell.url = f"http://127.0.0.1:{port}/hooks/ep_1"
    yield bell
    server.should_exit = True
    await runner


@pytest.fixture
def call(tool: AsanaTool) -> ToolCall:
    return ToolCall(tool)


def told(tool: AsanaTool, what: str) -> list[dict[str, Any]]:
    return [line for line in read_history(tool.history.path) if line["what"] == what]


async def done(call: ToolCall, name: str, value: Mapping[str, Any], key: Key = KEY) -> Any:
    """Do an action as the core would: map, render, send, judge; ask after a job until it is over."""
    action = ASANA.about.action(name)
    assert action is not None
    v = action.input.model_validate(value)
    found = {"settings": {"team": call.settings["team"]}, "account": {"id": call.account}}
    request = action.render(v, map_out(ASANA, action, v, found), key)
    outcome = action.judge(await call.send(request), request)
    while isinstance(outcome, Accepted):
        await asyncio.sleep(0.005)
        outcome = await action.check(call, outcome.handle)
    return outcome


async def seen(call: ToolCall, name: str, value: Mapping[str, Any], key: Key = KEY) -> Any:
    action = ASANA.about.action(name)
    assert action is not None
    return await action.find(call, action.input.model_validate(value), key)


async def subscribed(call: ToolCall, bell: Doorbell) -> Subscription:
    return await ASANA.subscribe(call, Endpoint(id="ep_1", url=bell.url, door="webhook"))


class TestProjects:
    async def test_a_blank_project_carries_its_marker_and_is_found_by_it(self, tool: AsanaTool, call: ToolCall) -> None:
        assert await seen(call, "create_project", {"name": "Website"}) == Absent()
        outcome = await done(call, "create_project", {"name": "Website", "notes": "For Brightwater Foods."})
        assert isinstance(outcome, Done)
        [created] = told(tool, "created")
        assert (created["kind"], created["id"], created["marker"]) == ("project", outcome.record_id, KEY.marker)
        assert await seen(call, "create_project", {"name": "Website"}) == Found(
            (Done(record_id=outcome.record_id, url=outcome.url),)
        )

    async def test_a_project_from_a_template_is_made_by_a_job_and_loses_its_code_by_a_rename(
        self, tool: AsanaTool, call: ToolCall
    ) -> None:
        template = (await tool.add_template("Website", ["Kick-off", "Launch"]))["id"]
        outcome = await done(call, "create_project", {"name": "Brightwater website", "template": template})
        assert isinstance(outcome, Done)
        assert outcome.url
        assert isinstance(await seen(call, "create_project", {"name": "x", "template": template}), Found)
        renamed = await done(call, "rename_project", {"project": outcome.record_id, "name": "Brightwater website"})
        assert isinstance(renamed, Done)
        [project] = (await tool.everything())["projects"]
        assert project["name"] == "Brightwater website"
        assert [one["name"] for one in project["tasks"]] == ["Kick-off", "Launch"]
        assert len([line for line in told(tool, "created") if line["kind"] == "project"]) == 1

    async def test_an_unfinished_job_says_so(self, tool: AsanaTool, call: ToolCall) -> None:
        tool.job_delay_s = 5
        action = ASANA.about.action("create_project")
        assert action is not None
        template = (await tool.add_template("Website"))["id"]
        v = action.input.model_validate({"name": "Website", "template": template})
        request = action.render(v, {"name": "Website"}, KEY)
        accepted = action.judge(await call.send(request), request)
        assert isinstance(accepted, Accepted)
        assert await action.check(call, accepted.handle) == accepted
        assert not told(tool, "created")

    async def test_a_project_in_the_archive_is_still_found(self, tool: AsanaTool, call: ToolCall) -> None:
        outcome = await done(call, "create_project", {"name": "Website"})
        await tool.archive_project(outcome.record_id)
        assert isinstance(await seen(call, "create_project", {"name": "Website"}), Found)

    async def test_a_project_is_found_among_hundreds(self, tool: AsanaTool, call: ToolCall) -> None:
        for number in range(230):
            tool.state.add_project(f"Old {number}", tool.state.person)
        await done(call, "create_project", {"name": "Website"})
        assert isinstance(await seen(call, "create_project", {"name": "Website"}), Found)

    async def test_a_copy_made_by_a_person_is_found_too_so_that_a_person_chooses(self, tool: AsanaTool, call: ToolCall) -> None:
        outcome = await done(call, "create_project", {"name": "Website"})
        await tool.copy_project(outcome.record_id)
        sighting = await seen(call, "create_project", {"name": "Website"})
        assert len(sighting.records) == 2

    async def test_within_the_lag_a_new_project_is_not_in_the_lists(self, tool: AsanaTool, call: ToolCall) -> None:
        tool.misbehaviour.lag_s = 60
        await done(call, "create_project", {"name": "Website"})
        assert await seen(call, "create_project", {"name": "Website"}) == Absent()

    async def test_a_lost_answer_has_made_the_project_all_the_same(self, tool: AsanaTool, call: ToolCall) -> None:
        tool.misbehaviour.faults = [Fault(do="lose_answer", path="/projects$")]
        with pytest.raises(TryAgain):
            await done(call, "create_project", {"name": "Website"})
        assert isinstance(await seen(call, "create_project", {"name": "Website"}), Found)

    async def test_a_failing_list_is_no_absence(self, tool: AsanaTool, call: ToolCall) -> None:
        tool.misbehaviour.faults = [Fault(do="fail", method="GET", path="/projects$")]
        assert isinstance(await seen(call, "create_project", {"name": "Website"}), CannotTell)

    async def test_completing_is_read_back_and_deleting_is_gone(self, tool: AsanaTool, call: ToolCall) -> None:
        outcome = await done(call, "create_project", {"name": "Website"})
        await tool.complete_project(outcome.record_id)
        document = await ASANA.fetch(call, Ref("asana.project", outcome.record_id))
        assert document.data["completed"] is True
        assert (document.marker, document.account) == (KEY.marker, tool.account_id)
        assert document.data["owner"]["email"] == "hub@northwind-atelier.example"
        await tool.delete_project(outcome.record_id)
        with pytest.raises(RecordGone):
            await ASANA.fetch(call, Ref("asana.project", outcome.record_id))

    async def test_a_sweep_sees_what_changed_and_nothing_older(self, tool: AsanaTool, call: ToolCall) -> None:
        old = tool.state.add_project("Old", tool.state.person)
        old |= {"modified_at": "2020-01-01T00:00:00.000Z"}
        [first] = [page async for page in ASANA.sweep(call, "asana.project", None, full=False)]
        made = await tool.create_project_by_hand("New")
        pages = [page async for page in ASANA.sweep(call, "asana.project", first.cursor, full=False)]
        assert [notice.record_id for page in pages for notice in page.notices] == [made["id"]]
        pages = [page async for page in ASANA.sweep(call, "asana.project", None, full=True)]
        assert {notice.record_id for page in pages for notice in page.notices} == {made["id"], old["gid"]}


class TestTasks:
    async def test_a_task_with_assignee_and_due_date_and_a_comment_on_it_are_found_again(
        self, tool: AsanaTool, call: ToolCall
    ) -> None:
        project = (await tool.create_project_by_hand("Website"))["id"]
        value = {
            "project": project,
            "title": "Kick-off",
            "owner_email": "tomas@northwind-atelier.example",
            "due_on": "2026-07-01",
        }
        assert await seen(call, "create_task", value) == Absent()
        outcome = await done(call, "create_task", value)
        assert await seen(call, "create_task", value) == Found((Done(record_id=outcome.record_id, url=outcome.url),))
        comment = {"project": project, "task": outcome.record_id, "text": "Ticket 4711"}
        assert await seen(call, "add_comment", comment) == Absent()
        said = await done(call, "add_comment", comment)
        assert await seen(call, "add_comment", comment) == Found((Done(record_id=said.record_id),))
        [shown] = (await tool.everything())["projects"][0]["tasks"]
        assert (shown["assignee"], shown["due_on"]) == ("tomas@northwind-atelier.example", "2026-07-01")
        assert shown["comments"] == [f"Ticket 4711\n\n{KEY.marker}"]
        assert [line["marker"] for line in told(tool, "commented")] == [KEY.marker]

    async def test_an_assignee_from_elsewhere_is_refused_and_nothing_is_made(self, tool: AsanaTool, call: ToolCall) -> None:
        project = (await tool.create_project_by_hand("Website"))["id"]
        outcome = await done(call, "create_task", {"project": project, "title": "x", "owner_email": "who@elsewhere.example"})
        assert isinstance(outcome, Refused)
        assert "assignee" in outcome.reason
        assert not (await tool.everything())["projects"][0]["tasks"]


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
        who = "ines@northwind-atelier.example"
        item = (await done(call, "create_task", {"project": project, "title": "Kick-off", "owner_email": who})).record_id
        story = (await done(call, "add_comment", {"project": project, "task": item, "text": "Hello"})).record_id
        await seen(call, "create_project", {"name": "A"})
        await seen(call, "create_task", {"project": project, "title": "Kick-off"})
        await seen(call, "add_comment", {"project": project, "task": item, "text": "Hello"})
        for ref in (Ref("asana.project", project), Ref("asana.task", item), Ref("asana.story", story)):
            await ASANA.fetch(call, ref)
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
