"""The hub's word counts for where a client stands: it is written to the CRM, seen back once, and foreign changes are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecyclehub.store import tables as t
from tests.support.world import HANDOFFS, STANDING, World, world

pytestmark = pytest.mark.anyio


def stages(w: World) -> list[str]:
    return [line["fields"]["lifecyclestage"] for line in w.history("hubspot", "changed", kind="company", by="api")]


def mirror(w: World, company: str) -> tuple[str | None, str | None]:
    (row,) = w.rows(t.mirror, record_id=company, field="client.standing")
    return row["seen"], row["sent"]


async def test_standing_is_written_when_it_changes_confirmed_once_and_a_foreign_change_is_shown(
    tmp_path: Path, database_url: str
) -> None:
    async with world(tmp_path, database_url, on=(*HANDOFFS, STANDING)) as w:
        company = (await w.win())["company"]
        await w.quiet()
        assert w.rows(t.client)[0]["standing"] == "client"
        assert stages(w)[-1] == "customer"
        assert mirror(w, company) == ('"client"', None)

        before = w.writes()
        await w.resend("hubspot")
        await w.quiet()
        assert w.writes() == before
        assert [row for row in w.rows(t.finding) if row["kind"] == "drift"] == []

        await w.act("hubspot", "edit_company", company=company, lifecyclestage="evangelist")
        await w.quiet()
        assert [row for row in w.rows(t.finding) if row["kind"] == "drift"] == []  # means the same
        await w.act("hubspot", "edit_company", company=company, lifecyclestage="other")
        await w.quiet()
        (drift,) = [row for row in w.rows(t.finding) if row["kind"] == "drift"]
        assert (drift["facts"]["seen"], drift["facts"]["ours"]) == ('"former"', '"client"')
        assert w.rows(t.client)[0]["standing"] == "client"
        assert w.writes() == before


async def test_an_answer_lost_while_writing_standing_is_sent_again_and_changes_nothing(tmp_path: Path, database_url: str) -> None:
    async with world(tmp_path, database_url, on=(STANDING,)) as w:
        await w.misbehave("hubspot", faults=[{"do": "lose_answer", "method": "PATCH", "times": 2}])
        company = (await w.win())["company"]
        await w.quiet()
        assert stages(w)[-1] == "customer"
        assert mirror(w, company)[0] == '"client"'
        assert set(w.effects(name="standing")["standing"]) == {"done"}
