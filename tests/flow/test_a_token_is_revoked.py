"""A tool refuses our credentials: its connection pauses, its effects are held, others go on; new credentials let all go on."""

from __future__ import annotations

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def test_a_revoked_token_pauses_its_connection_and_nothing_is_lost(w: World) -> None:
    tool = w.tools["asana"]
    old = tool.credentials["token"]
    tool.credentials["token"] = "1/replaced:" + old[2:]
    await w.win()
    await w.quiet()
    (connection,) = w.rows(t.connection, id="con_asana")
    assert connection["state"] == "paused"
    assert connection["reason"]
    assert old not in connection["reason"]
    assert {row["state"] for row in w.rows(t.effect)} == {"held"}
    assert "connection" in {row["reason"] for row in w.rows(t.effect, role="project")}
    assert w.writes("asana") == 0

    # Others go on meanwhile, and the paused tool is left in peace.
    refused = len(w.history("asana", "refused"))
    await w.win(title="Second job")
    await w.quiet()
    assert len(w.rows(t.deal)) == 2
    assert len(w.history("asana", "refused")) == refused

    await w.new_credentials("asana")
    await w.quiet()
    assert len(w.made("asana", "project")) == 2
    assert len(w.made("asana", "task")) == 8
    assert len(w.notes()) == 2
    assert {row["state"] for row in w.rows(t.effect)} == {"done"}


async def test_news_of_a_paused_connection_waits_for_new_credentials(w: World) -> None:
    tool = w.tools["hubspot"]
    ids = await w.inquire()
    await w.quiet()
    good = tool.credentials
    tool.credentials = {"token": "pat-eu1-another"}
    try:
        await w.act("hubspot", "win_deal", deal=ids["deal"])
        await w.quiet()
        assert w.rows(t.connection, id="con_hubspot")[0]["state"] == "paused"
        assert {row["state"] for row in w.rows(t.notice, record_id=ids["deal"])} == {"processed", "held"}
        await w.hub.look_for_changes()
        refused = len(w.history("hubspot", "refused"))
        await w.act("hubspot", "edit_deal", deal=ids["deal"], amount="77.00")
        await w.quiet()
        assert len(w.made("asana", "project")) == 0
        assert len(w.history("hubspot", "refused")) == refused
        await w.new_credentials("hubspot")
        await w.quiet()
        assert {row["state"] for row in w.rows(t.notice, record_id=ids["deal"])} == {"processed"}
        assert len(w.made("asana", "project")) == 1
        assert len(w.notes()) == 1
    finally:
        tool.credentials = good
        await w.new_credentials("hubspot")
        await w.quiet()
