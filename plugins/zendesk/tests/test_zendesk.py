from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lifecyclehub.connector import ByHand, Endpoint, Subscription
from lifecyclehub.connector.roles import AddInternalComment
from lifecyclehub.errors import Forbidden, NeedsReauthorization, RecordGone, TryAgain, Unsupported
from lifecyclehub.messages import Absent, CannotTell, Delivery, Done, Found, Key, Ref, Refused, Unknown
from lifecyclehub.testing import NOW, FakeCall, reply
from lifecyclehub_zendesk import Zendesk
from lifecyclehub_zendesk.events import SUBSCRIPTIONS

ZENDESK = Zendesk()
SETTINGS = {"subdomain": "northwind", "project_field": "360000000001"}
KEY = Key(idempotency="k-1", marker="lh-7k2m9qx3ab")
URL = "https://hub.example.test/hooks/ep_1"
ENDPOINT = Endpoint(id="ep_1", url=URL, door="events")
NOW_S = int(NOW.timestamp())


def call(answers: Any) -> FakeCall:
    return FakeCall(answers, account="northwind", settings=SETTINGS)


def delivery(body: Any) -> Delivery:
    return Delivery(id="d", door="events", headers={}, body=b"", json=body, received_at=NOW)


# --- deliveries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, [], "x", {"ticket_id": 5, "title": "from a trigger"}, {"type": None}])
def test_a_body_that_is_no_event_is_said_to_be_none(body: Any) -> None:
    with pytest.raises(TypeError, match="no Zendesk event"):
        list(ZENDESK.read(delivery(body)))


def test_an_event_without_a_record_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="names no record"):
        list(ZENDESK.read(delivery({"type": "zen:event-type:ticket.created", "subject": "zen", "detail": None})))


def test_an_event_is_read_by_its_subject_where_its_detail_has_no_id() -> None:
    event = {"type": "zen:event-type/user.merged", "subject": "zen:user:77", "time": "2026-05-04T09:30:00"}
    (notice,) = ZENDESK.read(delivery(event))
    assert (notice.kind, notice.record_id, notice.change) == ("zendesk.user", "77", "changed")
    assert notice.at == datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


def test_an_event_type_of_an_unknown_form_becomes_an_unknown_kind() -> None:
    event = {"type": "conditional_ticket_events", "subject": "zen:ticket:77"}
    (notice,) = ZENDESK.read(delivery(event))
    assert (notice.kind, notice.record_id) == ("zendesk.unknown", "77")


# --- accounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_account_is_its_subdomain() -> None:
    me = call({"GET /api/v2/users/me.json": reply(200, {"user": {"id": 1, "role": "admin"}})})
    (account,) = await ZENDESK.accounts(me)
    assert (account.id, account.name) == ("northwind", "northwind.zendesk.com")


@pytest.mark.anyio
@pytest.mark.parametrize("user", [{"id": None, "role": "end-user", "name": "Anonymous user"}, {"id": 3, "role": "end-user"}])
async def test_a_token_that_stands_for_no_agent_must_be_renewed(user: dict[str, Any]) -> None:
    with pytest.raises(NeedsReauthorization, match="agent"):
        await ZENDESK.accounts(call({"GET /api/v2/users/me.json": reply(200, {"user": user})}))


# --- fetch ------------------------------------------------------------------------------------------------------------

