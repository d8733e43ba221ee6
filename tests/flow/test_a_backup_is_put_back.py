"""A backup is put back: what was done since is found in the tools, not done again, and nothing is written before."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, update

from lifecyclehub.admin.backup import back_up, mark_restored, put_back
from lifecyclehub.admin.effects import Answer, AnswerEffects
from lifecyclehub.admin.stored import changed
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.insight.clocks import IMPORT
from lifecyclehub.intake.keep import Arrival, keep
from lifecyclehub.store import tables as t
from tests.support.world import HANDOFFS, STANDING, WON, World, world

pytestmark = pytest.mark.anyio


async def restored(w: World, file: Path) -> None:
    put_back(w.settings, file, w.clock.now())
    w.engine.dispose()


async def comes_back(w: World, file: Path) -> None:
    await w.stop_hub()
    await restored(w, file)
    await w.start_hub()


async def won_after_a_backup(w: World, file: Path) -> str:
    await w.inquire()
    await w.quiet()
    back_up(w.settings, file)
    deal = next(row["record_id"] for row in w.rows(t.link, kind="hubspot.deal"))
    await w.act("hubspot", "win_deal", deal=deal)
    await w.quiet()
    return str(deal)


async def swept(w: World) -> None:
    """Let it look at every tool, so that the backup knows from when on to look for changes."""
    await w.hub.sweeper.tick()
    await w.quiet()


async def looked_back(w: World) -> None:
    for _ in range(50):
        await w.hub.sweeper.tick()
        await w.hub.settled()
        await w.hub.intake.tick()
        await w.hub.settled()
        await w.hub.look_back()
        await w.hub.look_for_changes()
        if w.rows(t.installation)[0]["looked_back_at"] is not None:
            return
        w.clock.forward(2)
    raise AssertionError("it never knew enough")


async def test_what_was_done_after_the_backup_is_found_and_not_done_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await won_after_a_backup(w, tmp_path / "backup")
        before = w.writes()
        assert len(w.made("asana", "project")) == 1
        assert len(w.made("asana", "task")) == 4

        await w.stop_hub()
        await restored(w, tmp_path / "backup")
        assert w.rows(t.effect) == []
        await w.start_hub()
        await w.resend("hubspot")
        await w.until(lambda: w.rows(t.effect, name="project"))
        await w.hub.settled()
        assert w.writes() == before  # nothing is written before every tool was looked at

        await looked_back(w)
        await w.quiet()
        assert len(w.made("asana", "project")) == 1
        assert len(w.made("asana", "task")) == 4
        assert len(w.notes()) == 1
        assert {row["state"] for row in w.rows(t.effect)} == {"done"}
        (project,) = w.rows(t.effect, name="project")
        assert [row["what"] for row in w.rows(t.attempt, effect=project["id"])] == ["looked up"]


async def test_what_the_backup_did_not_even_know_of_is_found_too(tmp_path: Path) -> None:
    """Our own ids of deal and project are forgotten with it; what marks a record is made of the tool's."""
    async with world(tmp_path) as w:
        back_up(w.settings, tmp_path / "backup")
        await w.win()
        await w.quiet()
        before = w.writes()
        assert len(w.made("asana", "project")) == 1

        await w.stop_hub()
        await restored(w, tmp_path / "backup")
        assert w.rows(t.deal) == []
        await w.start_hub()
        await w.resend("hubspot")
        await w.until(lambda: w.rows(t.effect, name="project"))
        await looked_back(w)
        await w.quiet()
        assert w.writes() == before
        assert len(w.made("asana", "project")) == 1
        assert len(w.made("asana", "task")) == 4
        assert len(w.notes()) == 1
        assert {row["state"] for row in w.rows(t.effect)} == {"done"}


async def test_what_a_forgotten_reason_made_is_found_when_there_is_a_new_reason_after_the_restore(tmp_path: Path) -> None:
    """Won, acted on and lost in the time that is forgotten; what is won then is later than the restore, and its project there."""
    async with world(tmp_path) as w:
        deal = await won_after_a_backup(w, tmp_path / "backup")
        await w.act("hubspot", "lose_deal", deal=deal)
        await w.quiet()
        before = w.writes()
        assert len(w.made("asana", "project")) == 1

        await comes_back(w, tmp_path / "backup")
        await looked_back(w)
        await w.quiet()
        assert w.rows(t.effect, name="project") == []
        w.clock.forward(2 * 3600)
        await w.act("hubspot", "win_deal", deal=deal)
        await w.quiet()
        (project,) = w.rows(t.effect, name="project")
        assert project["fact_at"] > w.rows(t.installation)[0]["restored_at"] + timedelta(hours=1)
        assert w.writes() == before
        assert len(w.made("asana", "project")) == 1


