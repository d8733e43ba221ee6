"""A connection that is taken away leaves no hook, no secret, and no work behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.admin.connections import add_connection, set_signing_secret, subscribe
from lifecyclehub.admin.removal import foresee_removal, remove_connection
from lifecyclehub.admin.stored import find_connection
from lifecyclehub.errors import ConfigurationError, NotThere
from lifecyclehub.hub import Hub
from lifecyclehub.insight.status import read_status
from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.store.writer import as_operation
from tests.support.served import count, rows, running_tools, served_hub
from tests.unit.admin.test_connections import connect, held_notice

pytestmark = pytest.mark.anyio


async def put(hub: Hub, table: Any, row: dict[str, Any]) -> None:
    await hub.store.run(as_operation(lambda conn, _: insert_all(conn, table, [row])), None)


async def test_its_hooks_are_ended_in_the_tool_and_its_secrets_forgotten(tmp_path: Path) -> None:
    tool = AsanaTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        await subscribe(hub, row)
        assert len(tool.state.webhooks.records) == 1
        assert await count(hub, tables.subscription, tables.secret) == [1, 2]

        removed = await remove_connection(hub, row, "kim")

        assert (removed.ended, removed.by_hand) == (1, ())
        assert len(tool.state.webhooks.records) == 0
        assert await count(hub, tables.subscription, tables.secret, tables.connection, tables.grant) == [0, 0, 1, 1]
        assert {one["state"] for one in await rows(hub, tables.endpoint)} == {"closed"}
        assert hub.directory.connections == hub.directory.entrances == {}
        with pytest.raises(NotThere, match="there is no connection 'asana'"):
            await hub.store.read(find_connection, "asana")


async def test_a_hook_that_only_a_person_can_take_out_is_named_with_its_address(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        made = await subscribe(hub, row)
        await set_signing_secret(hub, made.endpoint, "known")
        removed = await remove_connection(hub, row, "kim")
        assert removed.by_hand == (made.url,)
        assert await count(hub, tables.secret) == [0]


async def test_a_tool_that_does_not_answer_keeps_nobody_from_removing_it(tmp_path: Path) -> None:
    tool = AsanaTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        made = await subscribe(hub, row)
        tool.credentials = {"token": "1/another"}
        removed = await remove_connection(hub, row, "kim")
        assert (removed.ended, removed.by_hand) == (0, (made.url,))
        assert await count(hub, tables.subscription, tables.secret) == [0, 0]


async def test_what_was_sent_and_not_answered_is_waited_for_even_if_told(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        effect = dict.fromkeys(("key", "handoff", "name", "subject_kind", "subject", "cause_kind", "cause", "marker"), "x")
        effect |= {"id": "eff_1", "role": "crm", "action": "add_note", "connection": row["id"], "state": "in doubt"}
        await put(hub, tables.effect, {**effect, "applied_set": "x", "planned_at": hub.clock.now()})
        with pytest.raises(ConfigurationError, match="it is not known yet what came of them: eff_1"):
            await remove_connection(hub, row, "kim", cancel=True)
        (kept,) = await rows(hub, tables.connection)
        assert kept["state"] == "active"


async def test_notices_that_waited_for_it_wait_no_more_and_it_is_no_longer_shown(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        await held_notice(hub, row["id"])
        foreseen = await foresee_removal(hub, row)
        assert {one.handoff for one in foreseen.stops} >= {"won-deal-starts-delivery", "client-standing-to-crm"}
        assert "nothing tells of a deal any more" in next(
            one.why for one in foreseen.stops if one.handoff == "won-deal-starts-delivery"
        )
        await remove_connection(hub, row, "kim")
        (notice,) = await rows(hub, tables.notice)
        assert (notice["state"], notice["reason"]) == ("ignored", "unknown account")
        status = await hub.store.read(
            read_status, abouts=hub.rules.abouts, handoffs=hub.rules.handoffs.handoffs, now=hub.clock.now()
        )
        assert (status.connections, status.notices) == ((), ())
        assert next(one for one in status.handoffs if one.id == "client-standing-to-crm").missing_roles == ("crm",)


async def test_names_and_accounts_of_removed_connections_are_free(tmp_path: Path) -> None:
    class Another(HubSpotTool):
        account_id = "70000001"

    tool, another = HubSpotTool(tmp_path), Another(tmp_path / "another")
    async with running_tools(tool, another), served_hub(tmp_path) as hub:
        first = await connect(hub, tool, name="crm")
        await remove_connection(hub, first, "kim")
        second = await connect(hub, another, name="crm")
        await remove_connection(hub, second, "kim")
        assert {one["name"] for one in await rows(hub, tables.connection)} == {"crm (removed)", f"crm (removed) {second['id']}"}
        back = await connect(hub, tool, name="crm", roles=["crm"])
        assert back["id"] == first["id"]
        assert (await add_connection_fails(hub, tool)).startswith("crm2: the account")


async def add_connection_fails(hub: Hub, tool: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        await add_connection(
            hub, name="crm2", connector=tool.name, auth=tool.auth, secrets=tool.credentials, settings=tool.settings()
        )
    return str(caught.value)
