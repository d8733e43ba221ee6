"""The simulated Xero, driven over real HTTP by the connector and by the hub's own way out."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from lifecyclehub.connector.roles import CreateCustomer, CreateDraftInvoice, InvoiceLine, MoneyInput
from lifecyclehub.errors import Forbidden, Moved, NeedsReauthorization, RecordGone, TryAgain
from lifecyclehub.jsonio import parse_strictly
from lifecyclehub.mapping import load_mappings
from lifecyclehub.messages import Absent, Delivery, Done, Found, Key, Notice, Outcome, Ref, Refused, Request, Unknown
from lifecyclehub.ports import SystemClock, SystemRandomness
from lifecyclehub.registry import default_mappings
from lifecyclehub.sandbox.faults import Fault, Hooking
from lifecyclehub.sandbox.history import read_history
from lifecyclehub.sandbox.xero import Xero as Tool
from lifecyclehub.signatures import Secret, verify
from lifecyclehub.vendor import Client, HubCall, Target, Tokens
from lifecyclehub_xero import Xero
from tests.support.reach import KeptGrants

pytestmark = pytest.mark.anyio

CONNECTOR = Xero()
DOOR = CONNECTOR.about.doors[0]
MAPPINGS = load_mappings(default_mappings(CONNECTOR), {}, CONNECTOR.about)
KEY = Key(idempotency="effect-1-revision-1", marker="lh-7k2m9qx3ab")
OTHER = Key(idempotency="effect-2-revision-1", marker="lh-8m3n0ry4bc")
ACCOUNT = {"id": Tool.account_id, "name": "Northwind Atelier", "currency": "EUR", "timezone": None}


class Reach:
    """The hub's own client, pointed at a simulated tool."""

    def __init__(self, tool: Tool, **change: str) -> None:
        secrets = {name: SecretStr(value) for name, value in {**tool.credentials, **change}.items()}
        self.tool, self.grants = tool, KeptGrants({"gra_1": Tokens(secrets=secrets)})
        self.client = Client(
            clock=SystemClock(),
            randomness=SystemRandomness(),
            grants=self.grants,
            transport=lambda _private: httpx.AsyncHTTPTransport(),
        )

    def call(self, account: str = Tool.account_id) -> HubCall:
        auth = CONNECTOR.about.auth(self.tool.auth)
        assert auth is not None
        settings = self.tool.settings()
        target = Target.of(
            connection="con_1",
            about=CONNECTOR.about,
            auth=auth,
            grant="gra_1",
            settings=settings,
            account=account,
            self_hosted=True,
        )
        return HubCall(self.client, target)


@pytest.fixture
async def tool(tmp_path: Path) -> AsyncIterator[Tool]:
    tool = Tool(tmp_path)
    await tool.start()
    yield tool
    await tool.stop()


@pytest.fixture
async def reach(tool: Tool) -> AsyncIterator[Reach]:
    reach = Reach(tool)
    yield reach
    await reach.client.aclose()


def history(tool: Tool, what: str) -> list[dict[str, Any]]:
    return [line for line in read_history(tool.history.path) if line["what"] == what]


def rendered(call: HubCall, name: str, value: Any, key: Key) -> Request:
    action, mapping = CONNECTOR.about.action(name), MAPPINGS.outbound(name)
    assert action is not None
    assert mapping is not None
    settings = {setting.name: None for setting in CONNECTOR.about.settings} | dict(call.settings)
    return action.render(value, mapping.body(value, settings, ACCOUNT), key)


async def done(call: HubCall, name: str, value: Any, key: Key = KEY) -> Outcome:
    action = CONNECTOR.about.action(name)
    assert action is not None
    request = rendered(call, name, value, key)
    return action.judge(await call.send(request), request)


BRIGHTWATER = CreateCustomer(name="Brightwater Foods", email="accounts@brightwater.example", currency="EUR", reference="CL-7")


def invoice_for(customer: str, amount: str = "1200.50", currency: str = "EUR") -> CreateDraftInvoice:
    money = MoneyInput(minor=int(Decimal(amount) * 100), currency=currency, decimal=Decimal(amount))
    line = InvoiceLine(description="New website", amount=money)
    return CreateDraftInvoice(
        customer=customer, currency=currency, lines=(line,), issued_on=date(2026, 5, 4), reference="New website",
        project_url="https://app.asana.example/0/1209",
    )  # fmt: skip


