"""What the connector asks Asana, and what it makes of the answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lifecyclehub.connector import Endpoint, Page, Subscription
from lifecyclehub.connector.roles import AddComment
from lifecyclehub.errors import ConfigurationError, Forbidden, NeedsReauthorization, TryAgain, Unsupported
from lifecyclehub.messages import Delivery, Key, Ref, Request
from lifecyclehub.testing import NOW, FakeCall, reply
from lifecyclehub_asana import Asana

pytestmark = pytest.mark.anyio

ASANA = Asana()
WORKSPACE = "1200011112222333"
ENDPOINT = Endpoint(id="ep_asana_1", url="https://hub.example.test/hooks/ep_asana_1", door="webhook")
HOOK = Subscription(id="1209000000000999", resource=WORKSPACE)
NOBODY = reply(404, {"errors": [{"message": "Unknown object"}]})
NO_SUCH_PAGE = reply(400, {"errors": [{"message": "offset: Your pagination token has expired."}]})
LAST: dict[str, Any] = {"next_page": None}


def asked(answers: Any, **more: Any) -> FakeCall:
    return FakeCall(answers, account=WORKSPACE, **more)


def delivered(body: Any) -> Delivery:
    return Delivery(id="dlv_1", door="webhook", headers={}, body=b"", json=body, received_at=NOW)


async def swept(pages: AsyncIterator[Page]) -> list[Page]:
    return [page async for page in pages]


def rows(*changed: tuple[str, str, str | None], offset: str | None = None) -> Any:
    listed = [{"gid": gid, "modified_at": modified, "completed_at": completed} for gid, modified, completed in changed]
    return reply(200, {"data": listed, "next_page": {"offset": offset, "path": "", "uri": ""} if offset else None})


class TestReading:
    @pytest.mark.parametrize("body", [None, {}, {"events": []}])
    def test_a_heartbeat_gives_no_notices(self, body: Any) -> None:
        assert list(ASANA.read(delivered(body))) == []

    @pytest.mark.parametrize("body", [[], "events", {"event": []}, {"events": {}}])
    def test_a_delivery_of_another_shape_is_an_error_and_never_nothing(self, body: Any) -> None:
        with pytest.raises((ValueError, LookupError, TypeError)):
            list(ASANA.read(delivered(body)))

    def test_an_event_at_no_time_is_one_of_unknown_time_and_spoils_no_neighbour(self) -> None:
        named = {"resource": {"gid": "1", "resource_type": "project"}, "action": "changed"}
        events = [named | {"created_at": at} for at in ("", "yesterday", "2026-13-01T00:00:00Z", "2026-11-20T09:00:00.000Z")]
        found = [one.at for one in ASANA.read(delivered({"events": events}))]
        assert found == [None, None, None, datetime(2026, 11, 20, 9, tzinfo=UTC)]

    @pytest.mark.parametrize(
        "bad", [{"resource": {"gid": None, "resource_type": "project"}}, {"action": "changed"}, {"resource": 7}, "event", None]
    )
    def test_an_event_that_names_no_resource_is_kept_as_unreadable_and_spoils_no_neighbour(self, bad: Any) -> None:
        good = {"resource": {"gid": "1", "resource_type": "project"}, "action": "changed"}
        found = ASANA.read(delivered({"events": [bad, good]}))
        assert [(one.kind, one.record_id) for one in found] == [("asana.unreadable", "event-0"), ("asana.project", "1")]


class TestFetching:
    async def test_another_record_than_the_one_asked_for_is_no_answer(self) -> None:
        call = asked({"GET /projects/1": reply(200, {"data": {"gid": "2"}})})
        with pytest.raises(TryAgain, match="answered with 2"):
            await ASANA.fetch(call, Ref("asana.project", "1"))

    @pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
    async def test_a_fault_or_a_proxys_page_is_not_taken_for_a_deleted_project(self, status: int) -> None:
        with pytest.raises(TryAgain, match=f"status {status}"):
            await ASANA.fetch(asked({"GET /projects/1": reply(status, "<html>Not here</html>")}), Ref("asana.project", "1"))

    async def test_a_log_in_page_is_no_project(self) -> None:
        with pytest.raises(TryAgain, match="not Asana's"):
            await ASANA.fetch(asked({"GET /projects/1": reply(200, "<html>")}), Ref("asana.project", "1"))

    async def test_an_id_cannot_leave_its_place_in_the_path(self) -> None:
        call = asked(lambda _: NOBODY)
        with pytest.raises(Exception, match="Unknown object"):
            await ASANA.fetch(call, Ref("asana.project", "1/../../users/me"))
        assert call.requests[0].path == "/projects/1%2F..%2F..%2Fusers%2Fme"

    async def test_a_kind_that_is_not_fetched_says_so(self) -> None:
        with pytest.raises(Unsupported, match=r"asana\.goal"):
            await ASANA.fetch(asked({}), Ref("asana.goal", "1"))


class TestSweeping:
    async def test_a_first_sweep_starts_from_now_without_asking_anything(self) -> None:
        call = asked({})
        [page] = await swept(ASANA.sweep(call, "asana.project", None, full=False))
        assert page.last
        assert page.cursor
        assert not page.notices
        assert not call.requests

    async def test_a_sweep_goes_through_all_pages_of_used_and_archived_projects(self) -> None:
        call = asked(
            {
                "GET /projects?archived=false": rows(("1", "2026-05-04T09:00:00.000Z", None), offset="next"),
                "GET /projects?archived=false&offset=next": rows(("2", "2026-05-04T09:25:00.000Z", None)),
                "GET /projects?archived=true": rows(("3", "2026-05-04T09:26:00.000Z", None)),
            }
        )
        pages = await swept(ASANA.sweep(call, "asana.project", json.dumps({"since": "2026-05-04T09:10:00+00:00"}), full=False))
        assert [notice.record_id for page in pages for notice in page.notices] == ["2", "3"]
        assert [page.last for page in pages] == [False, False, True]

    async def test_a_project_completed_since_is_found_even_if_its_modification_is_old(self) -> None:
        old, new = "2026-05-01T00:00:00.000Z", "2026-05-04T09:20:00.000Z"
        call = asked({"GET /projects?archived=false": rows(("1", old, new)), "GET /projects?archived=true": rows()})
        pages = await swept(ASANA.sweep(call, "asana.project", json.dumps({"since": "2026-05-04T09:10:00+00:00"}), full=False))
        [notice] = pages[0].notices
        assert notice.at == datetime(2026, 5, 4, 9, 20, tzinfo=UTC)

    async def test_the_next_sweep_begins_before_this_one_began(self) -> None:
        call = asked({"GET /projects": rows()})
        pages = await swept(ASANA.sweep(call, "asana.project", json.dumps({"since": None}), full=False))
        since = datetime.fromisoformat(json.loads(pages[-1].cursor or "")["since"])
        assert (NOW - since).total_seconds() == 600

    async def test_a_broken_off_sweep_goes_on_at_its_page(self) -> None:
        call = asked(
            {
                "GET /projects?archived=false": rows(offset="next"),
                "GET /projects?archived=false&offset=next": rows(),
                "GET /projects?archived=true": rows(),
            }
        )
        first = await anext(ASANA.sweep(call, "asana.project", json.dumps({"since": None}), full=False))
        call.requests.clear()
        rest = await swept(ASANA.sweep(call, "asana.project", first.cursor, full=False))
        assert [dict(request.query)["archived"] for request in call.requests] == ["false", "true"]
        assert dict(call.requests[0].query)["offset"] == "next"
        assert rest[-1].last

    @pytest.mark.parametrize("full", [False, True])
    async def test_a_sweep_whose_page_asana_does_not_know_any_more_begins_its_list_again(self, full: bool) -> None:
        old = json.dumps({"since": None, "began": "2026-05-04T09:10:00+00:00", "listed": 1, "offset": "old"})
        call = asked(
            {
                "GET /projects?archived=true&offset=old": NO_SUCH_PAGE,
                "GET /projects?archived=true": rows(("3", "2026-05-04T09:26:00.000Z", None)),
            }
        )
        pages = await swept(ASANA.sweep(call, "asana.project", old, full=full))
        assert [notice.record_id for page in pages for notice in page.notices] == ["3"]
        assert pages[-1].last

    async def test_a_page_that_asana_refuses_again_and_again_ends_the_sweep(self) -> None:
        call = asked(
            {
                "GET /projects?archived=false": rows(offset="next"),
                "GET /projects?archived=false&offset=next": NO_SUCH_PAGE,
            }
        )
        with pytest.raises(TryAgain, match="pagination token has expired"):
            await swept(ASANA.sweep(call, "asana.project", None, full=True))

    async def test_a_full_sweep_gives_every_project_and_ends_without_a_cursor(self) -> None:
        call = asked({"GET /projects?archived=false": rows(("1", "2020-01-01T00:00:00.000Z", None)), "GET /projects": rows()})
        pages = await swept(ASANA.sweep(call, "asana.project", None, full=True))
        assert [notice.record_id for page in pages for notice in page.notices] == ["1"]
        assert pages[-1].cursor is None
        assert pages[-1].last

    async def test_a_row_without_a_time_counts_as_changed(self) -> None:
        call = asked({"GET /projects?archived=false": reply(200, {"data": [{"gid": "7"}], **LAST}), "GET /projects": rows()})
        pages = await swept(ASANA.sweep(call, "asana.project", json.dumps({"since": "2026-05-04T09:10:00+00:00"}), full=False))
        assert [notice.record_id for notice in pages[0].notices] == ["7"]

    @pytest.mark.parametrize("body", [{"data": {}}, {"data": [{"gid": 7}], **LAST}, {"data": [], "next_page": {}}, {}])
    async def test_a_list_that_is_none_ends_the_sweep_with_an_error(self, body: Any) -> None:
        with pytest.raises(TryAgain):
            await swept(ASANA.sweep(asked({"GET /projects": reply(200, body)}), "asana.project", None, full=True))

    async def test_tasks_are_not_swept(self) -> None:
        with pytest.raises(Unsupported):
            ASANA.sweep(asked({}), "asana.task", None, full=False)


class TestAccountsAndFields:
    async def test_the_accounts_are_the_workspaces_of_the_token(self) -> None:
        me = {
            "gid": "9",
            "name": "Hub",
            "workspaces": [{"gid": WORKSPACE, "name": "Northwind Atelier"}, {"gid": "8", "name": "Old"}],
        }
        accounts = await ASANA.accounts(FakeCall({"GET /users/me": reply(200, {"data": me})}, account=""))
        assert [(one.id, one.name) for one in accounts] == [(WORKSPACE, "Northwind Atelier"), ("8", "Old")]

    async def test_a_refused_token_is_no_empty_list_of_accounts(self) -> None:
        with pytest.raises(NeedsReauthorization):
            await ASANA.accounts(asked({"GET /users/me": reply(401, {})}))

    async def test_custom_fields_come_with_their_choices(self) -> None:
        options = [{"gid": "11", "name": "Rush", "enabled": True}, {"gid": "12", "name": "Old", "enabled": False}]
        row = {"gid": "10", "name": "Budget code", "resource_subtype": "enum", "enum_options": options}
        call = asked({f"GET /workspaces/{WORKSPACE}/custom_fields": reply(200, {"data": [row], **LAST})})
        found = await ASANA.fields(call, "asana.project")
        assert {"name", "completed", "owner.email"} <= {field.path for field in found}
        assert (found[-1].label, found[-1].type, found[-1].options) == ("Budget code", "choice", (("11", "Rush"),))
        assert found[-1].path == "custom_fields[?gid=='10'].display_value | [0]"

    @pytest.mark.parametrize("status", [402, 403])
    async def test_a_plan_without_custom_fields_still_has_asanas_own(self, status: int) -> None:
        call = asked({f"GET /workspaces/{WORKSPACE}/custom_fields": reply(status, {})})
        assert "name" in {field.path for field in await ASANA.fields(call, "asana.project")}

    async def test_a_fault_is_not_a_plan_without_custom_fields(self) -> None:
        with pytest.raises(TryAgain):
            await ASANA.fields(asked({f"GET /workspaces/{WORKSPACE}/custom_fields": reply(500, {})}), "asana.project")


class TestSubscribing:
    async def test_a_webhook_is_for_projects_of_the_whole_workspace_and_brings_its_secret(self) -> None:
        made = {"data": {"gid": HOOK.id, "target": ENDPOINT.url, "active": True}, "X-Hook-Secret": "the-secret"}
        call = asked({"GET /webhooks": reply(200, {"data": [], **LAST}), "POST /webhooks": reply(201, made)})
        subscription = await ASANA.subscribe(call, ENDPOINT)
        assert (subscription.id, subscription.secret, subscription.resource) == (HOOK.id, "the-secret", WORKSPACE)
        sent = call.requests[-1].json["data"]
        assert (sent["resource"], sent["target"]) == (WORKSPACE, ENDPOINT.url)
        assert {one["resource_type"] for one in sent["filters"]} == {"project"}
        assert all("fields" not in one for one in sent["filters"])

    async def test_the_secret_may_stand_in_the_header_of_the_reply(self) -> None:
        made = reply(201, {"data": {"gid": HOOK.id}}, {"X-Hook-Secret": "in-the-header"})
        call = asked({"GET /webhooks": reply(200, {"data": [], **LAST}), "POST /webhooks": made})
        assert (await ASANA.subscribe(call, ENDPOINT)).secret == "in-the-header"

    async def test_a_webhook_left_over_for_our_address_goes_first_and_no_other(self) -> None:
        left = [{"gid": "71", "target": ENDPOINT.url}, {"gid": "72", "target": "https://elsewhere.example.test/"}]
        call = asked(
            {
                "GET /webhooks": reply(200, {"data": left, **LAST}),
                "DELETE /webhooks/71": reply(200, {"data": {}}),
                "POST /webhooks": reply(201, {"data": {"gid": HOOK.id}, "X-Hook-Secret": "s"}),
            }
        )
        await ASANA.subscribe(call, ENDPOINT)
        assert [request.method for request in call.requests] == ["GET", "DELETE", "POST"]

    async def test_a_failed_handshake_tells_an_admin_what_to_check(self) -> None:
        refused = reply(400, {"errors": [{"message": "The remote server did not respond to the handshake"}]})
        call = asked({"GET /webhooks": reply(200, {"data": [], **LAST}), "POST /webhooks": refused})
        with pytest.raises(ConfigurationError, match=r"did not respond to the handshake.*check that it is public"):
            await ASANA.subscribe(call, ENDPOINT)

    async def test_a_standing_webhook_is_well(self) -> None:
        state = {"gid": HOOK.id, "active": True, "last_success_at": "2026-05-04T09:00:00.000Z", "last_failure_at": None}
        health = await ASANA.probe(asked({f"GET /webhooks/{HOOK.id}": reply(200, {"data": state})}), HOOK)
        assert health.ok
        assert not health.reason

    async def test_a_webhook_that_asana_retries_stands_and_says_why(self) -> None:
        state = {
            "gid": HOOK.id,
            "active": True,
            "last_success_at": "2026-05-04T08:00:00.000Z",
            "last_failure_at": "2026-05-04T09:00:00.000Z",
            "last_failure_content": "502 Bad\nGateway",
            "failure_deletion_timestamp": "2026-05-05T08:00:00.000Z",
        }
        health = await ASANA.probe(asked({f"GET /webhooks/{HOOK.id}": reply(200, {"data": state})}), HOOK)
        assert health.ok
        assert "2026-05-04 09:00 UTC (502 Bad Gateway)" in health.reason
        assert health.expires_at == datetime(2026, 5, 5, 8, tzinfo=UTC)

    @pytest.mark.parametrize("answer", [NOBODY, reply(200, {"data": {"gid": HOOK.id, "active": False}})])
    async def test_a_deleted_or_inactive_webhook_is_not_well(self, answer: Any) -> None:
        health = await ASANA.probe(asked({f"GET /webhooks/{HOOK.id}": answer}), HOOK)
        assert not health.ok
        assert "Subscribe again" in health.reason

    async def test_a_fault_says_nothing_about_a_webhook(self) -> None:
        with pytest.raises(TryAgain):
            await ASANA.probe(asked({f"GET /webhooks/{HOOK.id}": reply(500, {})}), HOOK)

    @pytest.mark.parametrize("answer", [reply(200, {"data": {}}), NOBODY])
    async def test_ending_a_webhook_twice_is_fine(self, answer: Any) -> None:
        await ASANA.unsubscribe(asked({f"DELETE /webhooks/{HOOK.id}": answer}), HOOK)

    async def test_a_webhook_that_may_not_be_ended_says_so(self) -> None:
        with pytest.raises(Forbidden):
            await ASANA.unsubscribe(asked({f"DELETE /webhooks/{HOOK.id}": reply(403, {})}), HOOK)


class TestActions:
    def test_a_comment_without_a_task_is_refused_before_anything_is_sent(self) -> None:
        action = ASANA.about.action("add_comment")
        assert action is not None
        with pytest.raises(ConfigurationError, match=r"comments on tasks only.*create_task"):
            action.render(AddComment(project="1", text="Ticket 4711"), {"text": "Ticket 4711"}, Key("key", "lh-0123456789"))

    @pytest.mark.parametrize("status", [500, 502])
    async def test_a_fault_while_a_job_is_asked_about_leaves_it_running(self, status: int) -> None:
        action = ASANA.about.action("create_project")
        assert action is not None
        with pytest.raises(TryAgain):
            await action.check(asked({"GET /jobs/6": reply(status, "")}), "6")

    def test_a_refusal_is_told_in_asanas_own_words(self) -> None:
        action = ASANA.about.action("rename_project")
        assert action is not None
        refusal = reply(400, {"errors": [{"message": "name: Too long", "help": "…"}, {"message": "second"}]})
        outcome = action.judge(refusal, Request(method="PUT", path="/projects/1"))
        assert getattr(outcome, "reason", "") == "status 400: name: Too long; second"
