"""A tool may do what it never answered after what we sent next: writes to one field keep their order all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from lifecyclehub.connector import Natural
from lifecyclehub.dispatch.perform import Answer, _may_land
from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.messages import Done, Reply, Retry, Unknown
from lifecyclehub.store import tables as t
from tests.support.desk import KEY, Desk, doubt
from tests.support.effects import claim, effect, receive
from tests.support.story import Story, won_deal
from tests.unit.dispatch.test_claiming import advance

SERVER_S = 60.0
COMPANY = {"record_id": "7001", "field": "client.standing"}


def standing(story: Story, stage: str) -> Prepared:
    """Bring the deal to a stage; gives the write of its client's standing, prepared."""
    (write,) = story.see("hubspot", won_deal(stage=stage))
    assert write.action == "set_fields"
    return write


def lost(story: Story, write: Prepared) -> datetime:
    """Send it, and hear nothing; gives until when the tool may still do it."""
    assert claim(story, write).verdict == "go"
    receive(story, write, Retry("no answer"), epoch=write.epoch + 1, lands_s=SERVER_S)
    by: datetime = effect(story, write)["deadline"] + timedelta(seconds=SERVER_S)
    return by


def done(story: Story, write: Prepared, **more: Any) -> None:
    assert claim(story, write).verdict == "go"
    receive(story, write, Done(record_id="7001"), epoch=write.epoch + 1, **more)


def again(story: Story, write: Prepared) -> Prepared:
    story.clock.at += 2
    (prepared,) = [one for one in advance(story, write.effect) if one.effect == write.effect]
    return prepared


@pytest.fixture
def first(story: Story) -> Prepared:
    story.switch("client-standing-to-crm")
    return standing(story, "appointmentscheduled")


def test_another_value_waits_until_an_unanswered_one_can_come_about_no_more(story: Story, first: Prepared) -> None:
    by = lost(story, first)
    done(story, again(story, first))  # the same value may follow at once
    second = standing(story, "closedwon")

    assert claim(story, second).verdict == "gone"
    row = effect(story, second)
    assert (row["state"], row["reason"], row["not_before"], row["epoch"]) == ("ready", "unanswered", by, 0)

    story.clock.at += (by - story.clock.now()).total_seconds()
    assert claim(story, again(story, second)).verdict == "go"


def test_what_was_answered_keeps_nothing_waiting(story: Story, first: Prepared) -> None:
    done(story, first)

    assert claim(story, standing(story, "closedwon")).verdict == "go"


@pytest.mark.anyio
@pytest.mark.parametrize(("once", "waits"), [(Natural(), True), (KEY, False)])
async def test_a_claim_that_nobody_answered_for_may_still_come_about(story: Story, once: Any, waits: bool) -> None:
    receipts: list[Any] = []
    desk = Desk(story, once)
    receive_one = desk.lookup._receive

    async def noted(receipt: Any) -> None:
        receipts.append(receipt)
        await receive_one(receipt)

    desk.lookup._receive = noted  # type: ignore[method-assign]
    await desk.look(doubt(story))

    assert (receipts[0].lands_s is not None) is waits


def reply(status: int) -> Reply:
    return Reply(status=status, headers={}, body=b"")


@pytest.mark.parametrize(
    ("once", "answer", "may"),
    [
        (Natural(), Answer(Retry("no answer"), bytes_sent=True), True),
        (Natural(), Answer(Retry("status 502"), bytes_sent=True, reply=reply(502)), True),
        (Natural(), Answer(Unknown("status 500"), bytes_sent=True, reply=reply(500)), True),
        (Natural(), Answer(Retry("refused"), bytes_sent=False), False),
        (Natural(), Answer(Retry("locked"), bytes_sent=True, reply=reply(423)), False),
        (Natural(), Answer(Done(record_id="1"), bytes_sent=True, reply=reply(200)), False),
        (Natural(), Answer(None, bytes_sent=True), False),  # our credentials are refused
        (KEY, Answer(Unknown("no answer"), bytes_sent=True), False),  # it is looked up, and keeps its turn
    ],
)
def test_what_left_and_was_not_answered_by_the_tool_itself_may_still_come_about(once: Any, answer: Answer, may: bool) -> None:
    assert _may_land(SimpleNamespace(once=once), answer) is may  # type: ignore[arg-type]


def shown(story: Story, value: str | None) -> list[str]:
    """Let the CRM show the field; gives what is listed as changed by somebody."""
    deal = won_deal(stage="closedwon")
    company = replace(deal.related[0], version="5")
    company.data["properties"]["lifecyclestage"] = value
    story.see("hubspot", replace(deal, related=(company,)))
    return [row["about"] for row in story.rows(t.finding, kind="drift")]


@pytest.mark.parametrize("early", [True, False])
def test_an_earlier_value_of_ours_that_shows_late_is_nobodys_change(story: Story, first: Prepared, early: bool) -> None:
    done(story, first)
    second = standing(story, "closedwon")
    assert claim(story, second).verdict == "go"
    if not early:
        receive(story, second, Done(record_id="7001"), epoch=1)

    assert shown(story, "opportunity") == []
    assert story.rows(t.mirror, **COMPANY)[0]["sent"] == '"client"', "ours is still awaited"
    assert story.rows(t.link, record_id="7001")[0]["version"] is None, "and looked for by the next sweep"
    assert shown(story, "customer") == []
    assert story.rows(t.link, record_id="7001")[0]["version"] == "5"
    assert story.rows(t.mirror, **COMPANY)[0]["seen"] == '"client"'


def test_an_earlier_value_of_ours_that_stays_is_somebodys_change(story: Story, first: Prepared) -> None:
    done(story, first)
    done(story, standing(story, "closedwon"))
    story.clock.at += 61

    assert shown(story, "opportunity") == ['client.standing="contact"']