async def test_the_crm_is_not_left_with_a_standing_of_the_time_that_is_forgotten(tmp_path: Path) -> None:
    """Closed, told to the CRM and opened again in that time: it is what it was in the backup, and the CRM says otherwise."""
    async with world(tmp_path, on=(*HANDOFFS, STANDING)) as w:
        _, project = await w.won_project(amount=None)
        await swept(w)
        back_up(w.settings, tmp_path / "backup")
        await w.act("asana", "complete_project", project=project)
        await w.quiet()
        assert [line["fields"]["lifecyclestage"] for line in w.history("hubspot", "changed", kind="company")][-1] == "other"
        await w.stop_hub()
        await w.act("asana", "reopen_project", project=project)

        await restored(w, tmp_path / "backup")
        await w.start_hub()
        await looked_back(w)
        await w.quiet()
        assert w.rows(t.client)[0]["standing"] == "client"
        *_, written = w.rows(t.effect, name="standing")
        assert (written["state"], written["reason"]) == ("parked", "refused"), "HubSpot moves companies forward only"
        assert "kept lifecyclestage at other instead of customer" in written["detail"]
        (drift,) = w.rows(t.finding, kind="drift")
        assert "by the hub in the time that a restore made it forget" in drift["detail"]


async def test_the_crm_is_told_once_what_is_still_true_of_the_time_that_is_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path, on=(*HANDOFFS, STANDING)) as w:
        _, project = await w.won_project(amount=None)
        await swept(w)
        back_up(w.settings, tmp_path / "backup")
        await w.act("asana", "complete_project", project=project)
        await w.quiet()
        before = w.writes()

        await comes_back(w, tmp_path / "backup")
        await looked_back(w)
        await w.quiet()
        assert w.rows(t.client)[0]["standing"] == "former"
        assert {row["state"] for row in w.rows(t.effect, name="standing")} <= {"done", "cancelled"}
        assert w.writes() == before


async def test_what_was_not_done_before_the_restore_is_done_after_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.switch(WON, "off")
        await w.win()
        await w.quiet()
        back_up(w.settings, tmp_path / "backup")
        since = w.clock.now().replace(year=2020)
        await comes_back(w, tmp_path / "backup")
        await w.switch(WON, since=since)
        await looked_back(w)
        await w.quiet()
        assert len(w.made("asana", "project")) == 1
        assert len(w.made("asana", "task")) == 4
        assert {row["state"] for row in w.rows(t.effect)} == {"done"}


async def test_what_comes_in_meanwhile_does_not_keep_a_busy_hub_from_writing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.inquire()
        await w.quiet()
        back_up(w.settings, tmp_path / "backup")
        await comes_back(w, tmp_path / "backup")
        await w.hub.store.run(keep, waiting_delivery(w, w.clock.now() + timedelta(hours=1)))  # after every look of this test
        await looked_back(w)


async def test_one_record_that_its_tool_cannot_show_keeps_no_hub_from_writing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.inquire()
        await w.quiet()
        await w.stop_hub()
        *_, news = w.rows(t.notice, kind="hubspot.deal")
        for_days = {"state": "open", "reason": "retry", "first_failed_at": w.clock.now(), "attempts": 9}
        with w.engine.begin() as conn:
            later = w.clock.now() + timedelta(hours=1)
            conn.execute(update(t.notice).where(t.notice.c.id == news["id"]).values(**for_days, not_before=later))
            mark_restored(conn, None, w.clock.now())
        assert [(row["state"], row["not_before"]) for row in w.rows(t.notice, id=news["id"])] == [("open", None)], "tried at once"
        deal = next(row["record_id"] for row in w.rows(t.link, kind="hubspot.deal"))
        await w.misbehave("hubspot", faults=[{"do": "fail", "method": "GET", "path": f"deals/{deal}", "times": 1000}])
        await w.start_hub()
        await looked_back(w)
        assert [(row["state"], row["reason"]) for row in w.rows(t.notice, id=news["id"])] == [("open", "retry")]


