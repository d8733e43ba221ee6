"""A ticket comes in: it joins its project, which hears of it without its text."""

from __future__ import annotations

import pytest

from tests.support.world import World

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("n", range(6))
async def test_a_ticket_joins_the_clients_only_live_project(w: World, n) -> None:
    await w.won_project()
    ticket = await w.open_ticket()
    await w.quiet()
    (project,) = await w.projects()
    (comment,) = [text for task in project["tasks"] for text in task["comments"]]
    assert f"Ticket {ticket}: Login broken" in comment
    assert "hunter2" not in str(project)
