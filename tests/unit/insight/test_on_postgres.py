"""The same questions on the other database: what is asked in SQL is alike there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecyclehub.admin.effects import Answer, AnswerEffects
from lifecyclehub.admin.replay import Replay, Wanted
from lifecyclehub.insight.clients import client_page, list_clients, list_engagements
from lifecyclehub.insight.details import delivery_detail, effect_detail
from lifecyclehub.insight.engagements import engagement_page
from lifecyclehub.insight.explain import explain
from lifecyclehub.insight.lists import Asked, list_deliveries, list_effects, list_links, list_notices
from lifecyclehub.insight.status import read_status
from lifecyclehub.messages import Refused
from lifecyclehub.store import tables
from tests.support.reach import Middle
from tests.support.story import Story, won_deal


@pytest.fixture
def story(tmp_path: Path, postgres_url: str) -> Iterator[Story]:
    told = Story(tmp_path, postgres_url)
    told.switch("won-deal-starts-delivery")
    (prepared,) = told.see("hubspot", won_deal())
    told.answer(prepared, Refused("the workspace is read-only"))
    yield told
    told.close()


def test_everything_that_can_be_asked_is_answered(story: Story) -> None:
    now = story.clock.now()
    status = story.ask(read_status, abouts=story.rules.abouts, handoffs=story.rules.handoffs.handoffs, now=now)
    assert (status.count("effects", "held"), status.count("effects", "parked")) == (5, 1)
    for listed in (list_clients, list_engagements, list_deliveries, list_notices, list_effects, list_links):
        first = story.ask(listed, Asked(limit=1))
        assert len(first.items) == 1
        if first.next is not None:
            assert story.ask(listed, Asked(first.next, 1)).items != first.items
    (client,), (engagement,), (delivery,) = (story.rows(one) for one in (tables.client, tables.engagement, tables.delivery))
    effect = story.rows(tables.effect, name="project")[0]
    assert story.ask(client_page, client["id"]).client.name == "Orchard Tools"
    assert len(story.ask(engagement_page, engagement["id"]).timeline) == 7
    assert story.ask(delivery_detail, delivery["id"]).delivery.size == len(delivery["body"])
    assert story.ask(effect_detail, effect["id"]).attempts[0].outcome == "Refused"
    for row in (client, engagement, delivery, effect, story.rows(tables.deal)[0], story.rows(tables.notice)[0]):
        assert story.ask(explain, story.rules, row["id"], now).lines


def test_replay_and_a_persons_word_work_there_too(story: Story) -> None:
    effect = story.rows(tables.effect, name="project")[0]["id"]
    with story.engine.begin() as conn:
        word = Answer(effect=effect, verdict="is", who="Ada", record_id="5009")
        assert AnswerEffects(story.rules, story.ids, story.clock, Middle())(conn, [word]) == ["done"]
        wanted = Wanted(connection="hubspot", since=story.clock.now().replace(year=2020))
        assert Replay(story.rules, story.clock)(conn, [wanted])[0].notices == 1
    assert story.rows(tables.link, kind="asana.project")[0]["record_id"] == "5009"
