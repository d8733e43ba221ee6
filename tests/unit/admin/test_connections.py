"""Connections are kept only once the vendor has accepted them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.admin import connections as admin
from lifecyclehub.admin.connections import (
    add_connection,
    new_credentials,
    pause_connection,
    resume_connection,
)
from lifecyclehub.connector import Auth
from lifecyclehub.dispatch.tools import Pause, pause
from lifecyclehub.errors import ConfigurationError, TryAgain
from lifecyclehub.hub import Hub
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.sandbox.xero import Xero
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.store.writer import as_operation
from tests.support.served import count, rows, running_tools, served_hub

pytestmark = pytest.mark.anyio
KEPT = (tables.grant, tables.connection, tables.secret)


async def connect(hub: Hub, tool: Any, **more: Any) -> dict[str, Any]:
    wanted = {
        "name": tool.name,
        "connector": tool.name,
        "auth": tool.auth,
        "secrets": tool.credentials,
        "settings": tool.settings(),
    }
    return await add_connection(hub, **(wanted | more))


async def test_an_account_is_pinned_and_its_credentials_are_sealed(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        before = (await rows(hub, tables.installation))[0]["configured"]
        row = await connect(hub, tool)
        assert row["account_id"] == tool.account_id
        assert row["account"]["currency"] == "EUR"
        assert row["roles"] == ["crm"]
        assert await count(hub, *KEPT) == [1, 1, 1]
        assert tool.credentials["token"] not in (await rows(hub, tables.secret))[0]["sealed"]
        assert (await rows(hub, tables.installation))[0]["configured"] == before + 1
        assert row["id"] in hub.directory.connections
        assert (await admin.test_connection(hub, row)).ok


async def test_credentials_that_the_vendor_refuses_leave_nothing_behind(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        with pytest.raises(ConfigurationError, match="does not accept these credentials") as caught:
            await connect(hub, tool, secrets={"token": "canary-token-7"})
        assert "canary-token-7" not in str(caught.value)
        assert await count(hub, *KEPT) == [0, 0, 0]


async def test_a_tool_that_does_not_answer_leaves_nothing_behind(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with served_hub(tmp_path) as hub:
        tool.port = 9
        with pytest.raises(ConfigurationError, match="the accounts could not be listed"):
            await connect(hub, tool)
        assert await count(hub, *KEPT) == [0, 0, 0]
    tool.history.close()


async def test_an_account_is_connected_once(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        await connect(hub, tool)
        with pytest.raises(ConfigurationError, match="is connected already, as 'hubspot'"):
            await connect(hub, tool, name="again")
        with pytest.raises(ConfigurationError, match="named 'hubspot' already"):
            await connect(hub, tool)
        assert await count(hub, *KEPT) == [1, 1, 1]


async def test_several_accounts_must_be_named_and_a_used_up_token_is_not_lost(tmp_path: Path) -> None:
    tool = Xero(tmp_path, auth="refresh_grant")
    first, second = tool.books
    async with running_tools(tool), served_hub(tmp_path) as hub:
        with pytest.raises(ConfigurationError, match="reach 2 accounts") as caught:
            await connect(hub, tool)
        assert first in str(caught.value)
        assert second in str(caught.value)
        (grant,) = await rows(hub, tables.grant)
        assert grant["id"] in str(caught.value)  # the token that was entered has been exchanged: its successor is there
        assert await count(hub, tables.connection) == [0]
        for name, account in (("one", first), ("two", second)):
            row = await connect(hub, tool, name=name, secrets=None, auth=None, grant_id=grant["id"], account_id=account)
            assert (row["grant"], row["account_id"]) == (grant["id"], account)
        assert await count(hub, *KEPT) == [1, 2, 1]


async def test_a_token_that_was_used_up_before_the_tool_failed_is_not_lost_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = Xero(tmp_path, auth="refresh_grant")
    async with running_tools(tool), served_hub(tmp_path) as hub:
        plugin = hub.registry.get("xero")
        with monkeypatch.context() as once:
            once.setattr(plugin, "accounts", failing_after(plugin.accounts))
            with pytest.raises(ConfigurationError, match="the accounts could not be listed") as caught:
                await connect(hub, tool, account_id=next(iter(tool.books)))
        (grant,) = await rows(hub, tables.grant)
        assert grant["id"] in str(caught.value)
        again = {"secrets": None, "auth": None, "grant_id": grant["id"]}
        row = await connect(hub, tool, account_id=next(iter(tool.books)), **again)
        assert row["grant"] == grant["id"]


async def test_a_used_up_token_that_replaces_nothing_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Xero(tmp_path, auth="refresh_grant")
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool, account_id=next(iter(tool.books)))
        before = (await rows(hub, tables.secret))[0]["sealed"]
        fresh = tool.credentials | {"refresh_token": tool._desk._refresh_token}
        plugin = hub.registry.get("xero")
        monkeypatch.setattr(plugin, "accounts", failing_after(plugin.accounts))
        with pytest.raises(ConfigurationError, match="has been exchanged and serves no more: make a new one"):
            await new_credentials(hub, row, fresh)
        assert (await rows(hub, tables.secret))[0]["sealed"] == before


def failing_after(accounts: Any) -> Any:
    """Ask, and lose the answer."""

    async def failing(call: Any) -> Any:
        await accounts(call)
        raise TryAgain("status 503")

    return failing


async def test_an_account_that_is_not_reached_is_refused_with_those_that_are(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        with pytest.raises(ConfigurationError, match=rf"do not reach the account 99\. They reach: {tool.account_id}"):
            await connect(hub, tool, account_id="99")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"settings": {"deal_propertys": "x"}}, "Did you mean deal_properties"),
        ({"settings": {"token": "pat-1"}}, "this is a credential"),
        ({"settings": {"ui_domain": "evil.example"}}, "must match"),
        ({"settings": {"self_hosted": "maybe"}}, "neither yes nor no"),
        ({"settings": {"total_s": "soon"}}, "no number of seconds"),
        ({"settings": {"base_url.api": "http://127.0.0.1:1"}}, "must begin with https"),
        ({"roles": ["cmr"]}, "Did you mean crm"),
        ({"auth": "private_ap"}, "Did you mean private_app"),
        ({"name": "../x"}, "is no name"),
        ({"listens": False}, "neither listen nor poll"),
        ({"connector": "hubspt"}, "is not installed"),
        ({"grant_id": "gra_1"}, "has no grant 'gra_1'"),
    ],
)
async def test_what_is_wrong_is_said_before_any_credential_is_asked_for(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    def ask(way: Auth) -> dict[str, str]:
        raise AssertionError(f"asked for {way.secrets}")

    async with served_hub(tmp_path, answers=False) as hub:
        wanted: dict[str, Any] = {"name": "crm", "connector": "hubspot", "auth": "private_app", "secrets": ask} | wrong
        with pytest.raises(ConfigurationError, match=said):
            await add_connection(hub, **wanted)
        assert await count(hub, *KEPT) == [0, 0, 0]


@pytest.mark.parametrize(
    ("secrets", "said"),
    [({}, "the token is missing"), ({"token": "a", "tken": "b"}, "'tken' is not asked for"), ({"token": "a\x00b"}, "characters")],
)
async def test_exactly_the_asked_credentials_are_taken(tmp_path: Path, secrets: dict[str, str], said: str) -> None:
    async with served_hub(tmp_path, answers=False) as hub:
        with pytest.raises(ConfigurationError, match=said):
            await add_connection(hub, name="crm", connector="hubspot", secrets=secrets)


async def held_notice(hub: Hub, connection: str) -> None:
    now = hub.clock.now()
    delivery: dict[str, Any] = {
        "id": hub.ids.new("dlv"),
        "connector": "hubspot",
        "way": "webhook",
        "door": "app",
        "headers": {},
        "body": b"",
    }
    delivery |= {"body_hash": "", "received_at": now, "state": "split"}
    notice = {
        "id": hub.ids.new("ntc"),
        "delivery": delivery["id"],
        "position": 0,
        "connection": connection,
        "connector": "hubspot",
    }
    notice |= {
        "kind": "hubspot.deal",
        "record_id": "1",
        "change": "changed",
        "state": "held",
        "reason": "connection",
        "kept_at": now,
    }
    await hub.store.run(as_operation(lambda conn, _: insert_all(conn, tables.delivery, [delivery])), None)
    await hub.store.run(as_operation(lambda conn, _: insert_all(conn, tables.notice, [notice])), None)


async def test_new_credentials_go_on_with_what_waited_for_them(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        await hub.store.run(pause, Pause(row["id"], "the vendor refuses our credentials"))
        await held_notice(hub, row["id"])
        with pytest.raises(ConfigurationError, match="does not accept"):
            await new_credentials(hub, row, {"token": "wrong-one"})
        assert (await rows(hub, tables.connection))[0]["state"] == "paused"
        assert await new_credentials(hub, row, tool.credentials) == 1
        assert (await rows(hub, tables.connection))[0]["state"] == "active"
        assert (await rows(hub, tables.notice))[0]["state"] == "open"


async def test_credentials_of_another_account_do_not_replace_those_of_the_pinned_one(tmp_path: Path) -> None:
    class Another(HubSpotTool):
        account_id = "70000001"

    tool, another = HubSpotTool(tmp_path), Another(tmp_path / "another")
    async with running_tools(tool, another), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        before = (await rows(hub, tables.secret))[0]["sealed"]
        with pytest.raises(ConfigurationError, match=f"do not reach the account {tool.account_id}"):
            await new_credentials(hub, row | {"settings": another.settings()}, another.credentials)
        assert (await rows(hub, tables.secret))[0]["sealed"] == before


async def test_what_a_person_paused_stays_paused_until_a_person_resumes_it(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        await pause_connection(hub, row)
        await held_notice(hub, row["id"])
        assert await new_credentials(hub, row, tool.credentials) == 0
        assert (await rows(hub, tables.connection))[0]["state"] == "paused"
        assert await resume_connection(hub, row) == 1
        assert (await rows(hub, tables.connection))[0]["state"] == "active"


async def test_a_test_says_what_the_vendor_says_and_shows_what_was_refused(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        endpoint = await admin.open_endpoint(hub, row)
        refusal = {
            "id": "ref_1",
            "endpoint": endpoint["id"],
            "at": hub.clock.now() - timedelta(hours=1),
            "reason": "bad-signature",
        }
        refusal |= {"detail": "d", "size": 1, "body_hash": "", "header_names": [], "url": "http://elsewhere"}
        await hub.store.run(as_operation(lambda conn, _: insert_all(conn, tables.refusal, [refusal])), None)
        tested = await admin.test_connection(hub, row)
        assert tested.ok
        assert [one["url"] for one in tested.refusals] == ["http://elsewhere"]
        tested = await admin.test_connection(hub, row | {"account_id": "another"})
        assert tested.problem is not None
        assert "no longer reach the account another" in tested.problem


async def test_others_who_read_the_directory_take_no_change_away_from_the_hub(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        taken: list[str] = []
        hub.use = lambda rules: taken.append(rules.version)  # type: ignore[method-assign]
        await connect(hub, tool)
        await hub.reread()
        await hub.look_for_changes()
        assert taken == [hub.rules.version]
        await hub.look_for_changes()
        assert len(taken) == 1