async def customer(call: HubCall) -> str:
    made = await done(call, "create_customer", BRIGHTWATER, OTHER)
    assert isinstance(made, Done)
    assert made.record_id is not None
    return made.record_id


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
        with pytest.raises(NeedsReauthorization, match="only once"):
            await CONNECTOR.accounts(late.call())
        await tool.expire_access()
        assert await CONNECTOR.accounts(first.call())
        assert len({one.secrets["refresh_token"].get_secret_value() for one in first.grants.saved}) >= 2
    finally:
        await first.client.aclose()
        await late.client.aclose()
        await tool.stop()


async def test_an_organisation_that_is_not_connected_is_forbidden(reach: Reach) -> None:
    with pytest.raises(Forbidden):
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


# --- looking ------------------------------------------------------------------------------------------------------


async def test_an_invoices_life_is_read_as_it_goes(tool: Tool, reach: Reach) -> None:
    call = reach.call()
    made = await done(call, "create_draft_invoice", invoice_for(await customer(call), "100.00"))
    assert isinstance(made, Done)
    invoice_id = str(made.record_id)
    mapping = MAPPINGS.inbound("xero.invoice")
    assert mapping is not None

    async def state() -> tuple[Any, Any, Any]:
        document = await CONNECTOR.fetch(call, Ref("xero.invoice", invoice_id))
        values = mapping.map(document, ACCOUNT).values
        return document.changed_at, values["invoice.status"], values["invoice.paid.amount"]

    seen = [await state()]
    for act in (tool.approve_invoice(invoice_id), tool.pay_invoice(invoice_id, "40.00"), tool.pay_invoice(invoice_id)):
        await act
        seen.append(await state())
    assert [(status, paid) for _, status, paid in seen] == [("draft", 0), ("approved", 0), ("approved", 4000), ("paid", 10000)]
    assert [when for when, *_ in seen] == sorted({when for when, *_ in seen})


async def test_bills_missing_and_merged_records_are_told_apart(tool: Tool, reach: Reach) -> None:
    call = reach.call()
    supplier = (await tool.add_contact("Paper Mill"))["id"]
    bill = (await tool.add_invoice(supplier, "55.00", Type="ACCPAY"))["id"]
    for gone in (bill, "00000000-1111-2222-3333-444444444444"):
        with pytest.raises(RecordGone):
            await CONNECTOR.fetch(call, Ref("xero.invoice", gone))
    into = (await tool.add_contact("Paper Mill Group"))["id"]
    await tool.merge_contact(supplier, into)
    with pytest.raises(Moved) as moved:
        await CONNECTOR.fetch(call, Ref("xero.contact", supplier))
    assert moved.value.to == into


async def test_sweeps_see_every_sales_invoice_over_many_pages_and_then_only_what_changed(tool: Tool, reach: Reach) -> None:
    contact = (await tool.add_contact("Brightwater Foods"))["id"]
    invoices = [(await tool.add_invoice(contact, "10.00", f"Job {number}"))["id"] for number in range(260)]
    await tool.add_invoice(contact, "10.00", Type="ACCPAY")
    call = reach.call()
    pages = [page async for page in CONNECTOR.sweep(call, "xero.invoice", None, full=True)]
    assert {notice.record_id for page in pages for notice in page.notices} == set(invoices)
    assert len(pages) >= 2
    assert pages[-1].cursor is None
    (first,) = [page async for page in CONNECTOR.sweep(call, "xero.contact", None, full=False)]
    assert [notice.record_id for notice in first.notices] == [contact]
    await tool.rename_contact(contact, "Brightwater Foods A/S")
    (later,) = [page async for page in CONNECTOR.sweep(call, "xero.contact", first.cursor, full=False)]
    assert later.notices[0].at is not None
    assert first.notices[0].at is not None
    assert later.notices[0].at > first.notices[0].at


# --- webhooks -----------------------------------------------------------------------------------------------------


