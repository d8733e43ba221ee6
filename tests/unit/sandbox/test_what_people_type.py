"""What people type into the simulated tools is done, or refused with a sentence; nothing of it breaks a tool."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.sandbox.tool import Tool
from lifecyclehub.sandbox.xero import Xero
from lifecyclehub.sandbox.zendesk import ZendeskTool

pytestmark = pytest.mark.anyio

TOOLS: tuple[type[Any], ...] = (HubSpotTool, AsanaTool, ZendeskTool, Xero)
TYPED = ("1", "", "x", "-5", "NaN", "2026-13-45", "é\n", "9" * 400, 5, True, None, [], {})


@pytest.fixture(params=TOOLS, ids=lambda one: one.name)
async def tool(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tool]:
    made: Tool = request.param(tmp_path)
    yield made
    await made.stop()


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Xero]:
    made = Xero(tmp_path)
    yield made
    await made.stop()


@pytest.fixture
async def typed(tool: Tool) -> AsyncIterator[httpx.AsyncClient]:
    asgi = httpx.ASGITransport(tool.app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=asgi, base_url="http://tool/_sandbox/act/") as client:
        yield client


@pytest.mark.parametrize("value", TYPED, ids=repr)
async def test_whatever_is_typed_is_done_or_refused_with_a_sentence(tool: Tool, typed: httpx.AsyncClient, value: Any) -> None:
    for name, act in tool.acts.items():
        names = [one.name for one in inspect.signature(act).parameters.values() if one.kind is not one.VAR_KEYWORD]
        reply = await typed.post(name, json=dict.fromkeys(names, value))
        assert reply.status_code < 500, (name, value)
        if reply.is_error:
            assert len(reply.text) > 15, (name, value)


async def test_an_invoice_that_nobody_knows_is_named(books: Xero) -> None:
    asgi = httpx.ASGITransport(books.app())
    async with httpx.AsyncClient(transport=asgi, base_url="http://tool/_sandbox/act/") as client:
        for act in ("approve_invoice", "pay_invoice", "void_invoice"):
            reply = await client.post(act, json={"id": "1"})
            assert (reply.status_code, reply.json()) == (404, {"error": "there is no 1 here."})


async def test_a_payment_of_more_than_is_due_is_refused(books: Xero) -> None:
    contact = (await books.add_contact("Lindgren & Co"))["id"]
    invoice = (await books.add_invoice(contact, "40.00"))["id"]
    await books.approve_invoice(invoice)

    with pytest.raises(ValueError, match="at most what is due, 40"):
        await books.pay_invoice(invoice, "40.01")
    with pytest.raises(ValueError, match="no amount"):
        await books.pay_invoice(invoice, "NaN")
    with pytest.raises(KeyError):
        await books.merge_contact(contact, into="nobody")
