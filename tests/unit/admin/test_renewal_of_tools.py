"""The hooks of real connectors, at simulated tools: lost or switched off ones are made again in the vendor's own way."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from lifecyclehub.admin.connections import Subscribed, add_connection, subscribe
from lifecyclehub.hub import Hub
from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.zendesk import ZendeskTool
from lifecyclehub.store import tables
from tests.support.served import rows, running_tools, served_hub

pytestmark = pytest.mark.anyio


async def subscribed(hub: Hub, tool: Any) -> Subscribed:
    row = await add_connection(
        hub, name=tool.name, connector=tool.name, auth=tool.auth, secrets=tool.credentials, settings=tool.settings()
    )
    made = await subscribe(hub, row)
    assert isinstance(made, Subscribed)
    return made


async def two_hours_later(hub: Hub) -> None:
    """Let the hook be two hours old, and ask what is due."""
    before = hub.clock.now() - timedelta(hours=2)
    with hub.engine.begin() as conn:
        conn.execute(update(tables.subscription).values(made_at=before, last_probe=None))
    await hub.prober.tick()


async def test_a_webhook_that_asana_deleted_is_made_again_with_a_new_handshake(tmp_path: Path) -> None:
    tool = AsanaTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        made = await subscribed(hub, tool)
        tool.state.webhooks.records.clear()
        await two_hours_later(hub)
        (webhook,) = tool.state.webhooks.records.values()
        (row,) = await rows(hub, tables.subscription)
        assert (row["vendor_id"], row["endpoint"], row["renewed"]) == (webhook["gid"], made.endpoint, 1)
        assert "Asana has deleted the webhook" in row["reason"]
        assert len(hub.directory.entrances[made.endpoint].secrets) == 2, "the old one serves a day more"


async def test_a_webhook_that_stands_is_left_alone(tmp_path: Path) -> None:
    tool = AsanaTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        await subscribed(hub, tool)
        before = dict(tool.state.webhooks.records)
        await two_hours_later(hub)
        assert tool.state.webhooks.records == before
        (row,) = await rows(hub, tables.subscription)
        assert (row["state"], row["reason"], row["renewed"]) == ("active", None, 0)
        assert row["last_probe"] is not None


async def test_a_webhook_that_was_deactivated_in_zendesk_is_replaced_by_one(tmp_path: Path) -> None:
    tool = ZendeskTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        await subscribed(hub, tool)
        (webhook,) = tool.records.webhooks.values()
        webhook.status = "inactive"
        await two_hours_later(hub)
        (row,) = await rows(hub, tables.subscription)
        assert row["state"] == "active"
        assert "deactivated" in row["reason"]
        assert [one.status for one in tool.records.webhooks.values()] == ["active"], "not two"
