"""Thin batches: one address for all accounts of a vendor app; entries name account and record, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import respx

from lifecyclehub.connector import CONTRACT_VERSION, About, Account, Auth, Call, Door, Host, Kind, Signature
from lifecyclehub.errors import RecordGone
from lifecyclehub.messages import Delivery, Document, Notice, Ref, Request
from tests.support.contract_world import ContractWorld, ThrowAway, Vendor, contract_world, said
from tests.support.workbench import WON_DEAL_STARTS_PROJECT, Workbench, WorkbenchVendor

pytestmark = pytest.mark.anyio


class Lantern(ThrowAway):
    about = About(
        id="lantern",
        name="Lantern",
        contract=CONTRACT_VERSION,
        roles=("crm",),
        kinds=(Kind(id="lantern.deal", fills="deal"),),
        doors=(
            Door(
                name="app",
                signature=Signature(header="Lantern-Signature", encoding="base64", parts=("method", "url", "body")),
                scope="app",
                setup="by_hand",
                answer=204,
            ),
        ),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://api.lantern.example"),),
        actions=(),
        account_header="Lantern-Account",
    )
    mappings: ClassVar = {
        "deal.toml": """
            format = 1
            record = "lantern.deal"
            [fields]
            "deal.title"  = { from = "title", required = true }
            "deal.status" = { from = "stage", lookup = "status", required = true }
            "deal.won_at" = { from = "stage_since", convert = "epoch_s" }
            [lookup.status]
            talking = "open"
            signed = "won"
        """
    }

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        for entry in delivery.json:
            yield Notice(kind=f"lantern.{entry['type']}", record_id=str(entry["id"]), account=str(entry["account"]))

    async def accounts(self, call: Call) -> Sequence[Account]:
        return [Account(id="11", name="North"), Account(id="22", name="South")]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path=f"/deals/{ref.id}"))
        if reply.status == 404:
            raise RecordGone(ref.id)
        return Document(kind=ref.kind, id=ref.id, account=call.account, data=reply.json())


class LanternVendor(Vendor):
    host = "api.lantern.example"

    def __init__(self, router: respx.MockRouter) -> None:
        super().__init__(router)
        self.deals: dict[tuple[str, str], dict[str, Any]] = {}
        self.on("GET", "/deals/(?P<deal>[0-9]+)", self.show)

    async def show(self, request: httpx.Request, deal: str) -> httpx.Response:
        found = self.deals.get((request.headers["lantern-account"], deal))
        return said(found) if found else said({"error": "no such deal"}, 404)


def entry(account: str, deal: str, kind: str = "deal") -> dict[str, str]:
    return {"account": account, "type": kind, "id": deal}


async def set_up(world: ContractWorld) -> tuple[LanternVendor, WorkbenchVendor, str]:
    vendor, bench = LanternVendor(world.router), WorkbenchVendor(world.router)
    north = await world.connect("lantern", name="north", account_id="11")
    await world.connect("lantern", name="south", account_id="22", grant_id=north["grant"])
    await world.connect("workbench")
    await world.switch_on("won-deal-starts-project")
    url = await world.open(north, secret="app-secret")
    world.clock.at += 60
    since = int(world.clock.now().timestamp())
    for account, deal, title in (("11", "1", "Harbour map"), ("22", "1", "Mill house"), ("22", "2", "Well cover")):
        vendor.deals[account, deal] = {"title": title, "stage": "signed", "stage_since": since}
    return vendor, bench, url


async def test_one_batch_serves_all_accounts_and_each_entry_fares_for_itself(tmp_path: Path, database_url: str) -> None:
    async with contract_world(
        tmp_path, Lantern(), Workbench(), handoffs=WON_DEAL_STARTS_PROJECT, database_url=database_url
    ) as world:
        vendor, bench, url = await set_up(world)
        vendor.deals["11", "7"] = {"title": "Odd one", "stage": "on the moon"}
        batch = [
            entry("11", "1"),
            entry("22", "1"),  # the same number in another account is another deal
            entry("22", "1"),
            entry("33", "1"),
            entry("22", "5", "invoice"),
            entry("11", "7"),
            entry("22", "2"),
        ]
        assert await world.ring(url, batch) == 204
        await world.quiet()
        assert sorted(bench.names) == ["Harbour map", "Mill house", "Well cover"]
        assert [(state, reason) for _, state, reason in world.notices()] == [
            ("processed", None),
            ("processed", None),
            ("processed", None),
            ("ignored", "unknown account"),
            ("ignored", "unknown kind"),
            ("parked", "mapping"),
            ("processed", None),
        ]


async def test_a_batch_that_comes_again_after_a_restart_acts_no_second_time(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Lantern(), Workbench(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        _, bench, url = await set_up(world)
        batch = [entry("11", "1"), entry("22", "1")]
        for _ in range(2):
            assert await world.ring(url, batch) == 204
            await world.quiet()
        await world.restart()
        assert await world.ring(url, batch) == 204
        await world.pass_time(5)
        assert sorted(bench.names) == ["Harbour map", "Mill house"]
        assert len(world.rows("SELECT id FROM delivery")) == 3  # thin batches repeat byte for byte: each is news of its own


async def test_a_batch_signed_for_another_address_is_refused(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Lantern(), Workbench(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        _, bench, url = await set_up(world)
        assert await world.ring(url, [entry("11", "1")], secret="guessed") == 401
        await world.quiet()
        assert bench.acts == []
        assert world.rows("SELECT id FROM delivery") == []


async def test_an_account_connected_later_is_served_by_the_same_address(tmp_path: Path) -> None:
    async with contract_world(tmp_path, Lantern(), Workbench(), handoffs=WON_DEAL_STARTS_PROJECT) as world:
        vendor, bench = LanternVendor(world.router), WorkbenchVendor(world.router)
        north = await world.connect("lantern", name="north", account_id="11")
        await world.connect("workbench")
        await world.switch_on("won-deal-starts-project")
        url = await world.open(north, secret="app-secret")
        since = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
        vendor.deals["22", "1"] = {"title": "Mill house", "stage": "signed", "stage_since": int(since.timestamp())}
        assert await world.ring(url, [entry("22", "1")]) == 204
        await world.quiet()
        assert world.notices() == [("1", "ignored", "unknown account")]
        await world.connect("lantern", name="south", account_id="22", grant_id=north["grant"])
        assert await world.ring(url, [entry("22", "1")]) == 204
        await world.quiet()
        assert bench.names == ["Mill house"]
