from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.connector import ByHand, Endpoint, Page
from lifecyclehub.connector.roles import CreateCustomer, CreateDraftInvoice
from lifecyclehub.errors import Forbidden, MappingError, TryAgain
from lifecyclehub.messages import Absent, CannotTell, Delivery, Found, Key, Notice, Ref, Reply, Request
from lifecyclehub.testing import FakeCall, reply
from lifecyclehub_xero import Xero
from lifecyclehub_xero.api import CONTACT, INVOICE, moment
from lifecyclehub_xero.texts import contact_name, link, phone

ORG, OTHER = "5e2b7a10-3c4d-4f6a-9b1e-0d7c8a9f1e21", "c6d7e8f9-0a1b-4c2d-8e3f-4a5b6c7d8e9f"
CUSTOMER = "b2f7c3d1-5a6e-4c8b-9d0f-1a2b3c4d5e6f"
KEY = Key(idempotency="key-1", marker="lh-7k2m9qx3ab")
DELIVERIES = Path(__file__).parent / "fixtures" / "deliveries"

xero = Xero()


def paged(plural: str, items: list[dict[str, Any]], page: int = 1, pages: int = 1) -> Reply:
    return reply(200, {"pagination": {"page": page, "pageSize": 2, "pageCount": pages, "itemCount": 9}, plural: items})


def at(second: int, ms: int = 0) -> str:
    moment = datetime(2026, 5, 4, 9, 0, tzinfo=UTC).timestamp() + second
    return f"/Date({int(moment * 1000) + ms}+0000)/"


def invoice(number: int, second: int, **more: Any) -> dict[str, Any]:
    return {"InvoiceID": f"inv-{number}", "Type": "ACCREC", "UpdatedDateUTC": at(second), **more}


async def swept(call: FakeCall, kind: str, cursor: str | None = None, *, full: bool = False) -> list[Page]:
    return [page async for page in xero.sweep(call, kind, cursor, full=full)]


def since_of(request: Request) -> str | None:
    return dict(request.headers).get("if-modified-since")


# --- accounts -----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_organisations_are_listed_with_their_currency_and_practices_left_out() -> None:
    listed = [
        {"id": "c1", "tenantId": ORG, "tenantType": "ORGANISATION", "tenantName": "Northwind Atelier"},
        {"id": "c2", "tenantId": OTHER, "tenantType": "ORGANISATION", "tenantName": "Northwind Prints"},
        {"id": "c3", "tenantId": "p-1", "tenantType": "PRACTICE", "tenantName": "Harbour Accountants"},
    ]
    currency = {ORG: "EUR", OTHER: "GBP"}

    def answer(request: Request) -> Reply:
        if request.path == "/connections":
            assert request.host == "identity"
            return reply(200, listed)
        return reply(200, {"Organisations": [{"BaseCurrency": currency[dict(request.headers)["xero-tenant-id"]]}]})

    accounts = await xero.accounts(FakeCall(answer, account=""))
    assert [(one.id, one.name, one.currency) for one in accounts] == [
        (ORG, "Northwind Atelier", "EUR"),
        (OTHER, "Northwind Prints", "GBP"),
    ]


@pytest.mark.anyio
async def test_a_pinned_connection_asks_only_its_own_organisation_for_the_currency() -> None:
    listed = [{"tenantId": one, "tenantType": "ORGANISATION", "tenantName": one} for one in (ORG, OTHER)]
    call = FakeCall(
        {"GET /connections": reply(200, listed), "GET /Organisation": [reply(200, {"Organisations": [{"BaseCurrency": "EUR"}]})]},
        account=ORG,
    )
    assert [one.currency for one in await xero.accounts(call)] == ["EUR", None]


@pytest.mark.anyio
async def test_a_failing_list_of_organisations_is_no_empty_list() -> None:
    with pytest.raises(TryAgain):
        await xero.accounts(FakeCall({"GET /connections": reply(200, {"Title": "maintenance"})}, account=""))


# --- reading ------------------------------------------------------------------------------------------------------


def read(body: Any) -> list[Notice]:
    delivery = Delivery(id="d", door="app", headers={}, body=b"", json=body, received_at=datetime.now(UTC))
    return list(xero.read(delivery))


