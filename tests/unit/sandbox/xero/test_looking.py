"""The simulated Xero shows what it holds, and calls."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Self

import httpx
import pytest

from lifecyclehub.errors import Moved, RecordGone
from lifecyclehub.jsonio import parse_strictly
from lifecyclehub.messages import Delivery, Done, Notice, Ref, Request
from lifecyclehub.ports import SystemClock
from lifecyclehub.sandbox.faults import Hooking
from lifecyclehub.sandbox.server import Server
from lifecyclehub.sandbox.xero import Xero as Tool
from lifecyclehub.signatures import Secret, verify
from tests.support.xero_tool import ACCOUNT, CONNECTOR, DOOR, MAPPINGS, Reach, customer, done, history, invoice_for

pytestmark = pytest.mark.anyio

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
        self._server = Server(hub)

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/ep_1"
        await self._server.begin(listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.end()


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
