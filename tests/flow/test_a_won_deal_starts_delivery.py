"""A deal is won in the CRM: the project tool gets a project with its checklist, the deal a note with its address."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.world import world

pytestmark = pytest.mark.anyio


async def test_a_won_deal_gets_one_project_its_checklist_and_a_note(tmp_path: Path, database_url: str) -> None:
    async with world(tmp_path, database_url) as w:
        await w.act("asana", "add_person", name="Astrid Holm", email="astrid@northwind.example")
        await w.win(owner_email="astrid@northwind.example")
        await w.quiet()
        (project,) = await w.projects()
        assert project["name"] == "Brightwater Foods: Website relaunch"
        print(project, w.notes(), w.effects())