@pytest.mark.parametrize(
    "bad", [{"eventCategory": "INVOICE", "resourceId": None, "tenantId": ORG}, {"tenantId": ORG}, "entry", None]
)
def test_an_entry_without_an_id_is_kept_as_unreadable_and_spoils_no_neighbour(bad: Any) -> None:
    good = {"eventCategory": "INVOICE", "resourceId": "1", "tenantId": ORG}
    found = read({"events": [bad, good]})
    assert [(one.kind, one.record_id) for one in found] == [("xero.unreadable", "entry-0"), ("xero.invoice", "1")]


def test_a_body_without_a_list_of_events_is_not_taken_for_an_intent_to_receive() -> None:
    with pytest.raises(KeyError):
        read({"message": "hello"})


# --- sweeping -----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_first_sweep_begins_now_and_keeps_an_overlapping_cursor() -> None:
    call = FakeCall({"GET /Invoices": paged("Invoices", [])}, account=ORG)
    (page,) = await swept(call, INVOICE)
    assert since_of(call.requests[0]) == "2026-05-04T09:28:00"
    assert dict(call.requests[0].query) == {
        "where": 'Type=="ACCREC"',
        "Statuses": "DRAFT,SUBMITTED,AUTHORISED,PAID,VOIDED,DELETED",
        "order": "UpdatedDateUTC ASC",
        "page": "1",
        "pageSize": "250",
    }
    assert (page.notices, page.cursor, page.last) == ((), json.dumps({"since": "2026-05-04T09:28:00"}), True)


@pytest.mark.anyio
async def test_a_full_page_is_followed_from_its_newest_change_on_so_that_nothing_slips_by() -> None:
    answers = [
        paged("Invoices", [invoice(1, 10), invoice(2, 20)], 1, 2),
        paged("Invoices", [invoice(2, 20), invoice(3, 30)], 1, 1),
    ]
    call = FakeCall({"GET /Invoices": answers}, account=ORG)
    first, last = await swept(call, INVOICE, json.dumps({"since": "2026-05-04T09:00:00"}))
    assert [since_of(request) for request in call.requests] == ["2026-05-04T09:00:00", "2026-05-04T09:00:19"]
    assert [dict(request.query)["page"] for request in call.requests] == ["1", "1"]
    assert [one.record_id for one in first.notices + last.notices] == ["inv-1", "inv-2", "inv-2", "inv-3"]
    assert json.loads(first.cursor or "") == {"since": "2026-05-04T09:00:19"}
    assert not first.last
    assert last.last


@pytest.mark.anyio
async def test_many_changes_within_one_second_are_paged_through() -> None:
    answers = [
        paged("Invoices", [invoice(1, 0), invoice(2, 0)], 1, 2),
        paged("Invoices", [invoice(3, 0)], 2, 2),
    ]
    call = FakeCall({"GET /Invoices": answers}, account=ORG)
    pages = await swept(call, INVOICE, json.dumps({"since": "2026-05-04T08:59:59"}))
    assert [dict(request.query)["page"] for request in call.requests] == ["1", "2"]
    assert [one.record_id for page in pages for one in page.notices] == ["inv-1", "inv-2", "inv-3"]


@pytest.mark.anyio
async def test_the_next_sweep_overlaps_by_two_minutes_and_never_goes_back() -> None:
    call = FakeCall({"GET /Invoices": paged("Invoices", [invoice(1, 600)])}, account=ORG)
    (page,) = await swept(call, INVOICE, json.dumps({"since": "2026-05-04T09:00:00"}))
    assert json.loads(page.cursor or "") == {"since": "2026-05-04T09:08:00"}
    call = FakeCall({"GET /Invoices": paged("Invoices", [invoice(1, 60)])}, account=ORG)
    (page,) = await swept(call, INVOICE, json.dumps({"since": "2026-05-04T09:00:30"}))
    assert json.loads(page.cursor or "") == {"since": "2026-05-04T09:00:30"}


