"""Steps 3 and 4: a delivery is kept once, and split once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifecyclehub.intake.keep import Arrival, keep
from lifecyclehub.intake.notices import Failed, Release, due_notices, fail, open_deliveries, open_notices, release
from lifecyclehub.intake.split import IGNORED, Split, split
from lifecyclehub.store import tables as t
from tests.support.story import Story


def arrival(story: Story, **more: Any) -> Arrival:
    first = Arrival(
        id=story.ids.new("dlv"),
        endpoint="end_zendesk",
        connection=None,
        connector="zendesk",
        way="webhook",
        door="events",
        vendor_key=None,
        headers={},
        body=b"body",
        received_at=story.clock.now(),
    )
    return replace(first, **more)


def kept(story: Story, *arrivals: Arrival) -> list[str]:
    with story.engine.begin() as conn:
        keep(conn, arrivals)
    return [row["id"] for row in story.rows(t.delivery)]


def notice(story: Story, delivery: str, position: int = 0, **more: Any) -> dict[str, Any]:
    row = story._notice("zendesk", delivery, position, "zendesk.ticket", str(position))
    return {**row, **more}


def is_split(story: Story, delivery: str, *notices: dict[str, Any], **more: Any) -> list[list[dict[str, Any]]]:
    with story.engine.begin() as conn:
        return split(conn, [Split(delivery=delivery, at=story.clock.now(), notices=notices, **more)])


def test_a_repeated_vendor_key_is_one_delivery_for_ever(story: Story) -> None:
    first = arrival(story, vendor_key="8350")
    kept(story, first)
    is_split(story, first.id)

    assert kept(story, arrival(story, vendor_key="8350", body=b"another")) == [first.id]
    assert len(kept(story, arrival(story, vendor_key="8351"))) == 2


def test_the_same_key_at_another_endpoint_is_another_delivery(story: Story) -> None:
    kept(story, arrival(story, vendor_key="8350"))

    assert len(kept(story, arrival(story, vendor_key="8350", endpoint="end_asana"))) == 2


def test_equal_bytes_fold_only_into_a_delivery_that_is_not_split_yet(story: Story) -> None:
    first, again, later = (arrival(story) for _ in range(3))
    assert kept(story, first, again) == [first.id]
    is_split(story, first.id)

    assert kept(story, later) == [first.id, later.id], "thin hooks repeat byte for byte: this may be news"


def test_a_folded_delivery_splits_into_nothing(story: Story) -> None:
    first, again = arrival(story), arrival(story)
    kept(story, first, again)

    assert is_split(story, again.id, notice(story, again.id)) == [[]]
    assert story.rows(t.notice) == []


def test_a_delivery_is_split_once_whoever_tries(story: Story) -> None:
    first = arrival(story)
    kept(story, first)
    (taken,) = is_split(story, first.id, notice(story, first.id), notice(story, first.id, 1))
    (again,) = is_split(story, first.id, notice(story, first.id), notice(story, first.id, 1))

    assert [row["position"] for row in taken] == [0, 1]
    assert again == []
    assert len(story.rows(t.notice)) == 2
    assert story.rows(t.delivery)[0]["state"] == "split"


def test_an_entry_with_a_known_key_is_no_news_and_its_neighbours_are(story: Story) -> None:
    first, second = arrival(story), arrival(story, body=b"other")
    kept(story, first, second)
    is_split(story, first.id, notice(story, first.id, key="a", account="1"))

    (taken,) = is_split(
        story,
        second.id,
        notice(story, second.id, 0, key="a", account="1"),
        notice(story, second.id, 1, key="b", account="1"),
        notice(story, second.id, 2),
    )

    assert [row["position"] for row in taken] == [1, 2]


def test_what_cannot_be_read_is_parked_with_its_reason_and_not_tried_again(story: Story) -> None:
    first = arrival(story)
    kept(story, first)
    is_split(story, first.id, parked="too-deep", detail="nested deeper than 64")

    (row,) = story.rows(t.delivery)
    assert (row["state"], row["reason"]) == ("parked", "too-deep: nested deeper than 64")
    assert story.ask(open_deliveries, ["zendesk"], "hub_1") == []


def test_only_open_notices_are_given_to_be_worked_on(story: Story) -> None:
    first = arrival(story)
    kept(story, first)
    states = [{"state": "ignored", "reason": "unknown kind"}, {"state": "held", "reason": "connection"}, {}]
    (taken,) = is_split(story, first.id, *(notice(story, first.id, n, **one) for n, one in enumerate(states)))

    assert [row["position"] for row in taken] == [2]
    assert {row["reason"] for row in story.rows(t.notice, state="ignored")} <= IGNORED


def test_a_failed_notice_waits_for_its_time_and_its_neighbour_does_not(story: Story) -> None:
    one, two = story.arrive("zendesk", ("zendesk.ticket", "1"), ("zendesk.ticket", "2"))
    now = story.clock.now()
    later = story.clock.now().replace(year=2027)
    with story.engine.begin() as conn:
        fail(conn, [Failed(notices=(one,), state="open", reason="retry", detail="503", since=now, next=later)])

    assert [row["id"] for row in story.ask(open_notices, now, "hub_1", "")] == [two]
    assert [row["id"] for row in story.ask(due_notices, now, "hub_1")] == [two]  # in nobody's hands
    assert [row["id"] for row in story.ask(due_notices, later, "hub_1")] == [one, two]
    (row,) = story.rows(t.notice, id=one)
    assert (row["attempts"], row["first_failed_at"]) == (1, now)


@pytest.mark.parametrize("state", ["processed", "ignored", "parked"])
def test_what_has_ended_is_not_failed_afterwards(story: Story, state: str) -> None:
    (one,) = story.arrive("zendesk", ("zendesk.ticket", "1"))
    story.change(t.notice, one, state=state)
    with story.engine.begin() as conn:
        fail(conn, [Failed(notices=(one,), state="open", reason="retry", detail="late")])

    assert story.rows(t.notice)[0]["state"] == state


def test_a_connection_that_works_again_opens_what_waited_for_it_and_nothing_else(story: Story) -> None:
    mine, other = story.arrive("zendesk", ("zendesk.ticket", "1"), ("zendesk.ticket", "2"))
    (theirs,) = story.arrive("asana", ("asana.project", "3"), body=b"theirs")
    for one in (mine, theirs):
        story.change(t.notice, one, state="held", reason="connection")
    story.change(t.notice, other, state="held", reason="waiting(eff_1)")
    with story.engine.begin() as conn:
        assert release(conn, [Release("con_zendesk")]) == [1]

    assert {row["id"]: row["state"] for row in story.rows(t.notice)} == {mine: "open", other: "held", theirs: "held"}


def test_an_entry_with_a_known_key_is_kept_as_same_as_another(story: Story) -> None:
    first, second = arrival(story), arrival(story, body=b"other")
    kept(story, first, second)
    is_split(story, first.id, notice(story, first.id, key="a", account="1"))
    is_split(
        story, second.id, notice(story, second.id, 0, key="a", account="1"), notice(story, second.id, 1, key="b", account="1")
    )

    (folded,) = story.rows(t.notice, delivery=second.id, position=0)
    assert (folded["state"], folded["reason"], folded["key"]) == ("ignored", "same as another", None)
    assert "the key a came before" in folded["detail"]
    assert folded["done_at"] is not None
    assert len(story.rows(t.notice)) == 3


def test_the_same_key_twice_in_one_delivery_is_worked_on_once_and_both_are_shown(story: Story) -> None:
    first = arrival(story)
    kept(story, first)
    (taken,) = is_split(story, first.id, *(notice(story, first.id, n, key="a", account="1") for n in range(2)))

    assert [row["position"] for row in taken] == [0]
    assert [row["reason"] for row in story.rows(t.notice)] == [None, "same as another"]
