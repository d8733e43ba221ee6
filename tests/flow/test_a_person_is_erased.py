"""A person is erased: nothing that tells them is left or comes back, and what was done for their business stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.admin import erasing
from lifecyclehub.admin.backup import back_up, put_back
from lifecyclehub.admin.erasing import erase_person, finish_erasures, foresee_erasure, rewrite_file
from lifecyclehub.admin.persons import Person, export_person, find_person
from lifecyclehub.admin.replay import Replay, Wanted
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.store import tables as t
from lifecyclehub.store.writer import StoreClosed
from tests.support.canaries import told_in, told_in_bytes
from tests.support.world import World, world

pytestmark = pytest.mark.anyio


class Told:
    """What a story tells of a person; every story of another one, since they share a world."""

    def __init__(self, w: World) -> None:
        letters = "abcdefghijklmnopqrstuvwxyz"[w.stories % 26] * 3
        self.first, self.last, self.number = f"Odalys{letters}", f"Ferreira-Quint{letters}", str(7_315_529 + w.stories)
        self.name, self.phone, self.email = f"{self.first} {self.last}", f"+43 660 {self.number}", f"odalys@{w.domain}"
        self.contact = ""
        self.canaries = (self.email, self.name, self.first, f"Quint{letters}", self.number)


async def met(w: World) -> Told:
    """Let a person be the contact of a deal that is won, billed, and asked about in the helpdesk."""
    told = Told(w)
    ids, project = await w.won_project(contact_name=told.name, contact_email=told.email, title=f"Website for {told.name}")
    told.contact = ids["contact"]
    await w.open_ticket(requester_name=told.name, requester_email=told.email, text=f"Call me, {told.name}: {told.phone}")
    await w.quiet()
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    return told


async def person_of(w: World, told: Told) -> Person:
    return await w.hub.store.read(find_person, w.hub.rules, told.email, (told.phone,))


async def erase(w: World, told: Told) -> None:
    await erase_person(w.hub, await person_of(w, told), "kim")


async def everything_again(w: World) -> None:
    """Let every tool say again what it said, sweep it all, and look again at everything that was kept."""
    await w.resend()
    await w.quiet()
    await w.pass_time(90_000.0)
    deliveries = tuple(row["id"] for row in w.rows(t.delivery))
    await w.hub.store.run(Replay(w.hub.rules, w.hub.clock), Wanted(deliveries=deliveries))
    await w.quiet()


async def test_nothing_tells_them_any_more_nor_comes_back(w: World) -> None:
    told = await met(w)
    assert {"contact.email", "deal.title", "snapshot.document", "attempt.reply"} <= told_in(w.engine, told.canaries)
    made, done = len(w.made("asana", "task")), w.effects(state="done")
    await erase(w, told)
    assert told_in(w.engine, told.canaries) == set()
    await everything_again(w)
    assert told_in(w.engine, told.canaries) == set()
    assert (len(w.made("asana", "task")), w.effects(state="done")) == (made, done)
    assert len(await w.projects()) == len(await w.invoices()) == 1


async def test_later_news_of_their_records_is_ignored_and_says_why(w: World) -> None:
    told = await met(w)
    await erase(w, told)
    before = {row["id"] for row in w.rows(t.notice)}
    await w.act("hubspot", "edit_contact", contact=told.contact, phone="+43 1 9876543", firstname=f"{told.first} Maria")
    await w.quiet()
    later = [one for one in w.rows(t.notice, record_id=told.contact) if one["id"] not in before]
    assert later
    await w.hub.store.run(Replay(w.hub.rules, w.hub.clock), Wanted(notices=tuple(one["id"] for one in later)))
    await w.quiet()
    later = [one for one in w.rows(t.notice, record_id=told.contact) if one["id"] not in before]
    assert {(row["state"], row["reason"]) for row in later} == {("ignored", "erased")}
    assert told_in(w.engine, ["9876543", *told.canaries]) == set()


async def test_killed_after_any_commit_it_goes_on_until_nothing_is_left(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told = await met(w)
    person, run, deaths = await person_of(w, told), w.hub.store.run, 0

    class Killed(BaseException):
        """The process is gone."""

    async def once(operation: Any, item: Any) -> Any:
        done = await run(operation, item)
        if operation in (erasing._beginning, erasing.take_out):
            raise Killed
        return done

    monkeypatch.setattr(w.hub.store, "run", once)
    with pytest.raises(Killed):
        await erase_person(w.hub, person, "kim")
    while True:
        try:
            await finish_erasures(w.hub)
        except Killed:
            deaths += 1
        else:
            break
    monkeypatch.undo()
    assert deaths > len(w.rows(t.delivery)) // 100 + 5
    assert told_in(w.engine, told.canaries) == set()


async def test_a_hub_that_starts_ends_what_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as w:
        told = await met(w)
        monkeypatch.setattr(erasing, "finish_erasures", raising)
        with pytest.raises(StoreClosed):
            await erase(w, told)
        monkeypatch.undo()
        assert "snapshot.document" in told_in(w.engine, told.canaries)
        await w.restart()
        await w.quiet()
        assert told_in(w.engine, told.canaries) == set()


async def raising(_: Any) -> int:
    raise StoreClosed("killed")


async def test_the_bytes_of_the_file_tell_nothing_while_the_hub_works(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        told = await met(w)
        files = [Path(f"{w.settings.home / 'hub.sqlite3'}{rest}") for rest in ("", "-wal")]
        assert told_in_bytes(files, told.canaries)
        await erase(w, told)
        assert rewrite_file(w.engine)
        assert told_in_bytes(files, told.canaries) == set()
        await w.win(title="Another job")
        await w.quiet()
        assert w.effects(state="done")["project"] == ["done"] * 2


async def test_a_backup_that_is_put_back_is_erased_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        told = await met(w)
        back_up(w.settings, tmp_path / "backup")
        await erase(w, told)
        await w.stop_hub()
        assert put_back(w.settings, tmp_path / "backup", w.clock.now()).erased == 1
        w.engine.dispose()
        assert "contact.email" in told_in(w.engine, told.canaries)
        await w.start_hub()
        await w.quiet()
        await everything_again(w)
        assert told_in(w.engine, told.canaries) == set()


async def test_who_comes_back_as_a_new_record_is_somebody_new(w: World) -> None:
    told = await met(w)
    await erase(w, told)
    await w.act("hubspot", "edit_contact", contact=told.contact, email=f"nobody@{w.domain}")  # where addresses are unique
    await w.inquire(contact_name=told.name, contact_email=told.email, title="Once more")
    await w.quiet()
    new = [row for row in w.rows(t.contact) if row["email"] == told.email]
    assert [row["name"] for row in new] == [told.name]
    await w.open_ticket(requester_name=told.name, requester_email=told.email)
    await w.quiet()
    assert "ticket.fields" in told_in(w.engine, [told.email])


async def test_what_still_needs_them_is_in_the_way_and_what_is_done_is_not(w: World) -> None:
    told = Told(w)
    _, project = await w.won_project(contact_name=told.name, contact_email=told.email)
    await w.pause("xero")
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    foreseen = await foresee_erasure(w.hub, told.email)
    (waiting,) = w.rows(t.effect, name="customer")
    assert waiting["id"] in {one.effect for one in foreseen.in_the_way}
    assert not {row["id"] for row in w.rows(t.effect, state="done")} & {one.effect for one in foreseen.in_the_way}
    with pytest.raises(ConfigurationError, match="wait to be done"):
        await erase_person(w.hub, foreseen.person, "kim")
    assert "contact.email" in told_in(w.engine, told.canaries)
    done = w.effects(state="done")
    await erase_person(w.hub, foreseen.person, "kim", cancel=True)
    assert told_in(w.engine, told.canaries) == set()
    assert w.effects(state="done") == done
    assert w.rows(t.effect, name="customer")[0]["state"] == "cancelled"
    await w.resume("xero")
    await w.quiet()
    assert w.made("xero", "contact") == []


async def test_everything_that_is_known_of_them_can_be_handed_over(w: World) -> None:
    told = await met(w)
    given = await w.hub.store.read(export_person, await person_of(w, told))
    assert told_in(w.engine, told.canaries) <= {f"{name}.{column}" for name, rows in given["told"].items() for column in rows[0]}
    assert {"contact", "role", "link", "mirror", "snapshot", "notice", "delivery", "effect", "attempt"} <= set(given["told"])
    (contact,) = given["told"]["contact"]
    assert (contact["name"], contact["email"]) == (told.name, told.email)