@pytest.mark.anyio
async def test_a_full_sweep_asks_for_everything_and_ends_without_a_cursor() -> None:
    answers = [paged("Contacts", [{"ContactID": "c1", "UpdatedDateUTC": at(1)}], 1, 2), paged("Contacts", [])]
    call = FakeCall({"GET /Contacts": answers}, account=ORG)
    first, last = await swept(call, CONTACT, full=True)
    assert since_of(call.requests[0]) is None
    assert ("includeArchived", "true") in call.requests[0].query
    assert json.loads(first.cursor or "")["since"]
    assert (last.cursor, last.last) == (None, True)


@pytest.mark.anyio
async def test_a_sweep_tells_when_a_contact_was_merged() -> None:
    merged = {"ContactID": "c1", "MergedToContactID": "c2", "UpdatedDateUTC": at(5, 250)}
    (page,) = await swept(FakeCall({"GET /Contacts": paged("Contacts", [merged])}, account=ORG), CONTACT)
    when = datetime(2026, 5, 4, 9, 0, 5, 250_000, tzinfo=UTC)
    assert page.notices == (Notice(kind=CONTACT, record_id="c1", account=ORG, at=when, change="merged", into="c2"),)


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [reply(404, ""), reply(400, {}), reply(500, ""), reply(200, "<html>"), reply(200, {})])
async def test_a_sweep_that_fails_is_no_empty_sweep(answer: Reply) -> None:
    with pytest.raises(TryAgain):
        await swept(FakeCall({"GET /Invoices": answer}, account=ORG), INVOICE)


@pytest.mark.anyio
async def test_a_sweep_that_is_not_allowed_says_so() -> None:
    with pytest.raises(Forbidden):
        await swept(FakeCall({"GET /Invoices": reply(403, {})}, account=ORG), INVOICE)


@pytest.mark.anyio
async def test_not_modified_is_an_empty_last_page() -> None:
    (page,) = await swept(FakeCall({"GET /Invoices": reply(304, "")}, account=ORG), INVOICE)
    assert page.notices == ()
    assert page.last


# --- fetching -----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_id_from_outside_cannot_lead_to_another_path() -> None:
    call = FakeCall(lambda _: reply(404, ""), account=ORG)
    with pytest.raises(Exception, match="Xero has no"):
        await xero.fetch(call, Ref(INVOICE, "../Organisation?x=1"))
    assert call.requests[0].path == "/Invoices/..%2FOrganisation%3Fx%3D1"


@pytest.mark.anyio
async def test_an_invoice_whose_contact_is_gone_comes_without_it() -> None:
    found = {"InvoiceID": "inv-1", "Type": "ACCREC", "Contact": {"ContactID": "c1"}}
    call = FakeCall({"GET /Invoices/inv-1": reply(200, {"Invoices": [found]}), "GET /Contacts/c1": reply(404, "")}, account=ORG)
    assert (await xero.fetch(call, Ref(INVOICE, "inv-1"))).related == ()


# --- finding ------------------------------------------------------------------------------------------------------

customer = xero.about.action("create_customer")
draft = xero.about.action("create_draft_invoice")
LINE = {"description": "Work", "amount": {"minor": 100, "currency": "EUR", "decimal": "1.00"}}
BRIGHTWATER = CreateCustomer(
    name="Brightwater Foods", email="accounts@brightwater.example", tax_id="DK 12345678", reference="CL-7"
)
INVOICE_INPUT = CreateDraftInvoice.model_validate(
    {"customer": CUSTOMER, "currency": "EUR", "lines": [LINE], "issued_on": "2026-05-04"}
)


@pytest.mark.anyio
async def test_our_marker_counts_more_than_a_namesake() -> None:
    assert customer is not None
    contacts = [
        {"ContactID": "c1", "Name": "Brightwater Foods", "ContactStatus": "ACTIVE"},
        {"ContactID": "c2", "Name": "Brightwater Foods A/S", "ContactStatus": "ACTIVE", "ContactNumber": f"CL-7 {KEY.marker}"},
    ]
    sighting = await customer.find(FakeCall({"GET /Contacts": paged("Contacts", contacts)}), BRIGHTWATER, KEY)
    assert isinstance(sighting, Found)
    assert [one.record_id for one in sighting.records] == ["c2"]


