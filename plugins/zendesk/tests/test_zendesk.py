"""What the connector reads: deliveries, accounts, records, sweeps, fields."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lifecyclehub.errors import Forbidden, NeedsReauthorization, RecordGone, TryAgain, Unsupported
from lifecyclehub.messages import Delivery, Ref
from lifecyclehub.testing import NOW, FakeCall, reply
from lifecyclehub_zendesk import Zendesk

ZENDESK = Zendesk()
SETTINGS = {"subdomain": "northwind", "project_field": "360000000001"}
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
