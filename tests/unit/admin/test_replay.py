"""Replay: what is opened again, and what is left as it is."""

from __future__ import annotations

from typing import Any

import pytest

from lifecyclehub.admin.replay import Replay, Replayed, Wanted
from lifecyclehub.errors import NotThere
from lifecyclehub.store import tables
from tests.support.story import Story, won_deal


def replay(story: Story, **wanted: Any) -> Replayed:
    with story.engine.begin() as conn:
        return Replay(story.rules, story.clock)(conn, [Wanted(**wanted)])[0]


def parked_delivery(story: Story, body: bytes) -> str:
    story.arrive("hubspot", body=body)
    delivery = story.rows(tables.delivery)[-1]["id"]
    story.change(tables.delivery, delivery, state="parked", reason="duplicate-key: twice", crash_count=3)
    return str(delivery)


def test_a_notice_is_opened_without_what_its_payload_said_so_that_its_record_is_fetched(story: Story) -> None:
    (notice,) = story.arrive("hubspot", ("hubspot.deal", "9001"))
    story.change(tables.notice, notice, state="parked", reason="mapping", attempts=4, document={"kind": "hubspot.deal"})
    assert replay(story, notices=(notice,)) == Replayed(notices=1, deliveries=0, left=())
    (row,) = story.rows(tables.notice)
    assert (row["state"], row["document"], row["attempts"]) == ("open", None, 0)
    assert row["not_before"] == story.clock.now()


def test_opening_twice_is_opening_once(story: Story) -> None:
    notices = story.arrive("hubspot", ("hubspot.deal", "9001"))
    story.see("hubspot", won_deal(), notices)
    assert replay(story, notices=tuple(notices)).notices == 1
    again = replay(story, notices=tuple(notices))
    assert (again.notices, again.left[0].why) == (0, "it is worked on already.")


def test_what_waits_by_itself_is_left_to_go_on_by_itself(story: Story) -> None:
    (notice,) = story.arrive("hubspot", ("hubspot.deal", "9001"))
    story.change(tables.notice, notice, state="held", reason="connection")
    assert "goes on by itself" in replay(story, notices=(notice,)).left[0].why


def test_a_kind_that_is_still_not_mapped_is_left_and_named(story: Story) -> None:
    (notice,) = story.arrive("hubspot", ("hubspot.quote", "1"))
    story.change(tables.notice, notice, state="ignored", reason="not mapped")
    assert "hubspot.quote" in replay(story, notices=(notice,)).left[0].why


def test_a_parked_delivery_is_read_again(story: Story) -> None:
    delivery = parked_delivery(story, b"[1]")
    assert replay(story, deliveries=(delivery,)).deliveries == 1
    row = story.rows(tables.delivery)[-1]
    assert (row["state"], row["reason"], row["crash_count"]) == ("open", None, 0)


def test_equal_bytes_are_read_once(story: Story) -> None:
    twins = (parked_delivery(story, b"[1]"), parked_delivery(story, b"[1]"))
    done = replay(story, deliveries=twins)
    assert done.deliveries == 1
    assert [one.id for one in done.left] == [twins[1]]


def test_a_delivery_that_was_split_has_its_notices_looked_at_again(story: Story) -> None:
    story.see("hubspot", won_deal("9001"))
    story.see("hubspot", won_deal("9002"))
    first = story.rows(tables.delivery)[0]["id"]
    assert replay(story, deliveries=(first,)) == Replayed(notices=1, deliveries=0, left=())
    assert [row["state"] for row in story.rows(tables.notice)] == ["open", "processed"]


def test_since_a_time_each_record_is_looked_at_once(story: Story) -> None:
    story.see("hubspot", won_deal("9001"))
    story.clock.at += 3600
    since = story.clock.now()
    for _ in range(3):
        story.see("hubspot", won_deal("9002"))
    assert replay(story, connection="hubspot", since=since).notices == 1
    opened = [row["record_id"] for row in story.rows(tables.notice, state="open")]
    assert opened == ["9002"]


def test_all_that_wait_for_a_person_are_looked_at_again_also_when_newer_news_of_the_record_came(story: Story) -> None:
    """Vendors tell of one change in several notices, which are parked together."""
    early = story.arrive("hubspot", ("hubspot.deal", "9002"))[0]
    story.clock.at += 3600
    since = story.clock.now()
    parked = story.arrive("hubspot", ("hubspot.deal", "9001"), ("hubspot.deal", "9001"))
    for one in (early, *parked):
        story.change(tables.notice, one, state="parked", reason="mapping")
    story.clock.at += 3600
    story.see("hubspot", won_deal("9001"))

    assert replay(story, connection="hubspot", since=since).notices == 3
    assert [row["state"] for row in story.rows(tables.notice)] == ["parked", *["open"] * 3]


def test_notices_of_an_account_that_was_connected_since_find_their_connection(story: Story) -> None:
    (notice,) = story.arrive("hubspot", ("hubspot.deal", "9001"))
    story.change(tables.endpoint, "end_hubspot", connection=None)
    unplaced = {"connection": None, "account": "account-new", "state": "ignored", "reason": "unknown account"}
    story.change(tables.notice, notice, **unplaced)
    assert "connect it first" in replay(story, notices=(notice,)).left[0].why
    story.change(tables.connection, "con_hubspot", account_id="account-new")
    assert replay(story, connection="hubspot", since=story.clock.now()).notices == 1
    assert story.rows(tables.notice)[0]["connection"] == "con_hubspot"


def test_one_unknown_id_opens_nothing_at_all(story: Story) -> None:
    story.see("hubspot", won_deal())
    known = story.rows(tables.notice)[0]["id"]
    with pytest.raises(NotThere, match="ntc_none"):
        replay(story, notices=(known, "ntc_none"))
    assert story.rows(tables.notice)[0]["state"] == "processed"
