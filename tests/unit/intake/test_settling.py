"""Step 5: a field against the mirror, a delete against an update, a record against an open create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lifecyclehub.admin.findings import SettleFindings, Settling
from lifecyclehub.intake.batch import Batch
from lifecyclehub.intake.decide import SettleAndDecide
from lifecyclehub.intake.fetch import gone, observe
from lifecyclehub.intake.news import genuine
from lifecyclehub.intake.observation import Observation, Settled
from lifecyclehub.intake.settle import Settle
from lifecyclehub.messages import Document, Done
from lifecyclehub.store import tables as t
from lifecyclehub.store.things import observed
from lifecyclehub.store.upsert import insert_all
from tests.support.effects import effect, in_flight
from tests.support.story import Story, won_deal

KEY = ("con_hubspot", "hubspot.deal", "9001")


# --- the mirror ---------------------------------------------------------------------------------------------------------

NEWS, NOTHING = {"deal.title": "now"}, {}

# (seen before, sent by us) -> what is news when "now" is observed, and the mirror afterwards
MIRROR: list[tuple[str | None, str | None, Mapping[str, Any], tuple[str, str | None]]] = [
    (None, None, NEWS, ("now", None)),  # never seen
    ("now", None, NOTHING, ("now", None)),  # as seen
    ("before", None, NEWS, ("now", None)),  # changed there
    ("before", "now", NEWS, ("now", None)),  # ours came back: confirmed, once, and ours is the value from now on
    (None, "now", NEWS, ("now", None)),  # the same, of a record that we made
    ("now", "ours", NOTHING, ("now", "ours")),  # ours is still on its way
    ("before", "ours", NEWS, ("now", None)),  # somebody was quicker than ours
]


def settled_field(story: Story, before: str | None, sent: str | None, *, hub_owned: bool = False) -> tuple[Any, Any, list[Any]]:
    """Observe "now"; gives the news, the mirror's row afterwards, and the findings."""
    with story.engine.begin() as conn:
        if before is not None or sent is not None:
            text = {"seen": None if before is None else observed(before), "sent": None if sent is None else observed(sent)}
            insert_all(
                conn, t.mirror, [dict(zip(("connection", "kind", "record_id"), KEY, strict=True), field="deal.title", **text)]
            )
        one = Observation(
            connection=KEY[0],
            kind=KEY[1],
            record_id=KEY[2],
            fills="deal",
            seen_at=story.clock.now(),
            values={"deal.title": "now"},
            hub_owned=frozenset({"deal.title"} if hub_owned else ()),
        )
        batch = Batch(conn, story.ids, story.clock.now(), [one])
        news = genuine(batch, one, first=False)
        batch.write()
        findings = list(batch.findings)
    (row,) = story.rows(t.mirror)
    return news, (row["seen"], row["sent"]), findings


@pytest.mark.parametrize(("before", "sent", "news", "after"), MIRROR)
def test_a_field_against_the_mirror(story: Story, before: Any, sent: Any, news: Any, after: Any) -> None:
    found, mirror, findings = settled_field(story, before, sent)

    assert found == news
    assert mirror == tuple(None if one is None else observed(one) for one in after)
    assert findings == []


def test_our_own_change_is_confirmed_only_once(story: Story) -> None:
    settled_field(story, "before", "now")
    with story.engine.begin() as conn:
        conn.execute(t.mirror.delete())
    found, _, _ = settled_field(story, "now", None)
    assert found == {}


@pytest.mark.parametrize(("before", "sent"), [("before", None), ("before", "ours")])
def test_a_field_whose_word_is_ours_is_never_taken_over_and_a_change_of_it_is_shown(
    story: Story, before: str, sent: str | None
) -> None:
    found, _, findings = settled_field(story, before, sent, hub_owned=True)

    assert found == {}
    assert [(one["kind"], one["about"]) for one in findings] == [("drift", 'deal.title="now"')]
    assert observed(sent or before) in findings[0]["detail"]