@pytest.mark.anyio
async def test_our_reference_counts_more_than_a_name_and_a_name_more_than_a_tax_number_or_an_address() -> None:
    assert customer is not None
    by_reference = {"ContactID": "c1", "Name": "Old name", "ContactNumber": "cl-7"}
    by_name = {"ContactID": "c2", "Name": "BRIGHTWATER FOODS"}
    by_email = {"ContactID": "c3", "Name": "Lund", "EmailAddress": "Accounts@brightwater.example"}
    by_tax = {"ContactID": "c4", "Name": "Brightwater A/S", "TaxNumber": "dk 12345678"}
    for contacts, wanted in (
        ([by_email, by_tax, by_name, by_reference], "c1"),
        ([by_email, by_tax, by_name], "c2"),
        ([by_email, by_tax], "c4"),
        ([by_email], "c3"),
    ):
        sighting = await customer.find(FakeCall({"GET /Contacts": paged("Contacts", contacts)}), BRIGHTWATER, KEY)
        assert isinstance(sighting, Found)
        assert [one.record_id for one in sighting.records] == [wanted]


@pytest.mark.anyio
async def test_every_page_is_read_even_where_xero_does_not_count_them() -> None:
    assert draft is not None
    marked = invoice(2, 0, Url=f"https://hub.example.test/#{KEY.marker}")
    pages = {"1": [invoice(1, 0)], "2": [marked], "3": []}
    call = FakeCall(lambda request: reply(200, {"Invoices": pages[dict(request.query)["page"]]}))
    sighting = await draft.find(call, INVOICE_INPUT, KEY)
    assert isinstance(sighting, Found)
    assert [one.record_id for one in sighting.records] == ["inv-2"]


@pytest.mark.anyio
async def test_absence_is_said_only_after_both_lists_were_read_to_the_end() -> None:
    assert draft is not None
    call = FakeCall({"GET /Invoices": paged("Invoices", [])})
    assert isinstance(await draft.find(call, INVOICE_INPUT, KEY), Absent)
    assert [request.query[0] for request in call.requests] == [("ContactIDs", CUSTOMER), ("createdByMyApp", "true")]
    failing = FakeCall({"GET /Invoices?createdByMyApp=true": reply(500, ""), "GET /Invoices": paged("Invoices", [])})
    assert isinstance(await draft.find(failing, INVOICE_INPUT, KEY), CannotTell)


# --- rendering ----------------------------------------------------------------------------------------------------


def test_a_contact_number_that_leaves_no_room_for_the_marker_is_refused_before_sending() -> None:
    assert customer is not None
    with pytest.raises(MappingError, match="leaves no room"):
        customer.render(BRIGHTWATER, {"Name": "Brightwater Foods", "ContactNumber": "x" * 37}, KEY)
    fits = customer.render(BRIGHTWATER, {"Name": "Brightwater Foods", "ContactNumber": "x" * 36}, KEY)
    assert len(fits.json["Contacts"][0]["ContactNumber"]) == 50


def test_a_draft_stays_a_sales_draft_whatever_the_mapping_says() -> None:
    assert draft is not None
    body = {"Type": "ACCPAY", "Status": "AUTHORISED", "Url": "https://hub.example.test/"}
    (made,) = draft.render(INVOICE_INPUT, body, KEY).json["Invoices"]
    assert (made["Type"], made["Status"]) == ("ACCREC", "DRAFT")


@pytest.mark.parametrize("url", [None, "", "projects/5", 7])
def test_an_invoice_without_an_address_for_its_marker_is_refused_before_sending(url: Any) -> None:
    assert draft is not None
    with pytest.raises(MappingError, match="no address"):
        draft.render(INVOICE_INPUT, {"Url": url}, KEY)


@pytest.mark.parametrize(
    ("url", "marked"),
    [
        ("https://app.asana.com/0/1", "https://app.asana.com/0/1#lh-7k2m9qx3ab"),
        ("https://pm.example/#/projects/5", "https://pm.example/?lh=lh-7k2m9qx3ab#/projects/5"),
        ("https://pm.example/?p=5#/x", "https://pm.example/?p=5&lh=lh-7k2m9qx3ab#/x"),
        ("https://pm.example/browse/Xero-7?q=xero", "https://pm.example/browse/%58ero-7?q=%78ero#lh-7k2m9qx3ab"),
    ],
)
def test_the_marker_leaves_the_page_behind_a_link_as_it_is(url: str, marked: str) -> None:
    assert link(url, KEY.marker) == marked


