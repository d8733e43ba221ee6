"""Step 8: what a receipt leaves behind: links, things, events, keys, and nobody else's records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifecyclehub.dispatch.prepared import Receipt
from lifecyclehub.dispatch.receipt import WriteReceipts
from lifecyclehub.dispatch.upkeep import Advance
from lifecyclehub.messages import Absent, CannotTell, Found, Retry, Unknown
from lifecyclehub.store import tables as t
from tests.support.effects import DONE, effect, in_flight, put, receive
from tests.support.reach import Middle
from tests.support.story import Story

DOUBT = {"state": "in doubt", "reason": "no answer"}


def test_a_done_create_leaves_a_link_a_thing_an_event_and_what_the_mirror_expects(story: Story) -> None:
    prepared = in_flight(story)
    (engagement,) = story.rows(t.engagement)

    receive(story, prepared, DONE)

    (link,) = story.rows(t.link, record_id="555")
    (project,) = story.rows(t.project)
    assert (link["thing_kind"], link["thing"], link["address"]) == ("project", project["id"], DONE.url)
    assert project["engagement"] == engagement["id"]
    (mirror,) = story.rows(t.mirror, record_id="555")
    assert (mirror["field"], mirror["seen"]) == ("project.title", None)
    assert prepared.input["name"] in mirror["sent"]
    assert len(story.rows(t.event, kind="project.opened")) == 1
    assert story.rows(t.engagement)[0]["version"] == engagement["version"] + 1


def test_a_record_that_a_sweep_saw_first_keeps_what_it_saw(story: Story) -> None:
    prepared = in_flight(story)
    with story.engine.begin() as conn:
        seen = {"connection": "con_asana", "kind": "asana.project", "record_id": "555", "fetched_at": story.clock.now()}
        conn.execute(t.link.insert(), [seen])

    receive(story, prepared, replace(DONE, url=None))

    (link,) = story.rows(t.link, record_id="555")
    assert link["thing_kind"] == "project"
    assert link["fetched_at"] is not None


@pytest.mark.parametrize("stood", [{}, DOUBT, {"state": "parked", "reason": "in doubt"}])
def test_what_was_seen_of_a_record_while_it_was_nobodys_is_looked_at_again_once_it_is_ours(
    story: Story, stood: dict[str, Any]
) -> None:
    prepared = in_flight(story, **stood)
    record = {"connection": "con_asana", "kind": "asana.project", "record_id": "555"}
    delivery = {
        "id": "dlv_1",
        "connector": "asana",
        "way": "webhook",
        "door": "hook",
        "headers": {},
        "body": b"",
        "body_hash": "",
    }
    notice = {"id": "ntc_1", "delivery": "dlv_1", "position": 0, "connector": "asana", "change": "changed"}
    notice |= {"state": "ignored", "reason": "unlinked", "kept_at": story.clock.now(), **record}
    with story.engine.begin() as conn:
        conn.execute(t.link.insert(), [{**record, "version": "3", "fetched_at": story.clock.now()}])
        conn.execute(t.mirror.insert(), [{**record, "field": "project.status", "seen": "closed"}])
        conn.execute(t.delivery.insert(), [delivery | {"body_hash": "0", "received_at": story.clock.now(), "state": "split"}])
        conn.execute(t.notice.insert(), [notice])

    receive(story, prepared, DONE, what="by a person" if stood.get("state") == "parked" else "sent")

    (opened,) = story.rows(t.notice, id="ntc_1")
    assert (opened["state"], opened["reason"], opened["not_before"]) == ("open", None, story.clock.now())
    assert story.rows(t.mirror, record_id="555", field="project.status") == []
    assert story.rows(t.link, record_id="555")[0]["version"] is None


def linked(story: Story, record_id: str, thing_kind: str, thing: str) -> None:
    row = {"connection": "con_asana", "kind": "asana.project", "record_id": record_id, "thing_kind": thing_kind, "thing": thing}
    with story.engine.begin() as conn:
        conn.execute(t.link.insert(), [row])


@pytest.mark.parametrize(("stood", "came"), [({}, DONE), (DOUBT, Found((DONE,))), ({"state": "ready"}, DONE)])
def test_a_record_that_is_anothers_already_is_never_taken_from_it_but_a_persons_question(
    story: Story, stood: dict[str, Any], came: Any
) -> None:
    prepared = in_flight(story, **stood)
    (client,) = story.rows(t.client)
    linked(story, "555", "client", client["id"])
    before = story.rows(t.link, record_id="555")
    put(story, prepared, client="cli_another")

    receive(story, prepared, came)

    row = effect(story, prepared)
    assert (row["state"], row["reason"], row["record_id"]) == ("parked", "linked elsewhere", None)
    assert "Orchard Tools" in row["detail"]
    assert str(DONE.url) in row["detail"]
    assert story.rows(t.link, record_id="555") == before
    assert story.rows(t.project) == []


def test_a_persons_word_may_move_a_link(story: Story) -> None:
    prepared = in_flight(story, state="parked", reason="linked elsewhere")
    linked(story, "555", "client", "cli_another")

    receive(story, prepared, DONE, what="by a person")

    assert effect(story, prepared)["state"] == "done"
    assert [row["thing_kind"] for row in story.rows(t.link, record_id="555")] == ["project"]


def test_two_effects_of_one_batch_never_take_the_same_record(story: Story) -> None:
    first = in_flight(story)
    second = in_flight_twin(story, first)
    facts: dict[str, Any] = {"what": "sent", "revision": 1, "began_at": story.clock.now(), "bytes_sent": True, "epoch": 1}
    receipts = [Receipt(effect=one, outcome=DONE, **facts) for one in (first.effect, second)]

    with story.engine.begin() as conn:
        WriteReceipts(story.rules, story.ids, story.clock, Middle())(conn, receipts)

    assert [row["state"] for row in story.rows(t.effect, action="create_project")] == ["done", "parked"]


def in_flight_twin(story: Story, prepared: Any) -> str:
    twin = dict(effect(story, prepared), id="eff_twin", key="another", marker="lh-0000000000")
    with story.engine.begin() as conn:
        conn.execute(t.effect.insert(), [twin])
    return "eff_twin"


@pytest.mark.parametrize("came", [Retry("busy"), Absent()])
def test_what_was_not_done_under_a_key_that_keeps_errors_is_sent_under_a_new_one(story: Story, came: Any) -> None:
    prepared = in_flight(story, **(DOUBT if isinstance(came, Absent) else {}))

    receive(story, prepared, came, what="looked up" if isinstance(came, Absent) else "sent", new_key=True)

    row = effect(story, prepared)
    assert (row["state"], row["revision"], row["body"], row["input"]) == ("ready", 2, None, None)
    story.clock.at += 5
    with story.engine.begin() as conn:
        ((again,),) = Advance(story.rules, story.ids, story.clock)(conn, [prepared.effect])
    assert again.key.idempotency != prepared.key.idempotency
    assert again.key.marker == prepared.key.marker


def test_what_may_have_been_done_keeps_its_key(story: Story) -> None:
    prepared = in_flight(story, unsure_since=story.clock.now())

    receive(story, prepared, Retry("busy"), new_key=True)

    assert effect(story, prepared)["revision"] == 1


def test_nobody_is_woken_by_what_is_not_done(story: Story) -> None:
    prepared = in_flight(story)

    assert receive(story, prepared, Unknown("lost")) == []
    assert receive(story, prepared, CannotTell("503"), what="looked up") == []
    assert receive(story, prepared, Absent(), what="looked up") == [], "it is sent again in its time"