def test_a_change_that_a_person_settled_is_shown_again_when_it_happens_again(story: Story) -> None:
    settled_field(story, "before", None, hub_owned=True)
    (first,) = story.rows(t.finding)
    with story.engine.begin() as conn:
        SettleFindings(story.clock)(conn, [Settling(finding=first["id"], who="kim", why="sales does that on purpose")])
        conn.execute(t.mirror.delete())
    story.clock.at += 60
    settled_field(story, "before", None, hub_owned=True)
    (again,) = story.rows(t.finding)
    assert again["id"] == first["id"]
    assert [again[f"settled_{word}"] for word in ("at", "by", "why")] == [None] * 3
    assert again["at"] > first["at"]


# --- records ------------------------------------------------------------------------------------------------------------


def observation(story: Story, **more: Any) -> Observation:
    values = {"deal.title": "Shop rebuild", "deal.status": "open"}
    facts: dict[str, Any] = {"seen_at": story.clock.now(), "values": values, "document": {}, "fills": "deal", **more}
    return Observation(connection=KEY[0], kind=KEY[1], record_id=KEY[2], **facts)


def settle(story: Story, *observations: Observation) -> list[Settled]:
    with story.engine.begin() as conn:
        return Settle(story.ids, story.clock)(conn, observations)[1]


def test_a_record_seen_twice_is_one_thing(story: Story) -> None:
    assert [one.state for one in settle(story, observation(story))] == ["processed"]
    story.clock.at += 1
    assert [one.state for one in settle(story, observation(story), observation(story))] == ["processed", "processed"]

    assert len(story.rows(t.deal)) == 1
    assert len(story.rows(t.link)) == 1
    assert len(story.rows(t.snapshot)) == 3, "each look is kept"


def test_older_news_is_ignored_and_changes_nothing(story: Story) -> None:
    settle(story, observation(story))
    early = observation(story, seen_at=story.clock.now() - timedelta(seconds=5), values={"deal.title": "of yesterday"})

    (found,) = settle(story, early)

    assert (found.state, found.reason) == ("ignored", "older")
    assert [row["title"] for row in story.rows(t.deal)] == ["Shop rebuild"]


def test_a_payload_that_ties_is_looked_at_again_and_writes_nothing(story: Story) -> None:
    settle(story, observation(story))
    (found,) = settle(story, observation(story, fetched=False, values={"deal.title": "from the payload"}))

    assert found.state == "look again"
    assert [row["title"] for row in story.rows(t.deal)] == ["Shop rebuild"]


def test_a_late_payload_does_not_bring_a_deleted_record_back(story: Story) -> None:
    at = story.clock.now()
    settle(story, observation(story, order="time", changed_at=at))
    story.clock.at += 1
    settle(story, gone(*KEY, story.clock.now(), ()))
    deleted = story.rows(t.link)[0]["deleted_at"]

    late = observation(story, order="time", changed_at=at + timedelta(hours=1), fetched=False)
    assert [one.state for one in settle(story, late)] == ["look again"]
    assert story.rows(t.link)[0]["deleted_at"] == deleted is not None

    story.clock.at += 1
    alive = observation(story, order="time", changed_at=at + timedelta(hours=1))
    assert [one.state for one in settle(story, alive)] == ["processed"]
    assert story.rows(t.link)[0]["deleted_at"] is None, "a fresh look that shows it alive"


def test_a_look_that_found_nothing_but_began_before_one_that_found_it_is_older(story: Story) -> None:
    began = story.clock.now()
    story.clock.at += 1
    settle(story, observation(story))

    (found,) = settle(story, gone(*KEY, began, ()))

    assert (found.state, found.reason) == ("ignored", "older")
    assert story.rows(t.link)[0]["deleted_at"] is None


