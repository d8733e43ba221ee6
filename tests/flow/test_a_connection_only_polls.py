"""No tool sends webhooks: what is polled leads to the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import TOOLS, world

pytestmark = pytest.mark.anyio

EVERY_S = 30


async def test_connections_that_only_poll_do_the_same_job_and_then_come_to_rest(tmp_path: Path, database_url: str) -> None:
    settings = {tool: {"poll_s": str(EVERY_S)} for tool in TOOLS}
    async with world(tmp_path, database_url, polls=TOOLS, settings=settings) as w:
        await w.pass_time(EVERY_S + 1)
        await w.win()
        await w.pass_time(EVERY_S + 1)
        (project,) = w.made("asana", "project")
        await w.open_ticket()
        await w.pass_time(EVERY_S + 1)
        await w.act("asana", "complete_project", project=project["id"])
        await w.pass_time(EVERY_S + 1)
        assert len(w.made("asana", "project")) == 1
        assert len(w.made("asana", "task")) == 5
        assert len(w.history("asana", "commented")) == 1
        assert len(w.made("xero", "invoice")) == 1
        assert len(w.notes()) == 2
        assert {row["state"] for row in w.rows(t.effect)} == {"done"}
        before, notices = w.writes(), w.count(t.snapshot)
        for _ in range(3):
            await w.pass_time(EVERY_S + 1)
        assert w.writes() == before
        assert w.history("hubspot", "sent") == []
        assert notices > 0