TICKET = {"id": 35436, "status": "open", "requester_id": 7, "updated_at": "2026-05-04T09:29:57Z"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(404, {"error": "RecordNotFound"}), RecordGone),
        (reply(410), RecordGone),
        (reply(200, {"ticket": {**TICKET, "status": "deleted"}}), RecordGone),
        (reply(403, {"error": "Forbidden"}), Forbidden),
        (reply(500, "oops"), TryAgain),
        (reply(503, "", {"Retry-After": "7"}), TryAgain),
        (reply(200, "<html>log in</html>"), TryAgain),
        (reply(200, []), TryAgain),
        (reply(200, {"ticket": {**TICKET, "id": 35437}}), TryAgain),
        (reply(200, {"ticket": {**TICKET, "id": None}}), TryAgain),
    ],
)
async def test_only_a_clear_answer_about_the_very_ticket_counts(answer: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await ZENDESK.fetch(call({"GET /api/v2/tickets/35436.json": answer}), Ref("zendesk.ticket", "35436"))


@pytest.mark.anyio
async def test_the_wait_that_zendesk_asks_for_is_passed_on() -> None:
    busy = call({"GET /api/v2/tickets/35436.json": reply(503, "", {"Retry-After": "7"})})
    with pytest.raises(TryAgain) as caught:
        await ZENDESK.fetch(busy, Ref("zendesk.ticket", "35436"))
    assert caught.value.after == 7


@pytest.mark.anyio
async def test_a_ticket_without_a_project_field_has_no_project() -> None:
    answers = {"GET /api/v2/tickets/35436.json": reply(200, {"ticket": {**TICKET, "custom_fields": [{"id": 9, "value": "x"}]}})}
    plain = FakeCall(answers, account="northwind", settings={"subdomain": "northwind"})
    document = await ZENDESK.fetch(plain, Ref("zendesk.ticket", "35436"))
    assert document.data["project_ref"] is None
    assert document.data["custom"] == {"9": "x"}
    assert document.related == ()
    assert document.url == "https://northwind.zendesk.com/agent/tickets/35436"


@pytest.mark.anyio
async def test_an_id_that_is_no_number_cannot_leave_its_place_in_the_path() -> None:
    odd = call(lambda request: reply(404))
    with pytest.raises(RecordGone):
        await ZENDESK.fetch(odd, Ref("zendesk.ticket", "../users/1?x="))
    assert odd.requests[0].path == "/api/v2/tickets/..%2Fusers%2F1%3Fx%3D.json"


@pytest.mark.anyio
async def test_an_organization_that_is_shown_as_deleted_is_gone() -> None:
    answers = {"GET /api/v2/organizations/5.json": reply(200, {"organization": {"id": 5, "deleted_at": "2026-05-01T00:00:00Z"}})}
    with pytest.raises(RecordGone):
        await ZENDESK.fetch(call(answers), Ref("zendesk.organization", "5"))


@pytest.mark.anyio
async def test_a_comment_is_not_fetched_by_its_id_alone() -> None:
    with pytest.raises(Unsupported):
        await ZENDESK.fetch(call({}), Ref("zendesk.comment", "1"))


# --- sweep ------------------------------------------------------------------------------------------------------------

TICKETS = "/api/v2/incremental/tickets/cursor.json"
ORGANIZATIONS = "/api/v2/incremental/organizations.json"


def tickets(*ids: int, after: str | None = None, end: bool = True, **more: Any) -> Any:
    listed = [{"id": number, "status": "open", "updated_at": "2026-05-04T09:00:00Z", **more} for number in ids]
    return reply(200, {"tickets": listed, "after_cursor": after, "end_of_stream": end})


async def swept(fake: FakeCall, kind: str, cursor: str | None, *, full: bool) -> list[Any]:
    return [page async for page in ZENDESK.sweep(fake, kind, cursor, full=full)]


@pytest.mark.anyio
async def test_a_full_sweep_walks_every_page_from_the_beginning_and_keeps_no_cursor() -> None:
    fake = call(
        {f"GET {TICKETS}?start_time=1": tickets(1, 2, after="A", end=False), f"GET {TICKETS}?cursor=A": tickets(3, after="B")}
    )
    pages = await swept(fake, "zendesk.ticket", None, full=True)
    assert [notice.record_id for page in pages for notice in page.notices] == ["1", "2", "3"]
    assert pages[0].notices[0].at == datetime(2026, 5, 4, 9, tzinfo=UTC)
    assert [page.last for page in pages] == [False, True]
    assert pages[1].cursor is None


@pytest.mark.anyio
async def test_the_first_sweep_begins_now_and_the_next_one_five_minutes_before_it() -> None:
    fake = call({f"GET {TICKETS}": tickets()})
    (page,) = await swept(fake, "zendesk.ticket", None, full=False)
    await swept(fake, "zendesk.ticket", page.cursor, full=False)
    asked = [dict(request.query)["start_time"] for request in fake.requests]
    assert asked == [str(NOW_S - 300), str(NOW_S - 300)]


@pytest.mark.anyio
async def test_a_sweep_that_was_cut_goes_on_at_its_page_and_then_starts_before_its_own_beginning() -> None:
    cut = json.dumps({"since": 100, "began": 5000, "after": "A"})
    fake = call({f"GET {TICKETS}?cursor=A": tickets(3, after="B")})
    (page,) = await swept(fake, "zendesk.ticket", cut, full=False)
    assert [notice.record_id for notice in page.notices] == ["3"]
    assert json.loads(page.cursor or "")["since"] == 4700
    assert json.loads(page.cursor or "")["after"] is None


@pytest.mark.anyio
async def test_a_cursor_that_zendesk_no_longer_takes_begins_the_pass_again() -> None:
    cut = json.dumps({"since": 100, "began": 5000, "after": "A"})
    fake = call(
        {f"GET {TICKETS}?cursor=A": reply(400, {"error": "InvalidParameter"}), f"GET {TICKETS}?start_time=100": tickets(1)}
    )
    (page,) = await swept(fake, "zendesk.ticket", cut, full=False)
    assert [notice.record_id for notice in page.notices] == ["1"]


@pytest.mark.anyio
async def test_deleted_records_are_told_and_our_own_people_left_out() -> None:
    fake = call({f"GET {TICKETS}": tickets(1, status="deleted")})
    (page,) = await swept(fake, "zendesk.ticket", None, full=True)
    assert page.notices[0].change == "deleted"
    users = [
        {"id": 1, "role": "end-user", "active": True},
        {"id": 2, "role": "end-user", "active": False},
        {"id": 3, "role": "agent", "active": True},
        {"id": 4, "role": "admin", "active": True},
    ]
    fake = call({"GET /api/v2/incremental/users/cursor.json": reply(200, {"users": users, "end_of_stream": True})})
    (page,) = await swept(fake, "zendesk.user", None, full=True)
    assert [(notice.record_id, notice.change) for notice in page.notices] == [("1", "changed"), ("2", "deleted")]


@pytest.mark.anyio
async def test_organizations_go_on_by_time_and_must_move_on() -> None:
    def page(number: int, end_time: int, *, end: bool) -> Any:
        return reply(200, {"organizations": [{"id": number}], "end_time": end_time, "end_of_stream": end})

    answers = {
        f"GET {ORGANIZATIONS}?start_time=1": page(1, 500, end=False),
        f"GET {ORGANIZATIONS}?start_time=500": page(2, 900, end=True),
    }
    pages = await swept(call(answers), "zendesk.organization", None, full=True)
    assert [notice.record_id for one in pages for notice in one.notices] == ["1", "2"]
    with pytest.raises(TryAgain, match="no way to it"):
        await swept(call({f"GET {ORGANIZATIONS}": page(1, 1, end=False)}), "zendesk.organization", None, full=True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        reply(500),
        reply(200, "<html>log in</html>"),
        reply(200, {"end_of_stream": True}),
        reply(200, {"tickets": [{"status": "open"}], "end_of_stream": True}),
        tickets(1, after=None, end=False),
    ],
)
async def test_a_sweep_never_takes_a_broken_page_for_the_end(answer: Any) -> None:
    with pytest.raises(TryAgain):
        await swept(call({f"GET {TICKETS}": answer}), "zendesk.ticket", None, full=True)