def test_a_look_with_a_clock_that_was_ahead_does_not_hide_what_is_seen_once_it_is_right(story: Story) -> None:
    story.clock.at += 3600
    settle(story, observation(story))
    story.clock.at -= 3600

    (found,) = settle(story, observation(story, values={"deal.title": "Shop rebuild", "deal.status": "won"}))
    assert (found.state, story.rows(t.deal)[0]["status"]) == ("processed", "won")

    story.clock.at += 3600
    settle(story, observation(story))
    story.clock.at -= 3600
    (found,) = settle(story, gone(*KEY, story.clock.now(), ()))
    assert (found.state, found.reason) == ("processed", "deleted")


@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_a_look_during_which_our_clock_was_put_back_is_made_again(story: Story, change: Any) -> None:
    settle(story, observation(story))
    story.clock.at += 3600
    seen = replace(observation(story, values={"deal.title": "Shop rebuild", "deal.status": "won"}), change=change)
    story.clock.at -= 3600 - 1

    (found,) = settle(story, seen)

    assert found.state == "look again"
    assert story.rows(t.deal)[0]["status"] == "open"
    assert story.rows(t.link)[0]["deleted_at"] is None


def under_way(story: Story, began: int, answered: int, **more: Any) -> Observation:
    at = story.clock.now()
    return observation(story, seen_at=at + timedelta(seconds=began), answered_at=at + timedelta(seconds=answered), **more)


@pytest.mark.parametrize(("began", "answered"), [(-9, -5), (-7, -6)])
def test_looks_that_were_under_way_together_and_say_different_things_are_made_again(
    story: Story, began: int, answered: int
) -> None:
    settle(story, under_way(story, -8, -6))

    (other,) = settle(story, under_way(story, began, answered, values={"deal.title": "of another moment"}))
    (none,) = settle(story, replace(under_way(story, began, answered), change="deleted"))
    (same,) = settle(story, under_way(story, began, answered))
    assert (other.state, none.state, same.state) == ("look again", "look again", "processed")
    assert story.rows(t.link)[0]["deleted_at"] is None

    settle(story, replace(under_way(story, -4, -2), change="deleted"))
    (there,) = settle(story, under_way(story, -3, -1))
    assert there.state == "look again"
    assert story.rows(t.link)[0]["deleted_at"] is not None


def test_what_came_along_with_a_look_does_not_undo_what_another_look_saw_meanwhile(story: Story) -> None:
    def company(name: str, began: int, answered: int) -> Observation:
        seen = under_way(story, began, answered, values={"client.name": name}, fills="client", marker=None)
        return replace(seen, kind="hubspot.company", record_id="7001", opens_client=True)

    settle(story, replace(under_way(story, -9, -8), related=(company("Orchard", -9, -8),)))
    settle(story, company("Orchard Group", -5, -3))

    (found,) = settle(story, replace(under_way(story, -4, -2), related=(company("Orchard", -4, -2),)))

    assert found.state == "look again"
    assert [row["name"] for row in story.rows(t.client)] == ["Orchard Group"]


def test_a_merged_record_hands_its_link_to_the_survivor(story: Story) -> None:
    settle(story, observation(story))
    (thing,) = story.rows(t.deal)
    story.clock.at += 1

    (found,) = settle(story, gone(*KEY, story.clock.now(), (), into="9002"))

    assert (found.state, found.reason) == ("processed", "merged")
    links = {row["record_id"]: row for row in story.rows(t.link)}
    assert links["9001"]["merged_into"] == "9002"
    assert links["9002"]["thing"] == thing["id"]
    story.clock.at += 1
    settle(story, replace(observation(story), record_id="9002"))
    assert len(story.rows(t.deal)) == 1


# --- our own record comes back ----------------------------------------------------------------------------------------


def project(record_id: str, *, created: datetime | None, marker: str | None = None) -> Document:
    data = {"gid": record_id, "name": "Shop rebuild", "completed": False, "created_at": created.isoformat() if created else None}
    return Document(kind="asana.project", id=record_id, data=data, marker=marker, url=f"https://asana.example/{record_id}")


