"""After a switch everything is decided anew: what cannot be decided on keeps nothing else from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.admin.stored import changed
from lifecyclehub.intake import decide as module
from lifecyclehub.store import tables as t
from tests.support.bad_input import Hall, a_deal, hall

pytestmark = pytest.mark.anyio


@pytest.fixture
async def h(tmp_path: Path) -> AsyncIterator[Hall]:
    async with hall(tmp_path) as opened:
        yield opened


async def test_one_engagement_that_cannot_be_decided_on_keeps_no_other_from_it(
    h: Hall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for one in ("1", "2", "3"):
        h.vendors.deals[one] = a_deal(one, stage="closedwon")
        assert (await h.knock("hubspot", h.deal_changed(one))).is_success
    await h.hub.settled()
    bad, *good = [row["id"] for row in h.rows(t.engagement)]
    decide, tried = module.decide, []

    def sometimes(conn: Any, rules: Any, ids: Any, now: Any, engagements: Any, clients: Any) -> Any:
        tried.append(set(engagements))
        if bad in engagements:
            raise KeyError("stage")
        return decide(conn, rules, ids, now, engagements, clients)

    monkeypatch.setattr(module, "decide", sometimes)
    await h.switch_on()
    with h.hub.engine.begin() as conn:
        changed(conn)
    await h.hub.look_for_changes()
    await h.hub.settled()

    assert {row["engagement"] for row in h.rows(t.effect)} == set(good)
    assert f"cannot decide on {bad} anew" in caplog.text
    tried.clear()
    await h.hub.look_for_changes()
    assert tried == [], "once for each change"

    monkeypatch.setattr(module, "decide", decide)
    await h.hub.dispatcher.advance_all()  # as at a start
    await h.hub.settled()
    assert {row["engagement"] for row in h.rows(t.effect)} == {bad, *good}