@pytest.mark.anyio
async def test_what_has_no_export_cannot_be_swept() -> None:
    with pytest.raises(Unsupported):
        await swept(call({}), "zendesk.comment", None, full=True)


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_ticket_fields_are_listed_with_their_options_and_without_inactive_ones() -> None:
    first = [{"id": 1, "type": "subject", "title": "Subject", "active": True}]
    second = [
        {"id": 2, "type": "tagger", "title": "Area", "active": True, "custom_field_options": [{"name": "Shop", "value": "shop"}]},
        {"id": 3, "type": "text", "title": "Old", "active": False},
    ]
    path = "GET /api/v2/ticket_fields.json"
    answers = {
        path: reply(200, {"ticket_fields": first, "meta": {"has_more": True, "after_cursor": "A"}}),
        f"{path}?page[after]=A": reply(200, {"ticket_fields": second, "meta": {"has_more": False}}),
    }
    fields = await ZENDESK.fields(call(answers), "zendesk.ticket")
    assert [(field.path, field.label, field.options) for field in fields] == [
        ("subject", "Subject", ()),
        ('custom."2"', "Area", (("shop", "Shop"),)),
    ]


@pytest.mark.anyio
async def test_user_fields_are_named_by_their_key() -> None:
    listed = [{"id": 1, "key": "vip_level", "type": "text", "title": "VIP", "active": True}]
    answers = {"GET /api/v2/user_fields.json": reply(200, {"user_fields": listed, "meta": {"has_more": False}})}
    (field,) = await ZENDESK.fields(call(answers), "zendesk.user")
    assert field.path == "user_fields.vip_level"


