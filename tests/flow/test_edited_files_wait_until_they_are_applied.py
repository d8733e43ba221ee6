"""An edit counts once it was applied, never before; what it will do is listed first, and that is what it does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from lifecyclehub.admin.applied import Applying, applied_version, apply_set
from lifecyclehub.admin.handoffs import put_switch
from lifecyclehub.admin.mappings import Waiting, waiting_edits
from lifecyclehub.admin.preview import Change, Preview, with_edits
from lifecyclehub.store import tables as t
from tests.support.world import CLOSED, TICKET, WON, World, world

pytestmark = pytest.mark.anyio

ROW = '\n[[row]]\nid = "thank"\ntitle = "Say thank you"\ndue_days = 1\n'
NAME = "concat(client.name, ': ', deal.title) || deal.title"


def edit(w: World, name: str, before: str, after: str) -> None:
    file = w.settings.mappings / name
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), "utf-8")


def add_row(w: World) -> None:
    file = w.settings.mappings / "tables/onboarding.toml"
    file.write_text(file.read_text("utf-8") + ROW, "utf-8")


def remove_row(w: World, row: str) -> None:
    file = w.settings.mappings / "tables/onboarding.toml"
    rows = file.read_text("utf-8").split("[[row]]")
    file.write_text("[[row]]".join(one for one in rows if f'id = "{row}"' not in one), "utf-8")


def waiting(w: World) -> Waiting:
    with w.engine.connect().execution_options(write=False) as conn, conn.begin():
        return waiting_edits(conn, w.registry, w.settings)


async def listed(w: World, first: Any = None) -> list[Change]:
    """Give what applying the files would do now."""
    edits = waiting(w)
    assert edits.checked.rules is not None
    rules = with_edits(edits.in_force.rules, edits.checked.rules)
    return await asyncio.to_thread(Preview(w.engine, rules, w.hub.ids, w.clock, first).changes)


class _Killed(Exception):
    """The process ends here."""


def apply(w: World, *, killed: bool = False) -> str:
    """Apply the files in the store, and leave it to the hub to notice. `killed`: before the commit."""
    edits = waiting(w)
    assert edits.version is not None
    assert edits.checked.source is not None
    with w.engine.connect() as conn, conn.begin():
        item = Applying(edits.version, edits.checked.source.content(), "kim", w.clock.now(), edits.in_force.kept)
        apply_set(conn, [item])
        if killed:
            raise _Killed
    return edits.version


async def taken_over(w: World) -> None:
    await w.hub.look_for_changes()
    await w.quiet()


def states(w: World) -> dict[str, tuple[Any, ...]]:
    return {row["key"]: tuple(row[name] for name in ("state", "reason", "body", "revision", "epoch")) for row in w.rows(t.effect)}


async def test_running_and_restarted_hubs_go_on_with_what_was_applied_last(tmp_path: Path, database_url: str) -> None:
    async with world(tmp_path, database_url, on=(WON,)) as w:
        version = w.hub.rules.version
        add_row(w)
        edit(w, "handoffs.toml", NAME, "deal.title")
        await w.switch(TICKET)  # a change of the configuration that has nothing to do with the files
        await w.restart()
        assert w.hub.rules.version == version
        await w.win()
        await w.quiet()
        assert w.effects(name="checklist") == {"checklist": ["done"] * 4}
        assert [one["name"] for one in await w.projects()] == [f"{w.company}: Website relaunch"]
        assert {row["applied_set"] for row in w.rows(t.effect)} == {version}

        (w.settings.mappings / "handoffs.toml").write_text("[[handoff]\n", "utf-8")  # in the middle of the next edit
        await w.switch(CLOSED)
        await w.restart()
        assert w.hub.rules.version == version
        assert waiting(w).checked.problems


async def test_what_is_listed_before_applying_is_what_applying_does(tmp_path: Path, database_url: str) -> None:
    async with world(tmp_path, database_url, on=(WON,)) as w:
        await w.won_project()
        await w.pause("asana")
        await w.win(title="Second")
        await w.quiet(forward=False)
        before = states(w)
        add_row(w)
        remove_row(w, "plan")
        changes = await listed(w)
        assert states(w) == before, "looking changes nothing"
        assert {one.change for one in changes} == {"added", "cancelled"}

        version = apply(w)
        assert states(w) == before, "nothing happens before the hub takes it over"
        await w.hub.look_for_changes()
        after = states(w)
        assert {key for key in after if key not in before} == {one.key for one in changes if one.change == "added"}
        assert {one.key for one in changes if one.change == "cancelled"} == {
            key for key, row in after.items() if row[0] == "cancelled" != before.get(key, ("",))[0]
        }
        for key, row in before.items():
            if row[0] in ("in flight", "in doubt", "parked", "done"):
                assert after[key] == row, "what is under way or done is not touched"
        assert {row["applied_set"] for row in w.rows(t.effect) if row["key"] not in before} == {version}

        await w.resume("asana")
        await w.quiet()
        (first, second) = sorted(await w.projects(), key=lambda one: one["name"])
        assert [task["name"] for task in second["tasks"]].count("Say thank you") == 1
        assert [task["name"] for task in first["tasks"]].count("Say thank you") == 1
        assert await listed(w) == []


async def test_what_waits_is_still_made_as_the_set_says_that_planned_it(tmp_path: Path, database_url: str) -> None:
    async with world(tmp_path, database_url, on=(WON,)) as w:
        await w.pause("asana")
        await w.win(title="Old")
        await w.quiet(forward=False)
        edit(w, "handoffs.toml", NAME, "concat('[new] ', deal.title)")
        assert await listed(w) == []
        apply(w)
        await taken_over(w)
        await w.restart()
        await w.resume("asana")
        await w.quiet()
        w.stories += 1
        await w.win(title="Young")
        await w.quiet()
        names = {one["name"] for one in await w.projects()}
        assert {name for name in names if name.endswith("Old")} == {f"Brightwater {w.stories - 1}: Old"}
        assert "[new] Young" in names


@pytest.mark.parametrize("when", ["before the commit", "before the hub has seen it", "while it decides"])
async def test_a_kill_in_the_middle_of_applying_leaves_all_or_nothing(
    tmp_path: Path, database_url: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, database_url, on=(WON,)) as w:
        await w.won_project()
        before, version = states(w), w.hub.rules.version
        add_row(w)
        if when == "before the commit":
            with pytest.raises(_Killed):
                apply(w, killed=True)
        else:
            apply(w)
        if when == "while it decides":
            monkeypatch.setattr("lifecyclehub.intake.anew.Anew._each", _killed)
            with pytest.raises(asyncio.CancelledError):
                await w.hub.look_for_changes()
            monkeypatch.undo()
        await w.abandon_hub()
        await w.start_hub()
        await w.quiet()
        new = {key for key in states(w) if key not in before}
        if when == "before the commit":
            assert (new, w.hub.rules.version) == (set(), version)
        else:
            assert [key.split("/")[4] for key in new] == ["thank"]
            assert w.effects(name="checklist") == {"checklist": ["done"] * 5}
        assert {key: row for key, row in states(w).items() if key in before} == before


async def _killed(*_: Any) -> None:
    raise asyncio.CancelledError


async def test_what_switching_would_start_is_listed_and_is_what_it_starts(tmp_path: Path, database_url: str) -> None:
    async with world(tmp_path, database_url, on=()) as w:
        since = w.clock.now()
        await w.win()
        await w.quiet()
        row = {"handoff": WON, "state": "on", "go_live": since}
        changes = await listed(w, lambda conn: put_switch(conn, row))
        assert {(one.change, one.name) for one in changes} == {("added", one) for one in ("project", "checklist", "note")}
        assert w.rows(t.effect) == []
        assert w.rows(t.handoff) == []
        later = {**row, "go_live": w.clock.now()}
        assert await listed(w, lambda conn: put_switch(conn, later)) == []
        await w.switch(WON, since=since)
        await w.quiet()
        assert {one["key"] for one in w.rows(t.effect)} == {one.key for one in changes}


async def test_the_store_keeps_every_set_that_counted_with_its_text_and_who_applied_it(tmp_path: Path, database_url: str) -> None:
    async with world(tmp_path, database_url, on=()) as w:
        first = w.hub.rules.version
        add_row(w)
        second = apply(w)
        await taken_over(w)
        assert w.hub.rules.version == second
        with w.engine.connect().execution_options(write=False) as conn, conn.begin():
            kept = {row["id"]: row for row in conn.execute(select(t.applied_set)).mappings()}
        assert set(kept) == {first, second}
        assert "Say thank you" in kept[second]["content"]["own"]["tables/onboarding.toml"]
        assert "deal.toml" in kept[first]["content"]["defaults"]["hubspot"]
        assert (kept[first]["who"], kept[second]["who"]) == ("init", "kim")
        with w.engine.connect() as conn:
            assert applied_version(conn) == second


class _Told(asyncio.Lock):
    """Tells when somebody has to wait for it."""

    def __init__(self, told: asyncio.Event) -> None:
        super().__init__()
        self._told = told

    async def acquire(self) -> Any:
        if self.locked():
            self._told.set()
        return await super().acquire()


async def test_a_slow_look_that_read_the_set_before_does_not_put_it_back(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, database_url, on=()) as w:
        answered, go_on = asyncio.Event(), asyncio.Event()
        hub, read = w.hub, w.hub.store.read

        async def slow(operation: Any, *given: Any, **more: Any) -> Any:
            found = await read(operation, *given, **more)
            if operation == hub._read_applied and not answered.is_set():
                answered.set()
                await go_on.wait()
            return found

        monkeypatch.setattr(hub, "_taking_over", _Told(go_on), raising=False)
        monkeypatch.setattr(hub.store, "read", slow)
        hub._configured = None  # type: ignore[assignment]  # something has changed
        before = asyncio.create_task(hub.look_for_changes())
        await answered.wait()
        add_row(w)
        version = apply(w)
        after = asyncio.create_task(hub.look_for_changes())
        after.add_done_callback(lambda _: go_on.set())
        await asyncio.gather(before, after)
        assert hub.rules.version == version
