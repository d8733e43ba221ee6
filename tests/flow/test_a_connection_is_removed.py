"""A connection is removed: what waits is named first, what was done stays explained, and the same account finds its links."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecyclehub.admin.connections import add_connection, pause_connection
from lifecyclehub.admin.removal import foresee_removal, remove_connection
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.insight.explain import explain
from lifecyclehub.store import tables as t
from tests.support.world import QUICK, WON, World, world

pytestmark = pytest.mark.anyio


async def _asana(w: World) -> dict[str, object]:
    return dict(w.rows(t.connection, connector="asana")[0])


async def test_a_removed_account_is_left_alone_and_finds_its_links_when_it_is_added_again(
    tmp_path: Path, database_url: str
) -> None:
    async with world(tmp_path, database_url, on=[WON]) as w:
        await w.win()
        await w.quiet()
        (project,) = w.made("asana", "project")
        await pause_connection(w.hub, await _asana(w))
        await w.win(title="Second job")
        await w.quiet()

        foreseen = await foresee_removal(w.hub, await _asana(w))
        assert [(one.handoff, one.state) for one in foreseen.stops if one.state == "on"] == [(WON, "on")]
        assert "no connection plays project any more" in foreseen.stops[0].why
        assert len(foreseen.waiting) == 5
        with pytest.raises(ConfigurationError, match="5 effects wait to be done through it"):
            await remove_connection(w.hub, await _asana(w), "kim")
        assert (await _asana(w))["state"] == "paused"

        removed = await remove_connection(w.hub, await _asana(w), "kim", cancel=True)
        assert set(removed.cancelled) == set(foreseen.waiting)
        assert w.rows(t.secret, owner="gra_asana") == w.rows(t.secret, owner="end_asana") == []
        row = await _asana(w)
        assert (row["state"], row["name"]) == ("removed", "asana (removed)")
        assert str(row["reason"]).startswith("by kim, ")

        calls = len(w.history("asana", "created"))
        await w.act("asana", "complete_project", project=project["id"])
        await w.win(title="Third job")
        await w.quiet()
        third = {one["state"]: one["detail"] for one in w.rows(t.effect, action="create_project")}
        assert set(third) == {"done", "cancelled", "held"}
        assert "no connection plays the role project" in str(third["held"])
        assert len(w.history("asana", "created")) == calls

        link = w.rows(t.link, kind="asana.project")[0]
        why = await w.hub.store.read(explain, w.hub.rules, f"{link['thing']}:project.title", w.hub.clock.now())
        assert why.values[0].value, "what it brought is still explained"

        tool = w.tools["asana"]
        wanted = {"secrets": tool.credentials, "auth": tool.auth, "settings": {**tool.settings(), **QUICK}}
        again = await add_connection(w.hub, name="work", connector="asana", **wanted)
        assert again["id"] == row["id"]
        await w.hub.look_for_changes()
        await w.quiet()
        assert [one["name"] for one in w.made("asana", "project")] == [project["name"], w.made("asana", "project")[1]["name"]]
        assert "Third job" in w.made("asana", "project")[1]["name"], "what a person cancelled stays cancelled"
        assert len(w.rows(t.link, kind="asana.project")) == 2
        assert len(w.rows(t.project)) == 2
