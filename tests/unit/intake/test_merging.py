"""Step 5, merged: what is one record in the CRM is one thing of ours, whichever news comes first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lifecyclehub.intake.fetch import gone
from lifecyclehub.intake.observation import Observation
from lifecyclehub.intake.settle import Settle
from lifecyclehub.messages import Document, Done
from lifecyclehub.store import tables as t
from tests.support.story import Story, won_deal

DELIVERY = "won-deal-starts-delivery"
MERGED_AT = "2026-03-05T12:00:00Z"


def company(record_id: str, name: str, domain: str, **more: Any) -> Document:
    """A company as HubSpot's connector gives it."""
    data = {"id": record_id, "properties": {"name": name, "domain": domain}}
    return Document(kind="hubspot.company", id=record_id, account="account-hubspot", data=data, **more)


def deal(record_id: str, stage: str, *of: Document, merged: tuple[str, ...] = (), at: str | None = None) -> Document:
    """A deal of a company, or one that took over from others."""
    one = won_deal(record_id, stage=stage)
    data = dict(one.data)
    if at is not None:
        data["propertiesWithHistory"] = {"dealstage": [{"value": stage, "timestamp": at}]}
    changed = datetime.fromisoformat(at) if at else one.changed_at
    return replace(one, data=data, related=of or one.related, merged=merged, changed_at=changed)


def moved(story: Story, kind: str, record_id: str, into: str) -> None:
    """Let a record turn out to have been merged into another one."""
    story.clock.at += 1
    seen: Observation = gone("con_hubspot", kind, record_id, story.clock.now(), (), into)
    with story.engine.begin() as conn:
        Settle(story.ids, story.clock)(conn, [seen])


@pytest.mark.parametrize("first", ["the survivor", "a merged one", "the other one"])
def test_the_deal_that_something_was_done_for_stays(story: Story, first: str) -> None:
    story.switch(DELIVERY)
    story.see("hubspot", deal("9001", "appointmentscheduled"))
    (project,) = [one for one in story.see("hubspot", deal("9002", "closedwon")) if one.action == "create_project"]
    story.answer(project, Done(record_id="500", url="https://app.asana.example/500"))
    effects = len(story.rows(t.effect))
    if first != "the survivor":
        moved(story, "hubspot.deal", "9001" if first == "a merged one" else "9002", "9003")
    story.see("hubspot", deal("9003", "closedwon", merged=("9001", "9002"), at=MERGED_AT))
    for old in ("9001", "9002"):
        moved(story, "hubspot.deal", old, "9003")
    (kept,) = story.rows(t.deal)
    (engagement,) = story.rows(t.engagement)
    assert len(story.rows(t.effect)) == effects
    assert story.rows(t.project)[0]["deal"] == kept["id"]
    assert {row["thing"] for row in story.rows(t.link, kind="hubspot.deal")} == {kept["id"]}
    assert {row["engagement"] for row in story.rows(t.effect)} == {engagement["id"]}
    assert [row["source_id"] for row in story.rows(t.charge)] == [kept["id"]]


def test_a_merge_is_no_news_of_a_deal_that_was_won_long_ago(story: Story) -> None:
    story.see("hubspot", deal("9001", "appointmentscheduled"))
    story.see("hubspot", deal("9002", "closedwon"))
    before = {row["status"]: row for row in story.rows(t.deal)}["won"]["won_at"]
    story.switch(DELIVERY, go_live=before + timedelta(days=1))
    assert story.see("hubspot", deal("9003", "closedwon", merged=("9001", "9002"), at=MERGED_AT)) == []
    (kept,) = story.rows(t.deal)
    assert (kept["status"], kept["won_at"]) == ("won", before)
    assert story.rows(t.effect) == []


def test_a_record_that_waited_for_what_a_merge_cancels_is_looked_at_again(story: Story) -> None:
    story.switch(DELIVERY)
    story.see("hubspot", deal("9001", "closedwon"))
    (other,) = [one for one in story.see("hubspot", deal("9002", "closedwon")) if one.action == "create_project"]
    story.change(t.effect, other.effect, state="held", reason="connection")
    (notice,) = story.arrive("asana", ("asana.project", "501"))
    story.change(t.notice, notice, state="held", reason=f"waiting({other.effect})")

    story.see("hubspot", deal("9003", "closedwon", merged=("9001", "9002"), at=MERGED_AT))

    assert [row["reason"] for row in story.rows(t.effect, id=other.effect)] == ["merged"]
    assert [row["state"] for row in story.rows(t.notice, id=notice)] == ["open"]