class Hub:
    """Listens as the hub does: verifies over the raw bytes, answers 200 or 401 without a body."""

    def __init__(self, secret: str, *, body: bytes = b"", trusting: bool = False) -> None:
        self.got: list[Delivery] = []
        self._secret, self._body, self._trusting = secret, body, trusting

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        now = SystemClock().now()
        known = [Secret("s", self._secret.encode())]
        verdict = verify(
            DOOR.signature, known, method="POST", url="https://hub.test/hooks/x", headers=headers, body=body, now=now
        )
        good = verdict.ok or self._trusting
        if good:
            parsed = parse_strictly(body)
            self.got.append(Delivery(id="d", door="app", headers=headers, body=body, json=parsed, received_at=now))
        await send({"type": "http.response.start", "status": DOOR.answer if good else 401, "headers": []})
        await send({"type": "http.response.body", "body": self._body})

    @property
    def notices(self) -> list[Notice]:
        return [notice for delivery in self.got for notice in CONNECTOR.read(delivery)]


class Listening:
    """A hub on loopback."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.url = hub, ""
        config = uvicorn.Config(hub, port=0, log_level="critical", lifespan="off", access_log=False)
        self._server = uvicorn.Server(config)

    async def __aenter__(self) -> Self:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/ep_1"
        self._serving = asyncio.create_task(self._server._serve(sockets=[listener]))
        while not self._server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._serving


async def settled(tool: Tool) -> None:
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        while not (await client.get("/_sandbox/settled")).json()["settled"]:  # noqa: ASYNC110 (over HTTP)
            await asyncio.sleep(0.01)


async def test_the_intent_to_receive_passes_and_then_every_change_is_told_thinly(tool: Tool) -> None:
    async with Listening(Hub(str(tool.signing_secret))) as listening:
        told = await tool.set_webhook(listening.url)
        assert told["ok"]
        assert [answer["status"] for answer in told["answers"]] == [200, 401, 200, 401]
        assert listening.hub.notices == []
        contact = (await tool.add_contact("Brightwater Foods"))["id"]
        invoice = (await tool.add_invoice(contact, "100.00"))["id"]
        await tool.approve_invoice(invoice)
        await settled(tool)
        assert [(one.kind, one.record_id, one.account) for one in listening.hub.notices] == [
            ("xero.contact", contact, tool.account_id),
            ("xero.invoice", invoice, tool.account_id),
            ("xero.invoice", invoice, tool.account_id),
        ]
        assert [delivery.json["firstEventSequence"] for delivery in listening.hub.got[2:]] == [1, 2, 3]
    (line,) = history(tool, "intent to receive")
    assert line["ok"] is True


@pytest.mark.parametrize(
    "hub", [Hub("another-key"), Hub(Tool.signing_secret, body=b"ok"), Hub(Tool.signing_secret, trusting=True)]
)
async def test_a_hub_that_answers_otherwise_gets_no_webhooks(tool: Tool, hub: Hub) -> None:
    async with Listening(hub) as listening:
        assert not (await tool.set_webhook(listening.url))["ok"]
        await tool.add_contact("Brightwater Foods")
        await settled(tool)
    assert history(tool, "intent to receive")[0]["ok"] is False
    assert history(tool, "sent") == []


async def test_what_is_made_together_is_told_in_one_batch_and_repeated_byte_for_byte(tool: Tool, reach: Reach) -> None:
    async with Listening(Hub(str(tool.signing_secret))) as listening:
        await tool.set_webhook(listening.url)
        tool.misbehaviour.hooks = Hooking(copies=2)
        call = reach.call()
        body = {"Contacts": [{"Name": "Fenwick & Daughters"}, {"Name": "Harbour Coffee"}]}
        assert (await call.send(Request(method="PUT", path="/Contacts", json=body))).status == 200
        await settled(tool)
        once, again = listening.hub.got[2:]
        assert once.body == again.body
        assert [len(list(CONNECTOR.read(one))) for one in (once, again)] == [2, 2]


async def test_people_act_over_http(tool: Tool) -> None:
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        contact = (
            await client.post("/_sandbox/act/add_contact", json={"name": "Brightwater Foods", "email": "a@b.example"})
        ).json()
        await client.post("/_sandbox/act/add_invoice", json={"contact": contact["id"], "amount": "12.50", "reference": "Job 7"})
        listed = (await client.post("/_sandbox/act/list")).json()
    assert [one["name"] for one in listed["contacts"]] == ["Brightwater Foods"]
    (invoice,) = listed["invoices"]
    assert (invoice["total"], invoice["status"], invoice["reference"]) == ("12.50", "DRAFT", "Job 7")
    assert json.loads(json.dumps(listed)) == listed
