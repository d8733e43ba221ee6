"""Settling after a person was erased: nothing of their records is taken in, and of others' what does not tell them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from lifecyclehub.intake.decide import SettleAndDecide
from lifecyclehub.intake.fetch import observe
from lifecyclehub.intake.keep import Arrival, keep
from lifecyclehub.intake.observation import Observation, Settled
from lifecyclehub.intake.split import Split, split, without_erased
from lifecyclehub.messages import Document
from lifecyclehub.redaction import record_mark, value_marks
from lifecyclehub.store import tables as t
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.store.writer import Store
from lifecyclehub.vault import Vault
from lifecyclehub.vault.erased import ErasedPeople, sealed_key, told_anew
from tests.support.canaries import told_in
from tests.support.story import Story, won_deal
from tests.unit.intake.test_receiving import Porch

KEY = b"a key for every mark of a person"
EMAIL, NAME = "odalys@orchard.example", "Odalys Ferreira"


@pytest.fixture
def people(story: Story) -> ErasedPeople:
    return ErasedPeople(Vault.open(story.settings.home, {}))


def erase(story: Story) -> None:
    """Leave what an erasure leaves of the contact 81."""
    marks = value_marks(KEY, emails=[EMAIL], names=[NAME]) | {record_mark(KEY, "con_hubspot", "hubspot.contact", "81")}
    with story.engine.begin() as conn:
        vault = Vault.open(story.settings.home, {})
        insert_all(conn, t.secret, [sealed_key(vault, story.made.installation, KEY, story.clock.now())])
        insert_all(conn, t.erasure, [{"id": "era_1", "who": "kim", "at": story.clock.now(), "redacted": 0}])
        rows = [{"mark": one.mark, "kind": one.sort, "words": one.words, "erasure": "era_1"} for one in sorted(marks)]
        insert_all(conn, t.tombstone, rows)
        told_anew(conn)


def contact(record_id: str = "81") -> Document:
    first, last = NAME.split()
    return Document(
        kind="hubspot.contact",
        id=record_id,
        data={"id": record_id, "properties": {"firstname": first, "lastname": last, "email": EMAIL}},
        url=f"https://app.hubspot.example/contact/{record_id}",
    )


def deal(record_id: str = "9001", of: str = "81") -> Document:
    made = won_deal(record_id)
    properties = {**made.data["properties"], "dealname": f"Shop for {NAME}"}
    return replace(made, data={**made.data, "properties": properties}, related=(*made.related, contact(of)))


def seen(story: Story, people: ErasedPeople, document: Document) -> Observation:
    notices = story.arrive("hubspot", (document.kind, document.id), body=b"")
    story.clock.at += 1
    about = story.registry.get("hubspot").about
    connection = story.connections["hubspot"]
    now = story.clock.now()
    return observe(story.rules, connection, about, document, now, notices=notices, fetched=True, erased=people.known)


def settle(story: Story, people: ErasedPeople, one: Observation) -> Settled:
    with story.engine.begin() as conn:
        return SettleAndDecide(story.rules, story.ids, story.clock, people)(conn, [one])[0]


def look(story: Story, people: ErasedPeople) -> None:
    with story.engine.begin() as conn:
        people.look(conn)


def test_what_was_fetched_before_is_not_taken_in_after(story: Story, people: ErasedPeople) -> None:
    before = seen(story, people, deal())
    erase(story)
    settled = settle(story, people, before)
    assert (settled.state, settled.reason) == ("look again", "erased")
    assert told_in(story.engine, [EMAIL, NAME]) == set()
    assert settle(story, people, seen(story, people, deal())).state == "processed"
    assert told_in(story.engine, [EMAIL, NAME, "Odalys", "Ferreira"]) == set()
    (row,) = story.rows(t.deal)
    assert (row["title"], row["status"]) == ("Shop for [erased]", "won")


def test_news_of_their_record_is_ignored_whether_it_lives_or_not(story: Story, people: ErasedPeople) -> None:
    erase(story)
    look(story, people)
    one = seen(story, people, contact())
    for change in ("changed", "deleted"):
        settled = settle(story, people, replace(one, change=change))
        assert (settled.state, settled.reason) == ("ignored", "erased")
    assert story.rows(t.link) == story.rows(t.snapshot) == []


def test_who_came_back_as_another_record_counts_again(story: Story, people: ErasedPeople) -> None:
    erase(story)
    look(story, people)
    settle(story, people, seen(story, people, deal(of="82")))
    (back,) = story.rows(t.contact)
    assert (back["name"], back["email"]) == (NAME, EMAIL)
    assert {row["kind"] for row in story.rows(t.tombstone)} == {"record"}
    look(story, people)
    assert people.known.text(EMAIL) == EMAIL


def test_while_nobody_was_erased_one_small_question_is_all_it_costs(story: Story, people: ErasedPeople) -> None:
    asked: list[str] = []
    one = seen(story, people, deal())
    with story.engine.begin() as conn:
        raw: Any = conn.connection.dbapi_connection
        raw.set_trace_callback(asked.append)
        SettleAndDecide(story.rules, story.ids, story.clock, people)(conn, [one])
        raw.set_trace_callback(None)
    assert [text for text in asked if "erasures" in text or "tombstone" in text] == [
        "SELECT installation.erasures \nFROM installation"
    ]


@pytest.fixture
def porch(story: Story) -> Iterator[Porch]:
    store = Store(story.engine)
    yield Porch(story, store)
    store.close()


@pytest.mark.anyio
async def test_what_comes_later_is_kept_without_them(story: Story, people: ErasedPeople, porch: Porch) -> None:
    erase(story)
    look(story, people)
    porch.reception.erased = lambda: people.known
    await porch.knock(b'{"text": "Write to %s", "id": 5}' % EMAIL.encode(), x_name=NAME)
    (row,) = story.rows(t.delivery)
    assert row["body"] == b'{"id":5,"text":"Write to [erased]"}'
    assert told_in(story.engine, [EMAIL, NAME]) == set()


def test_an_entry_about_them_is_ignored_and_blanked_and_its_neighbour_is_not(story: Story, people: ErasedPeople) -> None:
    body = b'[{"objectId": "81", "propertyValue": "Vienna"}, {"objectId": "9001", "propertyValue": "Linz"}]'
    arrival = Arrival(
        id="dlv_1",
        endpoint="end_hubspot",
        connection=None,
        connector="hubspot",
        way="webhook",
        door="webhook",
        vendor_key=None,
        headers={},
        body=body,
        received_at=story.clock.now(),
    )
    notices = [
        story._notice("hubspot", "dlv_1", position, kind, record)
        for position, (kind, record) in enumerate((("hubspot.contact", "81"), ("hubspot.deal", "9001")))
    ]
    erase(story)
    look(story, people)
    item = without_erased(
        Split(delivery="dlv_1", at=story.clock.now(), notices=tuple(notices)), arrival, people.known, story.rules
    )
    with story.engine.begin() as conn:
        keep(conn, [arrival])
        (open_ones,) = split(conn, [item])
        left = conn.execute(select(t.delivery.c.body)).scalar_one()
    assert [row["record_id"] for row in open_ones] == ["9001"]
    assert [(row["state"], row["reason"]) for row in story.rows(t.notice)] == [("ignored", "erased"), ("open", None)]
    assert b"Vienna" not in left
    assert b"Linz" in left
