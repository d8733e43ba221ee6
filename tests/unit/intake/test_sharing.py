"""Several hubs on one store: each thing is in one hub's hands, and what a dead one left is taken over and counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from lifecyclehub.dispatch.lookup import Look, take_look
from lifecyclehub.dispatch.upkeep import due_effects, expire
from lifecyclehub.intake.keep import Arrival, keep
from lifecyclehub.intake.notices import due_notices, open_deliveries, open_notices
from lifecyclehub.intake.split import Split, split
from lifecyclehub.intake.taking import CRASHES, Free, Left, left_behind, let_go_of, suspect, take_free, take_left
from lifecyclehub.store import tables as t
from lifecyclehub.store.leases import Beat, Hold, LetGo, beat, forget, hold, let_go
from lifecyclehub.store.upsert import put_all
from lifecyclehub.store.waits import bring_near
from tests.support.effects import effect, in_flight
from tests.support.story import Story


@pytest.fixture(params=["sqlite", "postgres"])
def story(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Story]:
    """A home with four connections, on both databases."""
    told = Story(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else None)
    yield told
    told.close()


def do(story: Story, operation: Any, *items: Any) -> Any:
    with story.engine.begin() as conn:
        return operation(conn, items)[0]


def lives(story: Story, *hubs: str) -> None:
    """Let hubs live in homes that may call the tools."""
    now = story.clock.now()
    for one in hubs:
        do(story, beat, Beat(one, f"home of {one}", now, alone=False))
        with story.engine.begin() as conn:
            put_all(conn, t.host, [{"fingerprint": f"home of {one}", "name": one, "who": "a test", "since": now}])


def falls_asleep(story: Story, hub: str) -> None:
    with story.engine.begin() as conn:
        conn.execute(delete(t.host).where(t.host.c.fingerprint == f"home of {hub}"))


def dies(story: Story, hub: str) -> None:
    with story.engine.begin() as conn:
        conn.execute(update(t.lease).where(t.lease.c.name == hub).values(until=story.clock.now() - timedelta(days=9999)))


def kept(story: Story, holder: str | None, count: int = 1) -> list[str]:
    ids = [story.ids.new("dlv") for _ in range(count)]
    first = Arrival(
        id="",
        endpoint="end_zendesk",
        connection=None,
        connector="zendesk",
        way="webhook",
        door="events",
        vendor_key=None,
        headers={},
        body=b"",
        received_at=story.clock.now(),
        holder=holder,
    )
    with story.engine.begin() as conn:
        keep(conn, [replace(first, id=one, body=one.encode()) for one in ids])
    return ids


def notices(story: Story, holder: str, **more: Any) -> list[str]:
    ids = story.arrive("zendesk", ("zendesk.ticket", "1"))
    with story.engine.begin() as conn:
        conn.execute(update(t.notice).where(t.notice.c.id.in_(ids)).values(holder=holder, **more))
    return ids


def within_reach(story: Story, hub: str) -> list[str]:
    return [one.id for one in story.ask(open_deliveries, ["zendesk"], hub)]


def crashes(story: Story) -> dict[str, int]:
    return {row["id"]: row["crash_count"] for row in story.rows(t.delivery)}


# --- in one hub's hands -------------------------------------------------------------------------------------------------


def test_what_a_living_hub_has_in_hand_is_no_other_ones(story: Story) -> None:
    lives(story, "hub_1", "hub_2")
    (mine,), (other,), (nobodys,) = kept(story, "hub_1"), kept(story, "hub_2"), kept(story, None)
    held = notices(story, "hub_2")
    do(story, take_left, Left("hub_1", story.clock.now()))

    assert within_reach(story, "hub_1") == [mine, nobodys]
    assert within_reach(story, "hub_2") == [other, nobodys]
    assert story.ask(open_notices, story.clock.now(), "hub_1", "") == []
    assert [row["id"] for row in story.ask(open_notices, story.clock.now(), "hub_2", "")] == held


def test_of_several_hubs_that_ask_for_what_is_nobodys_one_gets_it(story: Story) -> None:
    ids = tuple(kept(story, None, 3))

    assert do(story, take_free, Free("delivery", ids[:2], "hub_1")) == set(ids[:2])
    assert do(story, take_free, Free("delivery", ids, "hub_2")) == set(ids[2:])


def test_what_another_hub_opened_is_due_for_whoever_comes_first(story: Story) -> None:
    (one,) = notices(story, "hub_2")
    with story.engine.begin() as conn:
        conn.execute(update(t.notice).values(holder=None))

    assert [row["id"] for row in story.ask(due_notices, story.clock.now(), "hub_1")] == [one]
    assert do(story, take_free, Free("notice", (one,), "hub_1")) == {one}
    assert story.ask(due_notices, story.clock.now(), "hub_2") == []


def test_a_hub_that_was_thought_dead_splits_nothing_that_was_taken_from_it(story: Story) -> None:
    lives(story, "hub_1", "hub_2")
    (one,) = kept(story, "hub_1")
    dies(story, "hub_1")
    do(story, take_left, Left("hub_2", story.clock.now()))
    row = story._notice("zendesk", one, 0, "zendesk.ticket", "1")

    assert do(story, split, Split(delivery=one, at=story.clock.now(), holder="hub_1", notices=(row,))) == []
    assert story.rows(t.notice) == []
    assert len(do(story, split, Split(delivery=one, at=story.clock.now(), holder="hub_2", notices=(row,)))) == 1


# --- what the process dies of -----------------------------------------------------------------------------------------


def test_what_a_dead_hub_left_is_taken_over_and_counted(story: Story) -> None:
    lives(story, "hub_1", "hub_2")
    ids, one = kept(story, "hub_1", 2), notices(story, "hub_1")
    dies(story, "hub_1")

    assert do(story, take_left, Left("hub_2", story.clock.now())).deliveries == ()
    assert within_reach(story, "hub_2") == ids
    assert [row["id"] for row in story.ask(open_notices, story.clock.now(), "hub_2", "")] == one
    assert set(crashes(story).values()) == {1}


def test_any_number_is_taken_over(story: Story) -> None:
    if story.engine.dialect.name == "sqlite":  # which takes fewer bound values
        kept(story, "hub_1", 33_000)
        do(story, take_left, Left("hub_2", story.clock.now()))
        assert {row["holder"] for row in story.rows(t.delivery)} == {"hub_2"}
        assert set(crashes(story).values()) == {1}


def test_what_was_there_at_a_second_death_is_worked_on_alone_and_parked_after_too_many(story: Story) -> None:
    (bad,) = kept(story, "hub_0")
    (innocent,) = kept(story, "hub_0")
    for hub in range(1, CRASHES + 1):
        (seen,) = [do(story, take_left, Left(f"hub_{hub}", story.clock.now())).deliveries]
        if hub == 1:
            assert seen == ()  # all together again: it may have been anybody's fault
            continue
        assert bad in seen
        if innocent in seen:
            do(story, split, Split(delivery=innocent, at=story.clock.now(), holder=f"hub_{hub}"))
        do(story, suspect, bad)
    assert crashes(story)[bad] == CRASHES

    assert do(story, take_left, Left("hub_9", story.clock.now())).deliveries == ()
    states = {row["id"]: (row["state"], row["reason"]) for row in story.rows(t.delivery)}
    assert states[bad] == ("parked", "crashed: the process ended 3 times while this was worked on")
    assert states[innocent] == ("split", None)


def test_a_notice_that_the_process_dies_of_parks_itself_and_not_its_neighbour(story: Story) -> None:
    bad, good = notices(story, "hub_1"), notices(story, "hub_1")
    (row,) = story.rows(t.notice, id=bad[0])
    with story.engine.begin() as conn:
        conn.execute(update(t.delivery).where(t.delivery.c.id == row["delivery"]).values(crash_count=CRASHES))

    do(story, take_left, Left("hub_2", story.clock.now()))

    found = {row["id"]: (row["state"], row["reason"]) for row in story.rows(t.notice)}
    assert (found[bad[0]], found[good[0]]) == (("parked", "crashed"), ("open", None))


def test_a_stop_in_good_order_and_what_waits_for_its_time_count_for_nothing(story: Story) -> None:
    lives(story, "hub_1")
    kept(story, "hub_1")
    do(story, let_go_of, "hub_1")
    waiting = notices(story, "hub_2", not_before=story.clock.now() + timedelta(hours=1))

    do(story, take_left, Left("hub_3", story.clock.now()))

    assert set(crashes(story).values()) == {0}
    assert [row["holder"] for row in story.rows(t.delivery)] == [None, None]
    assert story.rows(t.notice, id=waiting[0])[0]["holder"] == "hub_3"


def test_what_a_dead_hub_committed_after_it_was_taken_over_is_seen(story: Story) -> None:
    lives(story, "hub_1", "hub_2")
    kept(story, "hub_2")
    assert not story.ask(left_behind, Left("hub_2", story.clock.now()))
    kept(story, "hub_dead")
    assert story.ask(left_behind, Left("hub_2", story.clock.now()))


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_lease_is_one_holders_until_it_is_over_or_given_back(story: Story) -> None:
    def ask(holder: str, seconds: float = 60) -> bool:
        taken: bool = do(story, hold, Hold("grant gra_1", holder, seconds, story.clock.now()))
        return taken

    assert [ask("hub_1"), ask("hub_2"), ask("hub_1")] == [True, False, True]
    do(story, let_go, LetGo("grant gra_1", "hub_2", story.clock.now()))
    assert not ask("hub_2")
    do(story, let_go, LetGo("grant gra_1", "hub_1", story.clock.now()))
    assert ask("hub_2", seconds=-1)
    assert ask("hub_1")


def test_a_hub_that_starts_ends_those_that_had_its_home_and_hears_which_are_over(story: Story) -> None:
    lives(story, "hub_1", "hub_2", "hub_3")
    dies(story, "hub_2")
    now = story.clock.now()

    assert do(story, beat, Beat("hub_4", "home of hub_3", now, alone=False, starting=True)) == ["hub_2", "hub_3"]
    do(story, forget, ("hub_1", now), ("hub_2", now))
    assert {row["name"] for row in story.rows(t.lease)} == {"hub_1", "hub_3", "hub_4"}


def test_only_the_claims_of_dead_hubs_are_in_doubt_at_a_start(story: Story) -> None:
    lives(story, "hub_1", "hub_2")
    prepared = in_flight(story, holder="hub_1")
    now = story.clock.now()

    assert do(story, expire, (now, "hub_2")) == 0
    dies(story, "hub_1")
    assert do(story, expire, (now, "hub_2")) == 1
    assert effect(story, prepared)["state"] == "in doubt"


def test_what_is_due_is_looked_after_by_one_hub(story: Story) -> None:
    lives(story, "hub_1", "hub_2")
    now = story.clock.now()
    prepared = in_flight(story, state="in doubt", holder="hub_1", not_before=now)

    assert story.ask(due_effects, now, "hub_2") == []
    dies(story, "hub_1")
    assert [one.id for one in story.ask(due_effects, now, "hub_2")] == [prepared.effect]
    until = now + timedelta(minutes=2)
    assert do(story, take_look, Look(prepared.effect, "hub_2", now, until))
    assert not do(story, take_look, Look(prepared.effect, "hub_3", now, until))


def test_what_a_hub_had_claimed_that_may_not_act_any_more_is_looked_after_by_another(story: Story) -> None:
    lives(story, "hub_1", "hub_2")
    now = story.clock.now()
    prepared = in_flight(story, state="in doubt", holder="hub_1", not_before=now)

    falls_asleep(story, "hub_1")
    assert [one.id for one in story.ask(due_effects, now, "hub_2")] == [prepared.effect]


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_what_waits_since_the_clock_was_years_ahead_goes_on_and_honest_waits_stay(story: Story) -> None:
    now = story.clock.now()
    far, honest = now + timedelta(days=4000), now + timedelta(hours=24)
    prepared = in_flight(story, state="ready", not_before=far)
    (one,), (two,) = notices(story, "hub_1", not_before=far), notices(story, "hub_1", not_before=honest)
    with story.engine.begin() as conn:
        conn.execute(t.cursor.insert().values(connection="con_1", kind="x", swept_at=far, not_before=far))
        values = {"connection": "con_1", "open_until": far, "pause_s": 30, "since": now, "reason": "503"}
        conn.execute(t.breaker.insert().values(**values))

    assert do(story, bring_near, now) == 2
    assert effect(story, prepared)["not_before"] == now
    assert [story.rows(t.notice, id=n)[0]["not_before"] for n in (one, two)] == [now, honest]
    (cursor,) = story.ask(lambda conn: conn.execute(t.cursor.select()).mappings().all())
    assert (cursor["swept_at"], cursor["not_before"]) == (now, now)
    assert story.ask(lambda conn: conn.execute(t.breaker.select()).all()) == []


@pytest.mark.parametrize(("seconds", "trusted"), [(-10, True), (3, True), (200, False)])
def test_the_key_of_what_was_sent_first_at_a_moment_still_to_come_is_not_trusted(
    story: Story, seconds: float, trusted: bool
) -> None:
    """The clock was put back since; once it has caught up, the key would seem to be younger than it is."""
    now = story.clock.now()
    first = now + timedelta(seconds=seconds)
    prepared = in_flight(story, state="in doubt", unsure_since=first)

    do(story, bring_near, now)

    assert effect(story, prepared)["unsure_since"] == (first if trusted else now - timedelta(days=30))
