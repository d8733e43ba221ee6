"""What waits for a person is no question any more once its record was looked at and taken in since, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lifecyclehub.intake.answered import close_answered
from lifecyclehub.intake.decide import SettleAndDecide
from lifecyclehub.intake.fetch import observe
from lifecyclehub.intake.notices import Failed, fail
from lifecyclehub.intake.taking import CRASHES, Left, suspect, take_left
from lifecyclehub.store import tables as t
from tests.support.story import Story, won_deal

DEAL = "hubspot.deal"


@pytest.fixture
def story(tmp_path: Path, database_url: str) -> Iterator[Story]:
    told = Story(tmp_path, database_url)
    yield told
    told.close()


def looked(story: Story, *, fetched: bool = True, before_s: float = 0.0) -> None:
    """Take in the deal as a look shows it that began a moment before, or as a payload does."""
    rules, connection, about = story.rules, story.connections["hubspot"], story.registry.get("hubspot").about
    began = story.clock.now() - timedelta(seconds=before_s)
    seen = observe(rules, connection, about, won_deal(), began, notices=(), fetched=fetched)
    if fetched:
        seen = replace(seen, answered_at=story.clock.now())
    with story.engine.begin() as conn:
        (settled,) = SettleAndDecide(story.rules, story.ids, story.clock)(conn, [seen])
    assert settled.state == "processed"


def parked(story: Story) -> str:
    """Let news of the deal come that cannot be understood; gives the notice."""
    (notice,) = story.arrive("hubspot", (DEAL, "9001"), body=b"")
    with story.engine.begin() as conn:
        fail(conn, [Failed(notices=(notice,), state="parked", reason="mapping", detail="deal.status: 'later' is not known")])
    return notice


def asked(story: Story) -> list[str]:
    """Let the hub see which questions are answered; gives those that are left."""
    story.clock.at += 60
    with story.engine.begin() as conn:
        close_answered(conn, [story.clock.now()])
    return [row["id"] for row in story.rows(t.notice, state="parked")]


@pytest.mark.parametrize("known", [False, True])
def test_a_look_that_began_later_answers_it(story: Story, known: bool) -> None:
    if known:
        looked(story)
    story.clock.at += 1
    question = parked(story)
    assert asked(story) == [question]
    looked(story)
    assert asked(story) == []


@pytest.mark.parametrize(("before", "after"), [(200.0, 0.0), (0.0, -200.0)])
def test_a_look_before_it_answers_nothing_though_a_clock_that_was_put_back_dates_it_later(
    story: Story, before: float, after: float
) -> None:
    story.clock.put = before
    looked(story)
    story.clock.put = after
    question = parked(story)
    assert asked(story) == [question]
    looked(story)
    assert asked(story) == []


def test_a_look_that_began_before_it_answers_nothing_though_it_is_taken_in_later(story: Story) -> None:
    looked(story)
    story.clock.at += 10
    question = parked(story)
    story.clock.at += 1
    looked(story, before_s=5)
    assert asked(story) == [question]


def test_a_payload_answers_nothing_since_it_may_have_been_long_on_its_way(story: Story) -> None:
    question = parked(story)
    story.clock.at += 1
    looked(story, fetched=False)
    assert asked(story) == [question]


def test_what_the_process_died_of_is_still_asked_when_a_look_before_it_is_dated_later(story: Story) -> None:
    story.clock.put = 200.0
    looked(story)
    story.clock.put = 0.0
    (notice,) = story.arrive("hubspot", (DEAL, "9001"), body=b"")
    with story.engine.begin() as conn:
        conn.execute(t.notice.update().where(t.notice.c.id == notice).values(holder="hub_that_died"))
        of = conn.execute(t.notice.select().where(t.notice.c.id == notice)).mappings().one()["delivery"]
        for _ in range(CRASHES):
            suspect(conn, [of])
        take_left(conn, [Left("hub_story", story.clock.now())])
    assert asked(story) == [notice]
