"""The simulated Xero lets in and does what it should, driven over real HTTP."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import httpx
import pytest

from lifecyclehub.errors import NeedsReauthorization, TryAgain
from lifecyclehub.messages import Absent, Done, Found, Key, Ref, Refused, Request, Unknown
from lifecyclehub.sandbox.faults import Fault
from lifecyclehub.sandbox.xero import Xero as Tool
from tests.support.xero_tool import (
    ACCOUNT,
    BRIGHTWATER,
    CONNECTOR,
    KEY,
    MAPPINGS,
    OTHER,
    Reach,
    customer,
    done,
    history,
    invoice_for,
)

pytestmark = pytest.mark.anyio

# --- getting in ---------------------------------------------------------------------------------------------------


async def test_a_custom_connection_reaches_its_one_organisation(reach: Reach) -> None:
    (account,) = await CONNECTOR.accounts(reach.call(account=""))
    assert (account.id, account.name, account.currency) == (Tool.account_id, "Northwind Atelier", "EUR")


async def test_an_ended_access_token_is_renewed_once(tool: Tool, reach: Reach) -> None:
    await CONNECTOR.accounts(reach.call())
    await tool.expire_access()
    await CONNECTOR.accounts(reach.call())
    assert [line["grant"] for line in history(tool, "granted")] == ["client_credentials", "client_credentials"]


async def test_a_wrong_client_secret_needs_a_person(tool: Tool) -> None:
    reach = Reach(tool, client_secret="wrong")
    with pytest.raises(NeedsReauthorization):
        await CONNECTOR.accounts(reach.call())
    await reach.client.aclose()


async def test_an_unknown_scope_is_refused(tool: Tool) -> None:
    form = {"grant_type": "client_credentials", "scope": "accounting.transactions"}
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        basic = (tool.credentials["client_id"], tool.credentials["client_secret"])
        reply = await client.post("/connect/token", data=form, auth=basic)
    assert (reply.status_code, reply.json()) == (400, {"error": "invalid_scope"})


async def test_a_refresh_token_serves_once_and_reaches_several_organisations(tmp_path: Path) -> None:
    tool = Tool(tmp_path, auth="refresh_grant")
    await tool.start()
    try:
        first, late = Reach(tool), Reach(tool)
        accounts = await CONNECTOR.accounts(first.call(account=""))
        assert [(one.name, one.currency) for one in accounts] == [("Northwind Atelier", "EUR"), ("Northwind Prints", "GBP")]
        with pytest.raises(NeedsReauthorization, match="invalid_grant"):
            await CONNECTOR.accounts(late.call())
        await tool.expire_access()
        assert await CONNECTOR.accounts(first.call())
        assert len({one.secrets["refresh_token"].get_secret_value() for one in first.grants.saved}) >= 2
    finally:
        await first.client.aclose()
        await late.client.aclose()
        await tool.stop()


async def test_an_organisation_that_is_not_connected_must_be_connected_again(reach: Reach) -> None:
    with pytest.raises(NeedsReauthorization, match="not connected to this app any more"):
        await CONNECTOR.fetch(reach.call(account="somebody-else"), Ref("xero.invoice", "inv-1"))


# --- doing --------------------------------------------------------------------------------------------------------


async def test_a_customer_and_a_draft_are_made_and_read_back_with_their_markers(tool: Tool, reach: Reach) -> None:
    call = reach.call()
    contact_id = await customer(call)
    made = await done(call, "create_draft_invoice", invoice_for(contact_id))
    assert isinstance(made, Done)
    document = await CONNECTOR.fetch(call, Ref("xero.invoice", made.record_id or ""))
    assert document.marker == KEY.marker
    (contact,) = document.related
    assert (contact.id, contact.marker) == (contact_id, OTHER.marker)
    invoice, client = MAPPINGS.inbound("xero.invoice"), MAPPINGS.inbound("xero.contact")
    assert invoice is not None
    assert client is not None
    values = invoice.map(document, ACCOUNT).values
    assert (values["invoice.status"], values["invoice.total.amount"], values["invoice.total.currency"]) == (
        "draft",
        120050,
        "EUR",
    )
    assert (values["invoice.reference"], values["invoice.issued_on"]) == ("New website", date(2026, 5, 4))
    assert client.map(contact, ACCOUNT).values["client.email"] == "accounts@brightwater.example"
    created = [(line["kind"], line["marker"], line["by"]) for line in history(tool, "created")]
    assert created == [("contact", OTHER.marker, "api"), ("invoice", KEY.marker, "api")]


async def test_the_same_key_within_its_window_makes_one_invoice(tool: Tool, reach: Reach) -> None:
    call = reach.call()
    wanted = invoice_for(await customer(call))
    first = await done(call, "create_draft_invoice", wanted)
    await tool.approve_invoice(str(first.record_id) if isinstance(first, Done) else "")
    assert await done(call, "create_draft_invoice", wanted) == first
    assert len([line for line in history(tool, "created") if line["kind"] == "invoice"]) == 1
    assert [line["key"] for line in history(tool, "repeated")] == [KEY.idempotency]


async def test_the_same_key_for_another_body_is_refused_by_xero_and_unknown_to_us(reach: Reach) -> None:
    call = reach.call()
    contact_id = await customer(call)
    await done(call, "create_draft_invoice", invoice_for(contact_id))
    assert isinstance(await done(call, "create_draft_invoice", invoice_for(contact_id, "7.00")), Unknown)


async def test_a_refusal_is_kept_under_its_key_too(tool: Tool, reach: Reach) -> None:
    call = reach.call()
    await tool.add_contact("Brightwater Foods")
    refused = await done(call, "create_customer", BRIGHTWATER)
    assert isinstance(refused, Refused)
    (contact,) = tool.books[tool.account_id].contacts
    await tool.rename_contact(contact, "Somebody else")
    assert await done(call, "create_customer", BRIGHTWATER) == refused


async def test_after_the_window_the_key_makes_another_one_and_the_look_up_shows_both(tmp_path: Path) -> None:
    tool = Tool(tmp_path, key_window_s=0)
    await tool.start()
    reach = Reach(tool)
    try:
        call = reach.call()
        wanted = invoice_for(await customer(call))
        action = CONNECTOR.about.action("create_draft_invoice")
        assert action is not None
        for _ in range(2):
            assert isinstance(await done(call, "create_draft_invoice", wanted), Done)
        sighting = await action.find(call, wanted, KEY)
        assert isinstance(sighting, Found)
        assert len(sighting.records) == 2
    finally:
        await reach.client.aclose()
        await tool.stop()


async def test_a_lost_answer_is_found_by_its_marker_wherever_the_invoice_went(tool: Tool, reach: Reach) -> None:
    call = reach.call()
    contact_id = await customer(call)
    wanted = invoice_for(contact_id)
    action = CONNECTOR.about.action("create_draft_invoice")
    assert action is not None
    assert isinstance(await action.find(call, wanted, KEY), Absent)
    tool.misbehaviour.faults = [Fault(do="lose_answer", method="PUT", path="Invoices")]
    with pytest.raises(TryAgain) as lost:
        await done(call, "create_draft_invoice", wanted)
    assert lost.value.sent
    (invoice_id,) = tool.books[tool.account_id].invoices
    tool.misbehaviour.lag_s = 60
    assert isinstance(await action.find(call, wanted, KEY), Absent)  # before the lag has passed nothing is proven
    tool.misbehaviour.lag_s = 0
    survivor = (await tool.add_contact("Brightwater Group"))["id"]
    await tool.merge_contact(contact_id, survivor)
    await tool.void_invoice(invoice_id)
    sighting = await action.find(call, wanted, KEY)
    assert isinstance(sighting, Found)
    assert [one.record_id for one in sighting.records] == [invoice_id]


async def test_a_taken_name_is_refused_as_existing_and_the_namesake_is_found(tool: Tool, reach: Reach) -> None:
    by_hand = (await tool.add_contact("BRIGHTWATER FOODS"))["id"]
    call = reach.call()
    refused = await done(call, "create_customer", BRIGHTWATER)
    assert isinstance(refused, Refused)
    assert refused.exists
    action = CONNECTOR.about.action("create_customer")
    assert action is not None
    sighting = await action.find(call, BRIGHTWATER, KEY)
    assert isinstance(sighting, Found)
    assert [one.record_id for one in sighting.records] == [by_hand]


async def test_what_xero_does_not_take_is_refused_in_its_own_words(tool: Tool, reach: Reach) -> None:
    call = reach.call()
    contact_id = await customer(call)
    refused = await done(call, "create_draft_invoice", invoice_for(contact_id, currency="CHF"))
    assert isinstance(refused, Refused)
    assert "currency" in refused.reason
    await tool.archive_contact(contact_id)
    refused = await done(call, "create_draft_invoice", invoice_for(contact_id), Key("effect-3-revision-1", OTHER.marker))
    assert refused == Refused("The contact is archived and cannot be used.")
    bad = {"Invoices": [{"Type": "ACCREC", "Contact": {"ContactID": contact_id}, "LineItems": [], "Colour": "blue"}]}
    reply = await call.send(Request(method="PUT", path="/Invoices", json=bad))
    assert (reply.status, reply.json()["Message"]) == (400, "Colour cannot be set on Invoice")
    reply = await call.send(Request(method="GET", path="/Invoices", query=(("color", "blue"),)))
    assert reply.status == 400


async def test_a_log_in_page_proves_nothing(tool: Tool, reach: Reach) -> None:
    call = reach.call()
    contact_id = await customer(call)
    tool.misbehaviour.faults = [Fault(do="html", method="PUT", path="Invoices")]
    assert isinstance(await done(call, "create_draft_invoice", invoice_for(contact_id)), Unknown)