async def test_an_import_goes_on_after_a_restore_from_where_the_backup_had_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.stop_hub()
        with w.engine.begin() as conn:
            under_way = {"began_at": w.clock.now(), "value": "page 7", "holder": "hub_of_then", "held_until": w.clock.now()}
            conn.execute(insert(t.cursor).values(connection="con_hubspot", kind="hubspot.deal", way=IMPORT, **under_way))
            mark_restored(conn, None, w.clock.now())
        (row,) = w.rows(t.cursor, way=IMPORT)
        assert (row["value"], row["holder"], row["held_until"]) == ("page 7", None, None)
        assert row["began_at"] is not None
        await w.start_hub()


def waiting_delivery(w: World, at: datetime) -> Arrival:
    """A delivery that another hub has just kept, and has in hand."""
    (endpoint,) = w.rows(t.endpoint, connector="hubspot")
    return Arrival(
        id=w.hub.ids.new("dlv"),
        endpoint=endpoint["id"],
        connection=None,
        connector="hubspot",
        way="webhook",
        door=endpoint["door"],
        vendor_key=None,
        headers={},
        body=b"[]",
        received_at=at,
        holder="hub_of_somebody_else",
    )


async def test_a_backup_is_whole_private_and_never_overwrites(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        file, now = tmp_path / "backup", w.clock.now()
        back_up(w.settings, file)
        assert file.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ConfigurationError, match="exists already"):
            back_up(w.settings, file)
        with pytest.raises(ConfigurationError, match="another hub is running"):
            put_back(w.settings, file, now)
        await w.stop_hub()
        w.engine.dispose()
        (tmp_path / "torn").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(ConfigurationError, match="no whole backup"):
            put_back(w.settings, tmp_path / "torn", now)
        with pytest.raises(ConfigurationError, match="no such file"):
            put_back(w.settings, tmp_path / "missing", now)
        (installation,) = w.rows(t.installation)
        assert put_back(w.settings, file, now).aside == w.home / "hub.sqlite3.before-restore"
        w.engine.dispose()
        (restored_one,) = w.rows(t.installation)
        assert restored_one["id"] == installation["id"]
        assert restored_one["restored_at"] == now


async def test_where_a_person_copied_a_forgotten_project_a_person_is_asked_which_one_it_is(tmp_path: Path) -> None:
    """The copy has our marker too. Whichever shows itself first is not taken for the one."""
    async with world(tmp_path) as w:
        await won_after_a_backup(w, tmp_path / "backup")
        (made,) = [one["id"] for one in w.made("asana", "project")]
        copy = (await w.act("asana", "copy_project", project=made))["id"]
        await w.quiet()
        before = w.writes()

        await comes_back(w, tmp_path / "backup")
        await w.resend("hubspot")
        await w.until(lambda: w.rows(t.effect, name="project"))
        await w.act("asana", "rename_project_by_hand", project=copy, name="The copy shows itself first")
        await looked_back(w)
        await w.quiet()
        (effect,) = w.rows(t.effect, name="project")
        assert (effect["state"], effect["reason"]) == ("parked", "several found")
        assert made in effect["detail"]
        assert copy in effect["detail"]
        assert {row["state"] for row in w.rows(t.notice, kind="asana.project")} == {"held"}

        answer = Answer(effect=effect["id"], verdict="is", who="Ines", record_id=made)
        with w.engine.begin() as conn:
            AnswerEffects(w.hub.rules, w.hub.ids, w.clock, w.hub.randomness)(conn, [answer])
        await w.hub.look_for_changes()
        await w.quiet()
        await w.hub.intake.tick()
        await w.quiet()
        assert [row["record_id"] for row in w.rows(t.link, thing_kind="project")] == [made]
        assert [row["facts"]["found"] for row in w.rows(t.finding, kind="double")] == [copy]
        assert w.writes() == before


async def test_a_connection_that_works_again_just_now_is_looked_at_too_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as w:
        back_up(w.settings, tmp_path / "backup")
        resumed: list[Any] = []

        def judged(_: Connection, by: Any, *__: Any) -> bool:
            if not resumed:
                resumed.append(by)
                with w.engine.connect() as conn, conn.begin():
                    changed(conn)
            return True

        monkeypatch.setattr("lifecyclehub.hub.looked_back", judged)
        await comes_back(w, tmp_path / "backup")
        await w.hub.look_back()
        assert w.rows(t.installation)[0]["looked_back_at"] is None
        await w.hub.look_for_changes()
        await w.hub.look_back()
        assert w.rows(t.installation)[0]["looked_back_at"] is not None
