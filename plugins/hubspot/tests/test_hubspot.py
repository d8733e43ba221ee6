"""What the captures cannot show: sweeps, set-up, and look-ups that go wrong."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from lifecyclehub.connector import ByHand, Endpoint, Page
from lifecyclehub.connector.roles import AddNote
from lifecyclehub.errors import Forbidden, NeedsReauthorization, TryAgain, Unsupported
from lifecyclehub.messages import CannotTell, Key, Ref, Reply, Request
from lifecyclehub.testing import FakeCall, reply
from lifecyclehub.testing.fake import NOW
from lifecyclehub_hubspot import HubSpot
from lifecyclehub_hubspot.objects import OBJECTS, instant_of, read_batch

pytestmark = pytest.mark.anyio

CONNECTOR = HubSpot()
KEY = Key(idempotency="k-1", marker="lh-7k2m9qx3ab")
START = 1_777_800_000_000
TEN_MINUTES = 600_000


def listed(*pairs: tuple[int, int], after: str | None = None, modified: str = "hs_lastmodifieddate") -> Reply:
    found = [
        {"id": str(record_id), "properties": {modified: instant_of(millis).isoformat().replace("+00:00", "Z")}}
        for record_id, millis in pairs
    ]
    return reply(200, {"results": found, **({"paging": {"next": {"after": after}}} if after else {})})


def low_of(request: Request) -> int:
    return int(request.json["filterGroups"][0]["filters"][0]["value"])


async def swept(call: FakeCall, cursor: str | None, *, full: bool = False, kind: str = "hubspot.deal") -> list[Page]:
    return [page async for page in CONNECTOR.sweep(call, kind, cursor, full=full)]


def ids(pages: list[Page]) -> list[list[str]]:
    return [[notice.record_id for notice in page.notices] for page in pages]


# --- sweeps -----------------------------------------------------------------------------------------------------------


async def test_the_first_sweep_begins_now_and_asks_for_nothing() -> None:
    call = FakeCall({})
    (page,) = await swept(call, None)
    assert (page.notices, page.last, call.requests) == ((), True, [])
    assert json.loads(page.cursor or "") == {"since": int(NOW.timestamp() * 1000)}


async def test_a_sweep_looks_ten_minutes_back_and_gives_times_but_no_values() -> None:
    call = FakeCall({"POST /crm/v3/objects/deals/search": listed((901, START + 5))}, account="24810377")
    (page,) = await swept(call, json.dumps({"since": START}))
    assert low_of(call.requests[0]) == START - TEN_MINUTES
    (notice,) = page.notices
    assert (notice.account, notice.document, notice.version) == ("24810377", None, None)
    assert notice.at == instant_of(START + 5)
    assert page.last


async def test_contacts_are_searched_by_the_name_that_contacts_have_for_it() -> None:
    call = FakeCall({"POST /crm/v3/objects/contacts/search": listed((1, START), modified="lastmodifieddate")})
    (page,) = await swept(call, json.dumps({"since": START}), kind="hubspot.contact")
    assert call.requests[0].json["filterGroups"][0]["filters"][0]["propertyName"] == "lastmodifieddate"
    assert page.notices[0].at == instant_of(START)


async def test_the_next_page_begins_at_the_last_time_seen_so_that_nothing_slips_through() -> None:
    answers = [listed((1, START), (2, START + 10), after="2"), listed((2, START + 10), (3, START + 20))]
    call = FakeCall({"POST /crm/v3/objects/deals/search": answers})
    pages = await swept(call, json.dumps({"since": START + TEN_MINUTES}))
    assert [(low_of(one), one.json.get("after")) for one in call.requests] == [(START, None), (START + 10, None)]
    assert ids(pages) == [["1", "2"], ["3"]]
    assert [page.last for page in pages] == [False, True]


async def test_a_sweep_that_was_cut_goes_on_where_it_was() -> None:
    answers = [listed((1, START), (2, START + 10), after="2"), listed((2, START + 10), (3, START + 20))]
    call = FakeCall({"POST /crm/v3/objects/deals/search": answers})
    sweep = CONNECTOR.sweep(call, "hubspot.deal", json.dumps({"since": START + TEN_MINUTES}), full=False)
    first = await anext(sweep)
    await swept(call, first.cursor)
    assert low_of(call.requests[1]) == START + 10


async def test_a_whole_page_of_one_millisecond_is_passed_by_page_number() -> None:
    answers = [listed((1, START), (2, START), after="2"), listed((3, START), (4, START), after="4"), listed((5, START))]
    call = FakeCall({"POST /crm/v3/objects/deals/search": answers})
    pages = await swept(call, json.dumps({"since": START + TEN_MINUTES}))
    assert [one.json.get("after") for one in call.requests] == [None, "2", "4"]
    assert ids(pages) == [["1", "2"], ["3", "4"], ["5"]]


async def test_more_of_one_millisecond_than_hubspot_gives_is_said_instead_of_left_out() -> None:
    def endless(request: Request) -> Reply:
        begins = int(request.json.get("after") or 0)
        return listed(*((begins + place, START) for place in range(1, 201)), after=str(begins + 200))

    with pytest.raises(TryAgain, match="full sweep"):
        await swept(FakeCall(endless), json.dumps({"since": START + TEN_MINUTES}))


async def test_the_full_sweep_takes_every_page_of_the_list() -> None:
    answers = [listed((1, START), (2, START), after="2"), listed((3, START), after="3"), listed()]
    call = FakeCall({"GET /crm/v3/objects/companies": answers})
    pages = await swept(call, None, full=True, kind="hubspot.company")
    assert ids(pages) == [["1", "2"], ["3"], []]
    assert [page.cursor for page in pages] == ['{"after":"2"}', '{"after":"3"}', None]
    resumed = FakeCall({"GET /crm/v3/objects/companies?after=3": listed((4, START))})
    assert ids(await swept(resumed, pages[1].cursor, full=True, kind="hubspot.company")) == [["4"]]


@pytest.mark.parametrize(
    "broken", [reply(500, {}), reply(200, "<html>"), reply(200, {"total": 1}), reply(200, {"results": [{}]})]
)
async def test_a_broken_page_ends_a_sweep_without_a_cursor(broken: Reply) -> None:
    for full in (False, True):
        with pytest.raises(TryAgain):
            await swept(FakeCall(lambda _: broken), json.dumps({"since": START}), full=full)


# --- set-up -----------------------------------------------------------------------------------------------------------

DETAILS = {"portalId": 24810377, "timeZone": "Europe/Copenhagen", "companyCurrency": "EUR", "uiDomain": "app-eu1.hubspot.com"}
READS = {
    f"GET /crm/v3/{path}?limit=1": reply(200, {"results": []})
    for path in (
        "objects/deals",
        "objects/companies",
        "objects/contacts",
        "owners",
    )
}


async def test_the_account_has_its_currency_and_time_zone() -> None:
    (account,) = await CONNECTOR.accounts(FakeCall({"GET /account-info/v3/details": reply(200, DETAILS), **READS}, account=""))
    assert (account.id, account.name) == ("24810377", "HubSpot account 24810377")
    assert (account.currency, account.timezone) == ("EUR", "Europe/Copenhagen")


async def test_a_missing_scope_is_named_when_the_connection_is_tested() -> None:
    answers = {"GET /account-info/v3/details": reply(200, DETAILS), **READS, "GET /crm/v3/owners?limit=1": reply(403, {})}
    with pytest.raises(Forbidden, match=r"lacks the scope crm\.objects\.owners\.read"):
        await CONNECTOR.accounts(FakeCall(answers))


async def test_a_wrong_token_asks_for_another_one() -> None:
    with pytest.raises(NeedsReauthorization):
        await CONNECTOR.accounts(FakeCall(lambda _: reply(401, {"category": "INVALID_AUTHENTICATION"})))


async def test_fields_have_their_labels_and_stages_the_ones_of_their_pipelines() -> None:
    properties = [
        {"name": "dealname", "label": "Deal Name", "type": "string", "options": []},
        {"name": "dealstage", "label": "Deal Stage", "type": "enumeration", "options": []},
        {"name": "service_line", "label": "Service line", "type": "enumeration", "options": [{"value": "care", "label": "Care"}]},
    ]
    pipelines: list[dict[str, Any]] = [{"id": "default", "label": "Sales", "stages": [{"id": "closedwon", "label": "Won!"}]}]
    answers = {
        "GET /crm/v3/properties/deals": reply(200, {"results": properties}),
        "GET /crm/v3/pipelines/deals": reply(200, {"results": pipelines}),
    }
    fields = {one.path: one for one in await CONNECTOR.fields(FakeCall(answers), "hubspot.deal")}
    assert fields["properties.dealname"].label == "Deal Name"
    assert fields["properties.service_line"].options == (("care", "Care"),)
    assert fields["properties.dealstage"].options == (("closedwon", "Won!"),)
    pipelines.append({"id": "7", "label": "Care", "stages": [{"id": "71", "label": "Signed"}]})
    answers["GET /crm/v3/pipelines/deals"] = reply(200, {"results": pipelines})
    fields = {one.path: one for one in await CONNECTOR.fields(FakeCall(answers), "hubspot.deal")}
    assert fields["properties.dealstage"].options == (("closedwon", "Sales: Won!"), ("71", "Care: Signed"))


async def test_companies_have_fields_without_pipelines() -> None:
    stages = [{"value": "customer", "label": "Customer"}]
    found = [{"name": "lifecyclestage", "label": "Lifecycle Stage", "type": "enumeration", "options": stages}]
    (field,) = await CONNECTOR.fields(
        FakeCall({"GET /crm/v3/properties/companies": reply(200, {"results": found})}), "hubspot.company"
    )
    assert (field.path, field.options) == ("properties.lifecyclestage", (("customer", "Customer"),))


async def test_webhooks_are_set_up_by_hand_with_the_address_and_every_event() -> None:
    steps = await CONNECTOR.subscribe(FakeCall({}), Endpoint(id="ep_1", url="https://hub.example/hooks/ep_1", door="app"))
    assert isinstance(steps, ByHand)
    text = " ".join(steps.steps)
    assert text.count("{url}") == 1
    assert all(word in text for word in ("Deal stage", "Merged", "Restored", "Client secret", "Lifecycle stage"))


async def test_a_kind_of_another_tool_is_said_to_be_unknown() -> None:
    with pytest.raises(Unsupported, match=r"hubspot\.quote"):
        await CONNECTOR.fetch(FakeCall({}), Ref("hubspot.quote", "1"))


# --- fetching and looking ---------------------------------------------------------------------------------------------


async def test_a_record_s_id_never_leaves_its_place_in_the_address() -> None:
    call = FakeCall(lambda _: reply(500, {}))
    with pytest.raises(TryAgain):
        await CONNECTOR.fetch(call, Ref("hubspot.company", "../owners?x=1"))
    assert call.requests[0].path == "/crm/v3/objects/companies/..%2Fowners%3Fx%3D1"


@pytest.mark.parametrize("broken", [reply(503, {}), reply(200, "<html>"), reply(200, "[]"), reply(200, {"properties": {}})])
async def test_a_broken_answer_is_tried_again(broken: Reply) -> None:
    with pytest.raises(TryAgain):
        await CONNECTOR.fetch(FakeCall(lambda _: broken), Ref("hubspot.company", "77"))


@pytest.mark.parametrize("missing", [reply(404, {}), reply(207, {"results": [], "numErrors": 1})])
async def test_a_deal_is_not_gone_because_its_company_or_owner_is(missing: Reply) -> None:
    deal = {
        "id": "901",
        "properties": {"hubspot_owner_id": "7"},
        "associations": {"companies": {"results": [{"id": "77", "type": "deal_to_company"}]}},
    }
    call = FakeCall(
        {
            "GET /crm/v3/objects/deals/901": reply(200, deal),
            "POST /crm/v3/objects/companies/batch/read": missing,
            "GET /crm/v3/owners/7": lambda _: reply(404, {}),
        }
    )
    document = await CONNECTOR.fetch(call, Ref("hubspot.deal", "901"))
    assert (document.id, document.related, document.data["owner"]) == ("901", (), None)


async def test_a_list_that_is_not_found_is_no_record_that_is_gone() -> None:
    for full in (False, True):
        with pytest.raises(TryAgain):
            await swept(FakeCall(lambda _: reply(404, {})), json.dumps({"since": START}), full=full)


@pytest.mark.parametrize(
    "associations",
    [
        reply(200, {}),
        reply(200, {"results": [{"toObjectId": None}]}),
        reply(200, {"results": [], "paging": {"next": {"after": "same"}}}),
        reply(403, {}),
        TryAgain("429"),
    ],
)
async def test_a_partial_look_up_cannot_tell(associations: Any) -> None:
    action = CONNECTOR.about.action("add_note")
    assert action is not None
    call = FakeCall(
        {
            "GET /crm/v3/objects/deals/901": reply(200, {"id": "901", "archived": False}),
            "GET /crm/v4/objects/deals/901/associations/notes": lambda _: associations,
        }
    )
    assert isinstance(await action.find(call, AddNote(deal="901", text="x"), KEY), CannotTell)


async def test_a_merged_deal_is_looked_up_under_its_new_id() -> None:
    action = CONNECTOR.about.action("add_note")
    assert action is not None
    call = FakeCall(
        {
            "GET /crm/v3/objects/deals/901": reply(200, {"id": "950", "archived": False}),
            "GET /crm/v4/objects/deals/950/associations/notes": reply(200, {"results": []}),
        }
    )
    await action.find(call, AddNote(deal="901", text="x"), KEY)
    assert call.requests[-1].path.startswith("/crm/v4/objects/deals/950/")


def test_times_are_read_as_hubspot_writes_them() -> None:
    assert instant_of(1_777_886_998_123) == instant_of("1777886998123") == instant_of("2026-05-04T09:29:58.123Z")
    assert instant_of("2026-05-04T11:29:58.123+02:00") == instant_of(1_777_886_998_123)
    assert [instant_of(one) for one in (None, "", "soon", 10**18, True, 12.5)] == [None] * 6
    assert NOW - instant_of(1_777_886_998_123) < timedelta(seconds=2)


async def test_a_batch_of_which_something_could_not_be_read_is_no_answer() -> None:
    there = {"id": "1", "properties": {"name": "Orchard Tools"}}
    failed = {"status": "error", "category": "INTERNAL_ERROR", "message": "internal error", "context": {"ids": ["2"]}}
    missing = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some COMPANY objects"}
    for errors, fine in (([missing], True), ([missing, failed], False)):
        page = reply(207, {"status": "COMPLETE", "results": [there], "numErrors": len(errors), "errors": errors})
        call = FakeCall({"POST /crm/v3/objects/companies/batch/read": page})
        if fine:
            assert await read_batch(call, OBJECTS["hubspot.company"], ["1", "2"], ("name",)) == [there]
        else:
            with pytest.raises(TryAgain, match="INTERNAL_ERROR"):
                await read_batch(call, OBJECTS["hubspot.company"], ["1", "2"], ("name",))
