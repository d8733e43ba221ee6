"""A connector that the applied mappings do not fit is refused; once its new defaults are accepted the running hub takes it up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lifecyclehub import configuration
from lifecyclehub.admin.applied import Applying, apply_set
from lifecyclehub.admin.mappings import waiting_edits
from lifecyclehub.registry.registry import Registry
from lifecyclehub.store import tables as t
from tests.support.world import WON, World, world

pytestmark = pytest.mark.anyio
GONE = "create_task"


def upgraded(w: World, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Give the connectors with a HubSpot that cannot create tasks any more, and brings no mapping for that."""
    known = dict(w.registry.connectors)
    original = known["hubspot"]
    about = original.about
    left = tuple(one for one in about.actions if one.name != GONE)
    known["hubspot"] = type("Upgraded", (type(original),), {"about": replace(about, actions=left)})()
    before = configuration.default_mappings

    def after(connector: Any) -> dict[str, str]:
        if connector.about.id != "hubspot":
            return before(connector)
        return {name: text for name, text in before(original).items() if name != f"{GONE}.toml"}

    monkeypatch.setattr(configuration, "default_mappings", after)
    return Registry(MappingProxyType(known), ())


def accept(w: World) -> None:
    with w.engine.connect() as conn, conn.begin():
        edits = waiting_edits(conn, w.registry, w.settings)
        assert edits.version is not None
        assert edits.checked.source is not None
        apply_set(conn, [Applying(edits.version, edits.checked.source.content(), "kim", w.clock.now(), edits.in_force.kept)])


async def test_accepted_defaults_let_a_refused_connector_work_without_a_restart(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, database_url, on=(WON,)) as w:
        ids = await w.inquire()
        await w.quiet()
        await w.stop_hub()
        w.registry = upgraded(w, monkeypatch)
        await w.start_hub()
        assert "hubspot" not in w.hub.registry.connectors
        (refusal,) = w.hub.registry.refused
        assert "start the hub" not in refusal.mend
        await w.act("hubspot", "win_deal", deal=ids["deal"])
        await w.until(lambda: w.history("hubspot", "sent", status=503))
        assert w.rows(t.effect) == []

        accept(w)
        await w.hub.look_for_changes()
        assert w.hub.registry.refused == ()
        await w.until(lambda: w.rows(t.effect))
        await w.quiet()
        assert len(w.made("asana", "project")) == 1
        assert len(w.notes()) == 1