def claimed_project(story: Story) -> dict[str, Any]:
    return effect(story, in_flight(story))


@pytest.mark.parametrize(
    ("later_s", "marked", "held"),
    [
        (1, None, True),  # it may be what we are just creating
        (None, None, True),  # a record of unknown time counts as after
        (-60, None, True),  # the vendor's clock may be behind ours
        (-600, None, False),  # it was there before
        (1, "ours", True),
        (-600, "ours", True),  # or a clock was put back: whatever carries its marker waits for what is found out
        (1, "lh-0000000000", False),  # the marker of another effect
    ],
)
def test_an_unlinked_record_waits_for_an_open_create_of_its_kind(
    story: Story, later_s: int | None, marked: str | None, held: bool
) -> None:
    create = claimed_project(story)
    created = None if later_s is None else create["claimed_at"] + timedelta(seconds=later_s)
    marker = create["marker"] if marked == "ours" else marked

    story.see("asana", project("555", created=created, marker=marker))

    notice = story.rows(t.notice, record_id="555")[0]
    assert (notice["state"] == "held") is held
    assert (notice["reason"] == f"waiting({create['id']})") is held
    assert len(story.rows(t.project)) == 0


def test_a_record_with_our_marker_that_we_did_not_make_is_a_double_and_is_shown(story: Story) -> None:
    story.switch("won-deal-starts-delivery")
    (ready,) = story.see("hubspot", won_deal())
    story.answer(ready, Done(record_id="555", url="https://asana.example/555"))

    story.see("asana", project("556", created=story.clock.now(), marker=effect(story, ready)["marker"]))

    notice = story.rows(t.notice, record_id="556")[0]
    assert (notice["state"], notice["reason"]) == ("parked", "double")
    (finding,) = story.rows(t.finding, kind="double")
    assert "555" in finding["detail"]
    assert len(story.rows(t.project)) == 1


def test_a_notice_names_the_snapshot_that_was_made_for_it(story: Story) -> None:
    (first,) = story.arrive("hubspot", ("hubspot.deal", "9001"))
    story.see("hubspot", won_deal(), [first])
    (again,) = story.arrive("hubspot", ("hubspot.deal", "9001"), body=b"again")
    story.see("hubspot", won_deal(), [again])

    looks = [row["id"] for row in story.rows(t.snapshot, kind="hubspot.deal")]
    assert [row["snapshot"] for row in story.rows(t.notice)] == looks
    assert len(set(looks)) == 2


@pytest.mark.parametrize("state", ["planned", "held", "ready", "parked", "cancelled"])
def test_a_record_with_the_marker_of_an_effect_that_seemed_not_done_is_held_for_it(story: Story, state: str) -> None:
    """It was done after all: that is told to the effect, which is not sent again; a parked one waits for its person."""
    create = claimed_project(story)
    story.change(t.effect, create["id"], state=state)
    document = project("555", created=story.clock.now(), marker=create["marker"])
    (notice,) = story.arrive("asana", ("asana.project", "555"))
    about = story.registry.get("asana").about
    seen = observe(story.rules, story.connections["asana"], about, document, story.clock.now(), notices=[notice], fetched=True)

    with story.engine.begin() as conn:
        (settled,) = SettleAndDecide(story.rules, story.ids, story.clock)(conn, [seen])

    (row,) = story.rows(t.notice, id=notice)
    assert (row["state"], row["reason"]) == ("held", f"waiting({create['id']})")
    assert [one.outcome.record_id for one in settled.found] == ([] if state == "parked" else ["555"])
    assert [(one.effect, one.epoch, one.revision) for one in settled.found] == (
        [] if state == "parked" else [(create["id"], 1, 1)]
    )
    assert story.rows(t.project) == []
    assert [link["thing"] for link in story.rows(t.link, record_id="555")] == [None]
