"""Accounts with a drawer each, whose sweeps are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.contract_world import ContractWorld, contract_world
from tests.support.drawer import CARD, Drawer, DrawerVendor

DAY_S = 86_400.0


@asynccontextmanager
async def drawers(
    tmp_path: Path, database_url: str | None = None, *accounts: str, **more: Any
) -> AsyncIterator[tuple[ContractWorld, DrawerVendor]]:
    """A hub with a connection for each account, swept once so that all that comes from now on is news."""
    handoffs = more.pop("handoffs", "format = 1\n")
    async with contract_world(tmp_path, Drawer(), handoffs=handoffs, database_url=database_url) as w:
        vendor = DrawerVendor(w)
        for account in accounts or ("one",):
            await w.connect("drawer", name=account, secrets={"token": account}, **({"polls": True} | more))
        await w.pass_time(0)
        yield w, vendor


def known(w: ContractWorld, kind: str = CARD) -> list[str]:
    return [row["record_id"] for row in w.rows(f"SELECT record_id FROM link WHERE kind = '{kind}' ORDER BY record_id")]


def gone(w: ContractWorld) -> list[str]:
    return [row["record_id"] for row in w.rows("SELECT record_id FROM link WHERE deleted_at IS NOT NULL ORDER BY record_id")]


def place(w: ContractWorld, way: str = "changes", kind: str = CARD) -> dict[str, Any]:
    (row,) = w.rows(f"SELECT * FROM cursor WHERE way = '{way}' AND kind = '{kind}'")
    return row


async def until(what: Any) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110 (the hub tells nobody)
            await asyncio.sleep(0.001)


async def night(w: ContractWorld) -> None:
    """Let a day pass, and with it the hour at which everything is listed."""
    await w.pass_time(DAY_S)
