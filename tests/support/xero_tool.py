"""A simulated Xero, reached by the hub's own way out."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import httpx
from pydantic import SecretStr

from lifecyclehub.connector.roles import CreateCustomer, CreateDraftInvoice, InvoiceLine, MoneyInput
from lifecyclehub.mapping import load_mappings
from lifecyclehub.messages import Done, Key, Outcome, Request
from lifecyclehub.ports import SystemClock, SystemRandomness
from lifecyclehub.registry import default_mappings
from lifecyclehub.sandbox.history import read_history
from lifecyclehub.sandbox.xero import Xero as Tool
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.client import Client
from lifecyclehub.vendor.grants import Tokens
from lifecyclehub.vendor.target import Target
from lifecyclehub_xero import Xero
from tests.support.reach import KeptGrants

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
