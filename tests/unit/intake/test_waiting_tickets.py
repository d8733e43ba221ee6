"""A ticket that names its project before that is known joins it once it is linked, whoever wrote it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.intake.decide import Decide
from lifecyclehub.messages import Document, Done
from lifecyclehub.store import tables as t
from tests.support.story import Story, won_deal

URL = "https://asana.example/555"


def ticket(story: Story, ref: str | None, email: str) -> Document:
    person = {"id": 31, "name": "Eve", "email": email, "role": "end-user"}
    return Document(
        kind="zendesk.ticket",
        id="42",
        changed_at=story.clock.now(),
        data={"id": 42, "subject": "Login broken", "status": "open", "requester": person, "project_ref": ref},
        related=(Document(kind="zendesk.user", id="31", changed_at=story.clock.now(), data=person),),
    )


def other_client(story: Story) -> None:
    deal = won_deal("9002", stage="appointmentscheduled")
    named = {"id": "7002", "properties": {"name": "Elsewhere", "domain": "elsewhere.example"}}
    story.see("hubspot", replace(deal, related=(replace(deal.related[0], id="7002", data=named),)))


@pytest.mark.parametrize("ref", ["555", URL])
@pytest.mark.parametrize("known", [False, True])
def test_a_ticket_joins_the_project_that_it_names_when_that_is_linked_whoever_wrote_it(
    story: Story, ref: str, known: bool
) -> None:
    story.switch("won-deal-starts-delivery")
    (ready,) = story.see("hubspot", won_deal())
    if known:
        other_client(story)
    story.see("zendesk", ticket(story, ref, "eve@elsewhere.example"))
    (waiting,) = story.rows(t.ticket)
    assert (waiting["client"] is not None, waiting["project"]) == (known, None)

    linked(story, ready)

    (project,) = story.rows(t.project)
    (joined,) = story.rows(t.ticket)
    assert (joined["project"], joined["engagement"]) == (project["id"], project["engagement"])


@pytest.mark.parametrize("ref", [None, "556"])
def test_a_ticket_of_somebody_unknown_that_names_no_such_project_goes_on_waiting(story: Story, ref: str | None) -> None:
    story.switch("won-deal-starts-delivery")
    (ready,) = story.see("hubspot", won_deal())
    story.see("zendesk", ticket(story, ref, "eve@elsewhere.example"))

    linked(story, ready)

    assert [row["project"] for row in story.rows(t.ticket)] == [None]


def linked(story: Story, ready: Prepared) -> None:
    """Let the project tool answer that the project is made, and decide, as a receipt asks for."""
    story.answer(ready, Done(record_id="555", url=URL))
    engagements = [row["engagement"] for row in story.rows(t.deal, status="won")]
    with story.engine.begin() as conn:
        Decide(story.rules, story.ids, story.clock)(conn, [(engagements, [])])
