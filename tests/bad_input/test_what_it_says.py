"""Readable, but not as it should be: unknown kinds, missing fields, unknown stages, amounts for people, pages for JSON."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from lifecyclehub.store import tables as t
from tests.support.bad_input import ACCOUNTS, Hall, a_deal, deal_entry

pytestmark = pytest.mark.anyio

KEPT = ("delivery", "notice")
PAGE = "<!doctype html><html><title>Log in</title><body>We are down for maintenance</body></html>"


async def look_at(h: Hall, deal: Any, record_id: str = "55") -> dict[str, Any]:
    """Let a notice of a deal come whose vendor answers this; gives the notice as it ended."""
    h.vendors.deals[record_id] = deal
    answer = await h.knock("hubspot", h.deal_changed(record_id))
    assert answer.is_success
    await h.hub.settled()
    (notice,) = h.rows(t.notice, record_id=record_id)
    return notice


# --- kinds --------------------------------------------------------------------------------------------------------------

KINDS: list[tuple[str, dict[str, Any] | list[Any], str, str]] = [
    ("hubspot", [deal_entry("1", 1, subscriptionType="ticket.creation")], "hubspot.ticket", "unknown kind"),
    ("hubspot", [deal_entry("1", 1, subscriptionType="object.creation", objectTypeId="2-77")], "hubspot.2-77", "unknown kind"),
    (
        "asana",
        {"events": [{"resource": {"gid": "12", "resource_type": "goal"}, "action": "added"}]},
        "asana.goal",
        "unknown kind",
    ),
    (
        "xero",
        {"events": [{"resourceId": "a", "tenantId": ACCOUNTS["xero"], "eventCategory": "SUBSCRIPTION", "eventType": "CREATE"}]},
        "xero.subscription",
        "unknown kind",
    ),
    (
        "zendesk",
        {"type": "zen:event-type:article.published", "id": "1", "subject": "zen:article:7", "detail": {"id": "7"}},
        "zendesk.article",
        "unknown kind",
    ),
    ("asana", {"events": [{"resource": {"gid": "12", "resource_type": "task"}, "action": "added"}]}, "asana.task", "not mapped"),
]


@pytest.mark.parametrize(("connector", "body", "kind", "reason"), KINDS)
async def test_a_kind_that_nobody_knows_is_kept_as_ignored(h: Hall, connector: str, body: Any, kind: str, reason: str) -> None:
    async with h.undisturbed(*KEPT):
        answer = await h.knock(connector, json.dumps(body).encode())

    assert answer.is_success
    (notice,) = h.rows(t.notice, kind=kind)
    assert (notice["state"], notice["reason"]) == ("ignored", reason)


async def test_an_entry_without_its_record_does_not_spoil_its_neighbour(h: Hall) -> None:
    h.vendors.deals["7"] = a_deal("7")
    await h.knock("hubspot", json.dumps([deal_entry(None, 1), deal_entry("7", 2), "text"]).encode())
    await h.hub.settled()

    assert h.notices(h.delivery()["id"]) == [
        ("hubspot.unreadable", "ignored", "unknown kind"),
        ("hubspot.deal", "processed", None),
        ("hubspot.unreadable", "ignored", "unknown account"),
    ]


@pytest.mark.parametrize(
    ("connector", "bad", "good", "kind"),
    [
        ("asana", {"action": "changed"}, {"resource": {"gid": "12", "resource_type": "goal"}, "action": "added"}, "asana"),
        (
            "xero",
            {"resourceId": 5, "tenantId": ACCOUNTS["xero"]},
            {"resourceId": "a", "tenantId": ACCOUNTS["xero"], "eventCategory": "SUBSCRIPTION", "eventType": "CREATE"},
            "xero",
        ),
    ],
)
async def test_so_in_the_other_tools_batches(h: Hall, connector: str, bad: Any, good: Any, kind: str) -> None:
    async with h.undisturbed(*KEPT):
        answer = await h.knock(connector, json.dumps({"events": [bad, good, None]}).encode())

    assert answer.is_success
    kinds = [row["kind"] for row in h.rows(t.notice, connector=connector)]
    assert len(kinds) == 3
    assert kinds.count(f"{kind}.unreadable") == 2


# --- fields -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["dealname", "dealstage"])
async def test_a_required_field_that_is_missing_parks_the_notice_and_names_it(h: Hall, missing: str) -> None:
    deal = a_deal("55")
    del deal["properties"][missing]
    async with h.undisturbed(*KEPT):
        notice = await look_at(h, deal)

    assert (notice["state"], notice["reason"]) == ("parked", "mapping")
    field = {"dealname": "deal.title", "dealstage": "deal.status"}[missing]
    assert "hubspot/deal.toml" in notice["detail"]
    assert field in notice["detail"]
    assert f"properties.{missing}" in notice["detail"]


async def test_an_unknown_stage_parks_the_notice_and_names_the_stage_and_the_table(h: Hall) -> None:
    async with h.undisturbed(*KEPT):
        notice = await look_at(h, a_deal("55", stage="stage_of_2031"))

    assert (notice["state"], notice["reason"]) == ("parked", "mapping")
    assert "stage_of_2031" in notice["detail"]
    assert "status" in notice["detail"]
    assert "hubspot/deal.toml" in notice["detail"]


@pytest.mark.parametrize(
    "amount", ["1.234,56", "1,234.56", "12 500", "€ 12", "twelve", "0x10", "1e3e4", "NaN", "--5", "\uff11\uff12"]
)
async def test_an_amount_written_for_people_parks_the_notice_and_shows_it(h: Hall, amount: str) -> None:
    """Guessing which of the two marks is the decimal one would be wrong by a thousand."""
    async with h.undisturbed(*KEPT):
        notice = await look_at(h, a_deal("55", amount=amount))

    assert (notice["state"], notice["reason"]) == ("parked", "mapping")
    assert "deal.value.amount" in notice["detail"]
    assert amount in notice["detail"]


@pytest.mark.parametrize("currency", ["Euro", "EURO", "€", "XX"])
async def test_a_currency_that_is_none_parks_the_notice(h: Hall, currency: str) -> None:
    async with h.undisturbed(*KEPT):
        notice = await look_at(h, a_deal("55", deal_currency_code=currency))

    assert (notice["state"], notice["reason"]) == ("parked", "mapping")
    assert "deal.value.currency" in notice["detail"]


async def test_more_decimals_than_the_currency_has_park_the_notice(h: Hall) -> None:
    async with h.undisturbed(*KEPT):
        notice = await look_at(h, a_deal("55", amount="10.001"))

    assert notice["state"] == "parked"
    assert "10.001" in notice["detail"]


@pytest.mark.parametrize("when", ["yesterday", "31/12/2026", "2026-13-01", {}])
async def test_a_time_that_is_none_parks_the_notice(h: Hall, when: Any) -> None:
    async with h.undisturbed(*KEPT):
        notice = await look_at(h, a_deal("55", createdate=when))

    assert (notice["state"], notice["reason"]) == ("parked", "mapping")
    assert "deal.created_at" in notice["detail"]


async def test_a_value_of_another_type_parks_the_notice(h: Hall) -> None:
    async with h.undisturbed(*KEPT):
        notice = await look_at(h, a_deal("55", dealname={"text": "a title"}))

    assert (notice["state"], notice["reason"]) == ("parked", "mapping")
    assert "deal.title" in notice["detail"]


async def test_a_parked_notice_is_taken_up_again_by_the_next_good_one(h: Hall) -> None:
    parked = await look_at(h, a_deal("55", amount="1.234,56"))
    h.vendors.deals["55"] = a_deal("55", amount="1234.56")
    await h.knock("hubspot", h.deal_changed("55"))
    await h.hub.settled()

    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["parked", "processed"]
    assert parked["state"] == "parked"
    assert [row["value_minor"] for row in h.rows(t.deal)] == [123_456]


# --- answers that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html=PAGE),
        httpx.Response(200, text=PAGE, headers={"content-type": "application/json"}),
        httpx.Response(200, content=b""),
        httpx.Response(200, json=[]),
        httpx.Response(200, json="ok"),
        httpx.Response(200, json={"status": "error", "message": "internal"}),
        httpx.Response(200, content=b'{"id": "55", "id": "56"}'),
        httpx.Response(200, content=b'{"id": "55", "properties": {"amount": NaN}}'),
        httpx.Response(500, html=PAGE),
        httpx.Response(302, headers={"location": "https://elsewhere.example/"}),
    ],
    ids=[
        "a page",
        "a page called JSON",
        "nothing",
        "a list",
        "a word",
        "an error",
        "a key twice",
        "NaN",
        "500",
        "a way elsewhere",
    ],
)
async def test_a_vendors_answer_that_is_none_is_asked_for_again_and_believed_in_nothing(h: Hall, answer: httpx.Response) -> None:
    async with h.undisturbed(*KEPT):
        notice = await look_at(h, answer)
        assert (notice["state"], notice["reason"]) == ("open", "retry")
        assert notice["detail"].startswith("HubSpot ")
        assert notice["not_before"] is not None

    h.vendors.deals["55"] = a_deal("55")
    await h.forward(3)
    assert [row["state"] for row in h.rows(t.notice, record_id="55")] == ["processed"]


async def test_another_record_than_asked_for_is_not_taken_for_it(h: Hall) -> None:
    """HubSpot answers so for a merged record: the link moves, and no values with it."""
    async with h.undisturbed(*KEPT, "link"):
        notice = await look_at(h, a_deal("99"))

    assert (notice["state"], notice["reason"]) == ("processed", "merged")
    assert h.rows(t.link, record_id="55")[0]["merged_into"] == "99"


async def test_a_refusal_of_one_record_is_not_its_deletion(h: Hall) -> None:
    async with h.undisturbed(*KEPT):
        notice = await look_at(h, httpx.Response(403, json={"message": "no scope for deals"}))

    assert (notice["state"], notice["reason"]) == ("parked", "forbidden")
    assert "no scope for deals" in notice["detail"]
    assert h.rows(t.link, record_id="55") == []


@pytest.mark.parametrize("status", [200, 201])
async def test_a_page_for_an_answer_to_a_create_leaves_it_in_doubt_never_done(h: Hall, status: int) -> None:
    await h.switch_on()
    h.vendors.answers["asana"] = lambda request: (
        httpx.Response(status, html=PAGE) if request.method == "POST" else httpx.Response(503, html=PAGE)
    )
    await look_at(h, a_deal("55", stage="closedwon"))

    (project,) = h.rows(t.effect, name="project")
    assert project["state"] == "in doubt"
    assert project["reason"] == "unknown outcome"
    assert project["record_id"] is None
    assert {row["state"] for row in h.rows(t.effect) if row["name"] != "project"} == {"held"}
    (attempt,) = h.rows(t.attempt, effect=project["id"], what="sent")
    assert attempt["outcome"] == "Unknown"
    assert "maintenance" in attempt["reply"]

    del h.vendors.answers["asana"]
    for _ in range(4):  # the look-up after the lag finds nothing, so it is sent again
        await h.forward(200)
    assert [path for path, _ in h.vendors.made].count("/api/1.0/projects") == 1
    assert {row["state"] for row in h.rows(t.effect)} >= {"done"}
    await h.good()