# --- words --------------------------------------------------------------------------------------------------------


def test_names_are_written_as_xero_takes_them() -> None:
    assert contact_name("  Brightwater   Foods <DK> ") == "Brightwater Foods (DK)"
    assert contact_name("   ") is None
    assert contact_name(None) is None


def test_the_default_phone_number_is_read_with_its_codes_else_any_other() -> None:
    mobile = {"PhoneType": "MOBILE", "PhoneNumber": "555 0102"}
    assert (
        phone([mobile, {"PhoneType": "DEFAULT", "PhoneNumber": "12 34", "PhoneAreaCode": "87", "PhoneCountryCode": "+45"}])
        == "+45 87 12 34"
    )
    assert phone([{"PhoneType": "DEFAULT", "PhoneNumber": ""}, mobile]) == "555 0102"
    assert phone([]) is None
    assert phone("12 34") is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/Date(1777886998412+0000)/", "2026-05-04T09:29:58.412+00:00"),
        ("/Date(1777886998412+1300)/", "2026-05-04T09:29:58.412+00:00"),  # the offset is how it is shown, not added
        ("/Date(-86400000)/", "1969-12-31T00:00:00+00:00"),
        ("2026-05-04T09:29:58.412", "2026-05-04T09:29:58.412+00:00"),
        ("2026-05-04 09:29:58+00:00", "2026-05-04T09:29:58+00:00"),
    ],
)
def test_xeros_times_are_read_in_utc(text: str, wanted: str) -> None:
    assert moment(text) == datetime.fromisoformat(wanted)


@pytest.mark.parametrize("text", [None, 7, "", "soon", "/Date(99999999999999999)/", "/Date(999999999999999)/"])
def test_what_is_no_time_is_none(text: Any) -> None:
    assert moment(text) is None


# --- webhooks -----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_webhooks_are_set_up_by_hand_with_the_key_entered_before_the_test_is_sent() -> None:
    made = await xero.subscribe(FakeCall({}), Endpoint(id="ep_1", url="https://hub.example.test/hooks/ep_1", door="app"))
    assert isinstance(made, ByHand)
    text = " ".join(made.steps)
    assert "{url}" in text
    assert text.index("webhook key") < text.index("Send 'Intent to receive'")


@pytest.mark.anyio
async def test_the_fields_of_both_kinds_are_listed_with_the_options_of_their_choices() -> None:
    for kind, choice in ((INVOICE, "Status"), (CONTACT, "ContactStatus")):
        listed = {one.path: one for one in await xero.fields(FakeCall({}), kind)}
        assert listed[choice].options
    assert await xero.fields(FakeCall({}), "xero.unknown") == ()


@pytest.mark.skipif(not os.environ.get("LIFECYCLEHUB_VENDOR_SPECS"), reason="LIFECYCLEHUB_VENDOR_SPECS names no folder")
@pytest.mark.parametrize(("name", "schema"), [("batch", "WebhookEvent"), ("unknown_kinds", "WebhookEvent")])
def test_the_captures_fit_xeros_own_description_of_its_webhooks(name: str, schema: str) -> None:
    import jsonschema
    import yaml

    file = Path(os.environ["LIFECYCLEHUB_VENDOR_SPECS"]) / "xero" / "xero-webhooks.yaml"
    described = yaml.safe_load(file.read_text("utf-8"))
    body = json.loads((DELIVERIES / f"{name}.json").read_text("utf-8"))["body"]
    validator = jsonschema.Draft202012Validator({**described, "$ref": f"#/components/schemas/{schema}"})
    assert [error.message for error in validator.iter_errors(body)] == []
    assert list(validator.iter_errors({**body, "entropy": None})), "the schema must be able to refuse"
    known = set(described["components"]["schemas"][schema]["properties"]["events"]["items"]["properties"]) | {"data"}
    assert all(set(entry) <= known for entry in body["events"])