# --- webhooks ---------------------------------------------------------------------------------------------------------

NONE = reply(200, {"webhooks": [], "meta": {"has_more": False}})
SECRET = reply(200, {"signing_secret": {"algorithm": "SHA256", "secret": "s3"}})


def hooks(*listed: dict[str, Any]) -> Any:
    return reply(200, {"webhooks": list(listed), "meta": {"has_more": False}})


def hook(hook_id: str, **more: Any) -> dict[str, Any]:
    return {"id": hook_id, "endpoint": URL, "status": "active", "subscriptions": list(SUBSCRIPTIONS), **more}


@pytest.mark.anyio
async def test_subscribing_makes_a_webhook_for_all_events_and_reads_its_secret() -> None:
    answers = {
        "GET /api/v2/webhooks": NONE,
        "POST /api/v2/webhooks": reply(201, {"webhook": {"id": "W1"}}),
        "GET /api/v2/webhooks/W1/signing_secret": SECRET,
    }
    fake = call(answers)
    assert await ZENDESK.subscribe(fake, ENDPOINT) == Subscription(id="W1", secret="s3")
    made = fake.requests[1].json["webhook"]
    assert made["endpoint"] == URL
    assert made["subscriptions"] == list(SUBSCRIPTIONS)
    assert (made["http_method"], made["request_format"], made["status"]) == ("POST", "json", "active")


@pytest.mark.anyio
async def test_a_webhook_that_stands_is_taken_up_and_a_lame_one_is_replaced() -> None:
    answers: dict[str, Any] = {
        "GET /api/v2/webhooks": hooks(hook("W9", endpoint="https://other.example"), hook("W1", status="inactive"), hook("W2")),
        "DELETE /api/v2/webhooks/W1": reply(204),
        "GET /api/v2/webhooks/W2/signing_secret": SECRET,
    }
    fake = call(answers)
    assert await ZENDESK.subscribe(fake, ENDPOINT) == Subscription(id="W2", secret="s3")
    assert [(request.method, request.path) for request in fake.requests if request.method != "GET"] == [
        ("DELETE", "/api/v2/webhooks/W1")
    ]


@pytest.mark.anyio
async def test_a_client_without_the_right_gets_the_steps_by_hand() -> None:
    for answers in (
        {"GET /api/v2/webhooks": reply(403, {"error": "Forbidden"})},
        {"GET /api/v2/webhooks": NONE, "POST /api/v2/webhooks": reply(403, {"error": "Forbidden"})},
    ):
        by_hand = await ZENDESK.subscribe(call(answers), ENDPOINT)
        assert isinstance(by_hand, ByHand)
        assert any("{url}" in step for step in by_hand.steps)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "ok", "said"),
    [
        (reply(200, {"webhook": hook("W1")}), True, ""),
        (reply(200, {"webhook": hook("W1", status="inactive")}), False, "deactivated"),
        (reply(200, {"webhook": hook("W1", subscriptions=["zen:event-type:ticket.created"])}), False, "lacks"),
        (reply(404, {"errors": [{"title": "Not found"}]}), False, "deleted"),
    ],
)
async def test_a_webhook_is_well_when_it_is_there_active_and_whole(answer: Any, ok: bool, said: str) -> None:
    health = await ZENDESK.probe(call({"GET /api/v2/webhooks/W1": answer}), Subscription(id="W1"))
    assert health.ok is ok
    assert said in health.reason


@pytest.mark.anyio
async def test_ending_a_webhook_that_is_gone_is_fine_and_a_refusal_is_not() -> None:
    await ZENDESK.unsubscribe(call({"DELETE /api/v2/webhooks/W1": reply(404)}), Subscription(id="W1"))
    with pytest.raises(Forbidden):
        await ZENDESK.unsubscribe(call({"DELETE /api/v2/webhooks/W1": reply(403)}), Subscription(id="W1"))
    with pytest.raises(TryAgain):
        await ZENDESK.unsubscribe(call({"DELETE /api/v2/webhooks/W1": reply(500)}), Subscription(id="W1"))