def test_what_the_other_deal_was_to_bring_is_not_billed(story: Story) -> None:
    story.switch(DELIVERY)
    for record, project in (("9001", "500"), ("9002", "501")):
        (begun,) = [one for one in story.see("hubspot", deal(record, "closedwon")) if one.action == "create_project"]
        story.answer(begun, Done(record_id=project, url=f"https://app.asana.example/{project}"))
    closed = {"gid": "501", "name": "Shop rebuild", "completed": True, "completed_at": MERGED_AT, "created_at": MERGED_AT}
    story.see("asana", Document(kind="asana.project", id="501", account="account-asana", data=closed))
    assert [row["due_at"] is None for row in story.rows(t.charge)] == [True, False]
    story.see("hubspot", deal("9003", "closedwon", merged=("9001", "9002"), at=MERGED_AT))
    (kept,) = story.rows(t.deal)
    assert [(row["source_id"] == kept["id"], row["due_at"]) for row in story.rows(t.charge)] == [(True, None), (False, None)]


def test_merged_companies_are_one_client_with_all_that_was_theirs(story: Story) -> None:
    one, other = company("7001", "Orchard Tools", "orchard.example"), company("7002", "Orchard Holding", "holding.example")
    story.see("hubspot", deal("9001", "appointmentscheduled", one))
    story.see("hubspot", deal("9002", "appointmentscheduled", other))
    assert len(story.rows(t.client)) == 2
    story.see("hubspot", company("7003", "Orchard Group", "orchard.example", merged=("7001", "7002")))
    (client,) = story.rows(t.client)
    assert client["name"] == "Orchard Group"
    assert {row["client"] for row in story.rows(t.engagement)} == {client["id"]}
    assert {(row["value"], row["client"]) for row in story.rows(t.identity_key)} == {
        ("orchard.example", client["id"]),
        ("holding.example", client["id"]),
    }
    assert {row["merged_into"] for row in story.rows(t.link, kind="hubspot.company")} == {None, "7003"}


def test_what_another_tool_merges_stays_two_clients_and_is_shown(story: Story) -> None:
    one, other = company("7001", "Orchard Tools", "orchard.example"), company("7002", "Other Ltd", "other.example")
    story.see("hubspot", deal("9001", "appointmentscheduled", one))
    story.see("hubspot", deal("9002", "appointmentscheduled", other))
    for record, domain in (("c-1", "orchard.example"), ("c-2", "other.example")):
        data = {"ContactID": record, "Name": record, "EmailAddress": f"ada@{domain}"}
        story.see("xero", Document(kind="xero.contact", id=record, account="account-xero", data=data))
    story.clock.at += 1
    seen = gone("con_xero", "xero.contact", "c-2", story.clock.now(), (), "c-1")
    with story.engine.begin() as conn:
        Settle(story.ids, story.clock)(conn, [seen])
    assert len(story.rows(t.client)) == 2
    (finding,) = story.rows(t.finding, kind="double")
    assert "c-1" in finding["subject"]


def test_a_record_that_is_itself_again_is_not_merged_any_more(story: Story) -> None:
    story.see("hubspot", deal("9001", "appointmentscheduled"))
    moved(story, "hubspot.deal", "9001", "9003")
    assert story.rows(t.link, record_id="9001")[0]["merged_into"] == "9003"
    story.see("hubspot", deal("9001", "appointmentscheduled"))
    assert story.rows(t.link, record_id="9001")[0]["merged_into"] is None


def test_a_merge_that_is_undone_in_the_tool_is_told_because_nothing_is_taken_apart(story: Story) -> None:
    story.see("hubspot", deal("9001", "appointmentscheduled"))
    story.see("hubspot", deal("9002", "closedwon"))
    moved(story, "hubspot.deal", "9001", "9002")
    story.clock.at += 1
    assert story.rows(t.finding, kind="double") == []
    for _ in range(2):
        story.see("hubspot", deal("9001", "appointmentscheduled"))
    (kept,) = story.rows(t.deal)
    (told,) = story.rows(t.finding, kind="double")
    assert told["subject"] == "con_hubspot/9001"
    assert "merged into 9002 and stands for itself again" in told["detail"]
    assert kept["id"] in told["detail"]
