"""A restored store says of everything open that it may have been done since the backup."""

from __future__ import annotations

from datetime import timedelta

from lifecyclehub.admin.backup import mark_restored
from tests.support.effects import effect, in_flight
from tests.support.story import Story


def test_what_is_open_is_unsure_from_the_moment_of_the_backup(story: Story) -> None:
    prepared = in_flight(story, state="ready")
    made_at = story.clock.now() - timedelta(minutes=3)

    with story.engine.begin() as conn:
        mark_restored(conn, made_at, story.clock.now())

    assert effect(story, prepared)["unsure_since"] == made_at


def test_what_was_unsure_before_stays_so_from_then(story: Story) -> None:
    since = story.clock.now() - timedelta(hours=1)
    prepared = in_flight(story, state="in doubt", unsure_since=since)

    with story.engine.begin() as conn:
        mark_restored(conn, story.clock.now(), story.clock.now())

    assert effect(story, prepared)["unsure_since"] == since