# --- comments ---------------------------------------------------------------------------------------------------------

COMMENTS = "GET /api/v2/tickets/5/comments.json"


def comments(*listed: dict[str, Any], after: str | None = None) -> Any:
    return reply(200, {"comments": list(listed), "meta": {"has_more": after is not None, "after_cursor": after}})


def comment(number: int, body: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "body": body, "public": False, "via": {"channel": "api"}, **more}


async def looked_for(*answers: Any) -> Any:
    action = ZENDESK.about.action("add_internal_comment")
    assert action is not None
    return await action.find(call({COMMENTS: list(answers)}), AddInternalComment(ticket="5", text="x"), KEY)


@pytest.mark.anyio
async def test_our_comment_is_found_also_behind_another_marker_in_its_text() -> None:
    found = await looked_for(comments(comment(1, f"Website lh-0000000000\n\n{KEY.marker}")))
    assert found == Found((Done(record_id="1", url="https://northwind.zendesk.com/agent/tickets/5"),))


@pytest.mark.anyio
async def test_a_mailed_answer_or_a_public_comment_that_quotes_ours_is_not_ours() -> None:
    mailed = comment(1, f"> {KEY.marker}", via={"channel": "email"})
    assert await looked_for(comments(mailed, comment(2, KEY.marker, public=True))) == Absent()


@pytest.mark.anyio
async def test_two_comments_of_ours_are_both_told() -> None:
    found = await looked_for(comments(comment(1, KEY.marker), after="A"), comments(comment(2, KEY.marker)))
    assert isinstance(found, Found)
    assert [one.record_id for one in found.records] == ["1", "2"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "second",
    [
        reply(500),
        reply(200, "<html>"),
        reply(200, {"meta": {"has_more": False}}),
        comments(comment(2, "x"), after="A"),
        TryAgain("cut"),
    ],
)
async def test_a_list_that_breaks_off_proves_nothing(second: Any) -> None:
    assert isinstance(await looked_for(comments(comment(1, "x"), after="A"), second), CannotTell)


def test_a_comment_is_internal_and_marked_whatever_the_mapping_says() -> None:
    action = ZENDESK.about.action("add_internal_comment")
    assert action is not None
    body = {"comment": {"body": "x", "html_body": "<b>x</b>", "public": True}, "status": "open"}
    ticket = action.render(AddInternalComment(ticket="5", text="x"), body, KEY).json["ticket"]
    assert ticket["comment"]["public"] is False
    assert ticket["comment"]["body"].endswith(KEY.marker)
    assert KEY.marker in ticket["comment"]["html_body"]
    assert ticket["status"] == "open"
    assert body["comment"]["public"] is True


CLOSED = {
    "description": "Record validation errors",
    "details": {"status": [{"description": "Status: closed prevents ticket update"}]},
}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (CLOSED, "status 422: Record validation errors; Status: closed prevents ticket update"),
        ({"error": {"title": "Invalid attribute", "message": "No ticket"}}, "status 422: No ticket; Invalid attribute"),
        ({"errors": [{"title": "Invalid webhook", "detail": "No endpoint"}]}, "status 422: No endpoint; Invalid webhook"),
        ({"error": "invalid_scope", "error_description": "Too narrow"}, "status 422: Too narrow; invalid_scope"),
    ],
)
def test_a_refusal_is_told_in_zendesks_own_sentences(answer: dict[str, Any], reason: str) -> None:
    action = ZENDESK.about.action("add_internal_comment")
    assert action is not None
    request = action.render(AddInternalComment(ticket="5", text="x"), {"comment": {"body": "x"}}, KEY)
    assert action.judge(reply(422, answer), request) == Refused(reason)


def test_a_comment_that_only_quotes_another_marker_is_not_taken_for_ours() -> None:
    action = ZENDESK.about.action("add_internal_comment")
    assert action is not None
    text = "Website lh-0000000000"
    request = action.render(AddInternalComment(ticket="5", text=text), {"comment": {"body": text}}, KEY)
    audit = {"events": [{"id": 1, "type": "Comment", "body": text}]}
    assert isinstance(action.judge(reply(200, {"ticket": {"id": 5}, "audit": audit}), request), Unknown)
