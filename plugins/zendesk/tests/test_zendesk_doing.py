"""What the connector does in Zendesk: webhooks and comments."""

from __future__ import annotations

from typing import Any

import pytest

from lifecyclehub.connector import ByHand, Endpoint, Subscription
from lifecyclehub.connector.roles import AddInternalComment
from lifecyclehub.errors import Forbidden, TryAgain
from lifecyclehub.messages import Absent, CannotTell, Done, Found, Key, Refused, Unknown
from lifecyclehub.testing import FakeCall, reply
from lifecyclehub_zendesk import Zendesk
from lifecyclehub_zendesk.events import SUBSCRIPTIONS

ZENDESK = Zendesk()
SETTINGS = {"subdomain": "northwind", "project_field": "360000000001"}
KEY = Key(idempotency="k-1", marker="lh-7k2m9qx3ab")
URL = "https://hub.example.test/hooks/ep_1"
ENDPOINT = Endpoint(id="ep_1", url=URL, door="events")


def call(answers: Any) -> FakeCall:
    return FakeCall(answers, account="northwind", settings=SETTINGS)


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
