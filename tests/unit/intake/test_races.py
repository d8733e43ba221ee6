"""Two workers meet the same record in the same moment: one is told to look again, and nothing is linked twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from lifecyclehub.errors import LostRace
from lifecyclehub.intake.batch import Batch
from lifecyclehub.intake.decide import Decide, SettleAndDecide
from lifecyclehub.intake.fetch import observe
from lifecyclehub.intake.observation import Observation
from lifecyclehub.messages import Document, Done
from lifecyclehub.store import tables as t
from lifecyclehub.store.writer import Store
from tests.support.story import Story, won_deal

KEY = ("con_zendesk", "zendesk.ticket", "42")


@pytest.fixture
def story(tmp_path: Path, postgres_url: str) -> Iterator[Story]:
    """A home on PostgreSQL, the only one of the two with several writers."""
    told = Story(tmp_path, postgres_url)
    yield told
    told.close()


def worker(story: Story, conn: object) -> Batch:
    seen = Observation(connection=KEY[0], kind=KEY[1], record_id=KEY[2], fills="ticket", seen_at=story.clock.now())
    return Batch(conn, story.ids, story.clock.now(), [seen])  # type: ignore[arg-type]


def links_a_ticket(batch: Batch) -> str:
    ticket = batch.make("ticket")
    batch.set_link(KEY, thing_kind="ticket", thing=ticket["id"])
    batch.write()
    return str(ticket["id"])


def test_who_links_a_record_second_writes_nothing_and_looks_again(story: Story) -> None:
    with story.engine.begin() as slow:
        late = worker(story, slow)  # it saw a record that is nobody's
        with story.engine.begin() as quick:
            first = links_a_ticket(worker(story, quick))
        with pytest.raises(LostRace, match="at the same moment"):
            links_a_ticket(late)
        slow.rollback()

    assert [row["id"] for row in story.rows(t.ticket)] == [first]
    assert [row["thing"] for row in story.rows(t.link, record_id="42")] == [first]


def test_who_links_a_record_to_the_same_thing_loses_no_race(story: Story) -> None:
    with story.engine.begin() as quick:
        first = links_a_ticket(worker(story, quick))
    with story.engine.begin() as conn:
        batch = worker(story, conn)
        batch.set_link(KEY, address="https://zendesk.example/42")
        batch.write()

    (link,) = story.rows(t.link, record_id="42")
    assert (link["thing"], link["address"]) == (first, "https://zendesk.example/42")


def ticket(story: Story) -> Document:
    """A ticket of somebody at the client of the won deal."""
    person = {"id": 31, "name": "Ada Quill", "email": "ada@orchard.example", "role": "end-user"}
    return Document(
        kind="zendesk.ticket",
        id="42",
        changed_at=story.clock.now(),
        data={"id": 42, "subject": "Login broken", "status": "open", "requester": person},
        related=(Document(kind="zendesk.user", id="31", changed_at=story.clock.now(), data=person),),
    )


def test_a_ticket_and_its_project_that_come_at_the_same_moment_find_each_other(story: Story) -> None:
    story.switch("won-deal-starts-delivery")
    (ready,) = story.see("hubspot", won_deal())
    notices = story.arrive("zendesk", ("zendesk.ticket", "42"))
    about, now = story.registry.get("zendesk").about, story.clock.now()
    seen = observe(story.rules, story.connections["zendesk"], about, ticket(story), now, notices=notices, fetched=True)
    (engagement,) = story.rows(t.engagement)

    def receipt() -> None:
        story.answer(ready, Done(record_id="555", url="https://asana.example/555"))
        with story.engine.begin() as quick:
            Decide(story.rules, story.ids, story.clock)(quick, [([engagement["id"]], [])])

    with story.engine.begin() as slow:
        SettleAndDecide(story.rules, story.ids, story.clock)(slow, [seen])  # no project is there yet, and nothing is committed
        beside = threading.Thread(target=receipt)
        beside.start()
        beside.join(1.0)  # it waits, or is through by now
    beside.join()

    (joined,) = story.rows(t.ticket)
    (project,) = story.rows(t.project)
    assert joined["project"] == project["id"]


def seen_as(story: Story, connector: str, document: Document) -> Observation:
    notices = story.arrive(connector, (document.kind, document.id), body=document.id.encode())
    about, now = story.registry.get(connector).about, story.clock.now()
    return observe(story.rules, story.connections[connector], about, document, now, notices=notices, fetched=True)


@pytest.mark.parametrize("first", ["ticket", "client"])
def test_a_ticket_and_its_client_that_come_at_the_same_moment_find_each_other(story: Story, first: str) -> None:
    both = {"ticket": seen_as(story, "zendesk", ticket(story)), "client": seen_as(story, "hubspot", won_deal())}
    one, other = both.pop(first), both.popitem()[1]

    def meets(seen: Observation) -> None:
        store = Store(story.engine, writers=1)
        asyncio.run(store.run(SettleAndDecide(story.rules, story.ids, story.clock), seen))
        store.close()

    with story.engine.begin() as slow:
        SettleAndDecide(story.rules, story.ids, story.clock)(slow, [one])  # nothing is committed yet
        beside = threading.Thread(target=meets, args=(other,))
        beside.start()
        beside.join(1.0)  # it waits, or is through by now
    beside.join()

    (placed,) = story.rows(t.ticket)
    (client,) = story.rows(t.client)
    assert placed["client"] == client["id"]
    assert story.rows(t.stranger) == []


@pytest.mark.parametrize("what", ["ticket", "client"])
def test_what_comes_for_a_client_that_is_just_being_merged_away_comes_to_the_one_that_stays(story: Story, what: str) -> None:
    story.see("hubspot", won_deal())
    (away,) = story.rows(t.client)
    seen = seen_as(story, "zendesk", ticket(story)) if what == "ticket" else seen_as(story, "hubspot", another_deal())

    def comes() -> None:
        store = Store(story.engine, writers=1)
        asyncio.run(store.run(SettleAndDecide(story.rules, story.ids, story.clock), seen))
        store.close()

    with story.engine.begin() as conn:  # as a merge does it
        conn.execute(insert(t.client).values({**away, "id": "cli_stays"}))
        for table in (t.identity_key, t.contact, t.engagement, t.event):
            conn.execute(update(table).where(table.c.client == away["id"]).values(client="cli_stays"))
        conn.execute(update(t.link).where(t.link.c.thing == away["id"]).values(thing=None))
        conn.execute(delete(t.client).where(t.client.c.id == away["id"]))
        beside = threading.Thread(target=comes)
        beside.start()
        beside.join(1.0)
    beside.join()

    assert [row["id"] for row in story.rows(t.client)] == ["cli_stays"]
    assert {row["client"] for row in story.rows(t.ticket)} <= {"cli_stays"}
    assert {row["client"] for row in story.rows(t.engagement)} == {"cli_stays"}


def another_deal() -> Document:
    """A second deal of the same company, of which HubSpot has a second record."""
    deal = won_deal()
    return replace(deal, id="56", related=tuple(replace(one, id=f"{one.id}9") for one in deal.related))
