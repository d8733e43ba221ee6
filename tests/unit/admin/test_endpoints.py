"""Addresses in, their secrets, and handshakes that only the vendor's own reply confirms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecyclehub.admin.connections import ByHandSteps, Subscribed, add_connection, open_endpoint, set_signing_secret, subscribe
from lifecyclehub.admin.endpoints import url_of
from lifecyclehub.connector import Call, Endpoint, Subscription
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.sandbox.xero import Xero
from lifecyclehub.sandbox.zendesk import ZendeskTool
from lifecyclehub.store import tables
from tests.support.served import count, rows, running_tools, served_hub

pytestmark = pytest.mark.anyio


async def connect(hub: Hub, tool: Any, **more: Any) -> dict[str, Any]:
    wanted = {
        "name": tool.name,
        "connector": tool.name,
        "auth": tool.auth,
        "secrets": tool.credentials,
        "settings": tool.settings(),
    }
    return await add_connection(hub, **(wanted | more))


async def endpoint_secrets(hub: Hub, state: str) -> list[dict[str, Any]]:
    return [row for row in await rows(hub, tables.secret) if row["owner_kind"] == "endpoint" and row["state"] == state]


async def test_one_address_serves_all_accounts_of_a_vendor_app(tmp_path: Path) -> None:
    tool = Xero(tmp_path, auth="refresh_grant")
    first, second = tool.books
    async with running_tools(tool), served_hub(tmp_path) as hub:
        one = await connect(hub, tool, account_id=first)
        two = await connect(hub, tool, name="two", secrets=None, auth=None, grant_id=one["grant"], account_id=second)
        mine, again = await open_endpoint(hub, one), await open_endpoint(hub, two)
        assert mine["id"] == again["id"]
        assert mine["connection"] is None
        assert len(mine["id"]) == 26  # 128 random bits
        assert mine["id"] in hub.directory.entrances


async def test_a_handshake_counts_once_the_vendors_own_reply_confirms_it(tmp_path: Path) -> None:
    tool = AsanaTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        made = await subscribe(hub, row)
        assert isinstance(made, Subscribed)
        assert not made.needs_secret
        assert len(await endpoint_secrets(hub, "active")) == 1
        assert await endpoint_secrets(hub, "candidate") == []
        (endpoint,) = await rows(hub, tables.endpoint)
        assert (endpoint["state"], endpoint["registering_until"]) == ("listening", None)
        assert [one["endpoint"] for one in await rows(hub, tables.subscription)] == [endpoint["id"]]
        async with httpx.AsyncClient() as client:  # nobody can slip in another secret from now on
            reply = await client.post(made.url, headers={"X-Hook-Secret": "an-invented-secret"})
        assert reply.status_code == 403
        assert await endpoint_secrets(hub, "candidate") == []


async def test_subscribing_again_replaces_hook_and_secret(tmp_path: Path) -> None:
    tool = AsanaTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        first, second = await subscribe(hub, row), await subscribe(hub, row)
        assert isinstance(first, Subscribed)
        assert isinstance(second, Subscribed)
        assert first.url == second.url
        assert await count(hub, tables.endpoint, tables.subscription) == [1, 1]
        old, new = sorted(await endpoint_secrets(hub, "active"), key=lambda one: one["valid_until"] is None)
        assert old["valid_until"] is not None
        assert new["valid_until"] is None
        assert len(tool.state.webhooks.records) == 1


async def test_a_vendor_that_never_reaches_us_leaves_the_endpoint_as_it_was(tmp_path: Path) -> None:
    tool = AsanaTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path, answers=False) as hub:
        row = await connect(hub, tool)
        with pytest.raises(ConfigurationError, match="public, https, and reaches this hub"):
            await subscribe(hub, row)
        (endpoint,) = await rows(hub, tables.endpoint)
        assert (endpoint["state"], endpoint["registering_until"]) == ("listening", None)
        assert await count(hub, tables.subscription) == [0]
        assert await endpoint_secrets(hub, "candidate") == []


@pytest.mark.parametrize(
    ("secret", "handshake", "said"),
    [
        ("somebody-elses-secret", True, "does not confirm"),
        ("the-vendors-own-secret", False, "never reached this address"),
    ],
)
async def test_a_handshake_that_is_not_confirmed_is_forgotten_and_the_hook_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, handshake: bool, said: str
) -> None:
    tool = AsanaTool(tmp_path)
    ended: list[str] = []
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        plugin = type(hub.registry.get("asana"))

        async def slipped_in(self: object, call: Call, endpoint: Endpoint) -> Subscription:
            if handshake:
                async with httpx.AsyncClient() as client:
                    await client.post(endpoint.url, headers={"X-Hook-Secret": "an-attackers-secret"})
            return Subscription(id="hook-1", secret=secret)

        async def unsubscribe(self: object, call: Call, subscription: Subscription) -> None:
            ended.append(subscription.id)

        monkeypatch.setattr(plugin, "subscribe", slipped_in)
        monkeypatch.setattr(plugin, "unsubscribe", unsubscribe)
        with pytest.raises(ConfigurationError, match=said):
            await subscribe(hub, row)
        assert ended == ["hook-1"]
        assert await endpoint_secrets(hub, "candidate") == await endpoint_secrets(hub, "active") == []
        assert (await rows(hub, tables.endpoint))[0]["state"] == "listening"
        assert await count(hub, tables.subscription) == [0]


async def test_a_secret_that_the_vendor_gives_is_kept_for_a_door_without_handshake(tmp_path: Path) -> None:
    tool = ZendeskTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        made = await subscribe(hub, await connect(hub, tool))
        assert isinstance(made, Subscribed)
        assert not made.needs_secret
        assert [one["owner"] for one in await endpoint_secrets(hub, "active")] == [made.endpoint]
        assert len(hub.directory.entrances[made.endpoint].secrets) == 1


async def test_steps_for_a_person_carry_the_address_and_older_secrets_serve_a_while(tmp_path: Path) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        row = await connect(hub, tool)
        made = await subscribe(hub, row)
        assert isinstance(made, ByHandSteps)
        assert made.needs_secret
        assert any(made.url in step for step in made.steps)
        assert not any("{url}" in step for step in made.steps)
        await set_signing_secret(hub, made.endpoint, "first-secret")
        await set_signing_secret(hub, made.endpoint, "second-secret", overlap_h=1)
        values = {one.value for one in hub.directory.entrances[made.endpoint].secrets}
        assert values == {b"first-secret", b"second-secret"}
        await set_signing_secret(hub, made.endpoint, "third-secret", overlap_h=0)
        assert {one.value for one in hub.directory.entrances[made.endpoint].secrets} == {b"third-secret"}
        again = await subscribe(hub, row)
        assert isinstance(again, ByHandSteps)
        assert not again.needs_secret


@pytest.mark.parametrize("secret", ["", "  \n", "a\x00b", "x" * 2000])
async def test_a_signing_secret_that_is_none_is_refused(tmp_path: Path, secret: str) -> None:
    tool = HubSpotTool(tmp_path)
    async with running_tools(tool), served_hub(tmp_path) as hub:
        endpoint = await open_endpoint(hub, await connect(hub, tool))
        with pytest.raises(ConfigurationError, match="Copy it again"):
            await set_signing_secret(hub, endpoint["id"], secret)
        assert await endpoint_secrets(hub, "active") == []


async def test_a_tool_in_the_internet_needs_a_public_address(tmp_path: Path) -> None:
    async with served_hub(tmp_path, answers=False) as hub:
        with pytest.raises(ConfigurationError, match="no public address"):
            url_of(hub, "abc", {"settings": {}})
        assert url_of(hub, "abc", {"settings": {"self_hosted": "yes"}}).startswith("http://127.0.0.1:")
        hub.settings = replace(hub.settings, port=None)
        with pytest.raises(ConfigurationError, match="no port yet"):
            url_of(hub, "abc", {"settings": {"self_hosted": "yes"}})
        hub.settings = replace(hub.settings, public_url="https://hub.example.com")
        assert url_of(hub, "abc", {"settings": {}}) == "https://hub.example.com/hooks/abc"
