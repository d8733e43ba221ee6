"""Switches are remembered with who made them, and what is true already is decided anew after one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lifecyclehub.admin.handoffs import list_handoffs, redecide, set_handoff
from lifecyclehub.errors import ConfigurationError, NotThere
from lifecyclehub.hub import Hub
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.store.writer import as_operation
from tests.support.served import rows, served_hub

pytestmark = pytest.mark.anyio
WON = "won-deal-starts-delivery"


async def a_won_deal(hub: Hub, won_at: datetime) -> None:
    engagement = {"id": hub.ids.new("eng"), "title": "Website", "created_at": won_at}
    deal = {"id": hub.ids.new("dea"), "engagement": engagement["id"], "title": "Website", "status": "won"}
    deal |= {"won_at": won_at, "fields": {}}
    await hub.store.run(as_operation(lambda conn, _: insert_all(conn, tables.engagement, [engagement])), None)
    await hub.store.run(as_operation(lambda conn, _: insert_all(conn, tables.deal, [deal])), None)


async def looks(hub: Hub) -> int:
    """How often the engagement was decided: each time its version grows."""
    return int((await rows(hub, tables.engagement))[0]["version"])


async def test_every_switch_is_kept_with_who_made_it_and_when(tmp_path: Path) -> None:
    async with served_hub(tmp_path, answers=False) as hub:
        on = await set_handoff(hub, WON, "on", "kim")
        off = await set_handoff(hub, WON, "off", "lee")
        assert (on.state, on.who, off.state, off.who) == ("on", "kim", "off", "lee")
        assert on.go_live is not None
        assert hub.clock.now() - on.go_live < timedelta(minutes=1)
        assert off.go_live is None
        assert [(row["state"], row["who"]) for row in await rows(hub, tables.handoff_switch)] == [("on", "kim"), ("off", "lee")]


async def test_switching_on_what_is_on_keeps_its_go_live(tmp_path: Path) -> None:
    async with served_hub(tmp_path, answers=False) as hub:
        first = await set_handoff(hub, WON, "on", "kim", datetime(2026, 1, 1, tzinfo=UTC))
        assert (await set_handoff(hub, WON, "on", "lee")).go_live == first.go_live
        assert len(await rows(hub, tables.handoff_switch)) == 1


@pytest.mark.parametrize(
    ("handoff", "state", "said", "error"),
    [
        (WON, "shadow", "comes in a later version", ConfigurationError),
        (WON, "approval", "comes in a later version", ConfigurationError),
        (WON, "onn", "Did you mean on", ConfigurationError),
        ("won-deal", "on", f"Did you mean {WON}", NotThere),
        ("won-deal", "off", f"Did you mean {WON}", NotThere),
    ],
)
async def test_a_switch_that_is_none_changes_nothing(
    tmp_path: Path, handoff: str, state: str, said: str, error: type[Exception]
) -> None:
    async with served_hub(tmp_path, answers=False) as hub:
        with pytest.raises(error, match=said):
            await set_handoff(hub, handoff, state, "kim")
        assert await rows(hub, tables.handoff) == await rows(hub, tables.handoff_switch) == []


async def test_a_beginning_lies_in_the_past(tmp_path: Path) -> None:
    async with served_hub(tmp_path, answers=False) as hub:
        with pytest.raises(ConfigurationError, match="lies in the past"):
            await set_handoff(hub, WON, "on", "kim", hub.clock.now() + timedelta(hours=1))


async def test_a_handoff_that_left_the_file_is_listed_and_can_be_switched_off(tmp_path: Path) -> None:
    async with served_hub(tmp_path, answers=False) as hub:
        row = {"id": "an-old-one", "state": "on", "go_live": hub.clock.now()}
        await hub.store.run(as_operation(lambda conn, _: insert_all(conn, tables.handoff, [row])), None)
        last = (await hub.store.read(list_handoffs, hub.rules.handoffs))[-1]
        assert (last.id, last.known, last.state) == ("an-old-one", False, "on")
        assert (await set_handoff(hub, "an-old-one", "off", "kim")).state == "off"
        with pytest.raises(NotThere):
            await set_handoff(hub, "an-old-one", "on", "kim")


async def test_facts_since_the_given_time_are_acted_on_at_once(tmp_path: Path) -> None:
    async with served_hub(tmp_path, answers=False) as hub:
        await a_won_deal(hub, datetime(2026, 3, 2, tzinfo=UTC))
        await set_handoff(hub, WON, "on", "kim")
        assert await redecide(hub) == 1
        assert await rows(hub, tables.effect) == []  # it is history
        await set_handoff(hub, WON, "on", "kim", datetime(2026, 3, 1, tzinfo=UTC))
        await hub.look_for_changes()
        assert {row["handoff"] for row in await rows(hub, tables.effect)} == {WON}


async def test_everything_is_decided_anew_once_after_each_change_also_over_a_restart(tmp_path: Path) -> None:
    async with served_hub(tmp_path, answers=False) as hub:
        await a_won_deal(hub, datetime(2026, 3, 2, tzinfo=UTC))
        before = await looks(hub)
        await hub.anew.if_changed(hub.rules)
        assert await looks(hub) == before + 1
        await hub.anew.if_changed(hub.rules)
        assert await looks(hub) == before + 1
        await set_handoff(hub, WON, "on", "kim")  # the hub is stopped before it takes this over
        again = Hub(hub.settings)
        await again.start()
        await again.settled()
        assert await looks(hub) == before + 2
        await again.stop()
        third = Hub(hub.settings)
        await third.start()
        await third.settled()
        await third.stop()
        assert await looks(hub) == before + 2
