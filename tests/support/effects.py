"""One effect in a story: taken, answered, looked at."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.prepared import Claim, Claimed, Prepared, Receipt
from lifecyclehub.dispatch.receipt import WriteReceipts
from lifecyclehub.dispatch.upkeep import Advance
from lifecyclehub.intake.decide import Decide
from lifecyclehub.messages import Done
from lifecyclehub.store import tables as t
from tests.support.reach import Middle
from tests.support.story import Story, won_deal

DONE = Done(record_id="555", url="https://asana.example/555")
OTHER = Done(record_id="556", url="https://asana.example/556")


def ready_project(story: Story) -> Prepared:
    """Win a deal; gives its project, prepared."""
    story.switch("won-deal-starts-delivery")
    (ready,) = story.see("hubspot", won_deal())
    return ready


def two_customers(story: Story) -> list[Prepared]:
    """Close two projects of one new client; gives the customer that each would enter, prepared."""
    story.switch("won-deal-starts-delivery")
    story.switch("closed-project-drafts-invoice")
    for deal in ("9001", "9002"):
        (project,) = story.see("hubspot", won_deal(deal))
        story.answer(project, Done(record_id=f"project of {deal}"))
    both = tuple(row["id"] for row in story.rows(t.engagement))
    with story.engine.begin() as conn:
        conn.execute(update(t.project).values(status="closed", closed_at=story.clock.now()))
        (ready,) = Decide(story.rules, story.ids, story.clock)(conn, [(both, ())])
    return [one for one in ready if one.action == "create_customer"]


def claim(story: Story, prepared: Prepared, holder: str = "hub") -> Claimed:
    """Take an effect."""
    one = Claim(prepared=prepared, request=request_of(story, prepared), holder=holder, sending_s=30)
    with story.engine.begin() as conn:
        return TakeClaims(story.ids, story.clock)(conn, [one])[0]


def receive(story: Story, prepared: Prepared, outcome: Any, *, epoch: int = 1, **more: Any) -> list[str]:
    """Write what came of it; gives what is woken."""
    facts: dict[str, Any] = {"what": "sent", "revision": 1, "began_at": story.clock.now(), "bytes_sent": True, **more}
    receipt = Receipt(effect=prepared.effect, epoch=epoch, outcome=outcome, **facts)
    with story.engine.begin() as conn:
        return WriteReceipts(story.rules, story.ids, story.clock, Middle())(conn, [receipt])[0].woken


def effect(story: Story, prepared: Prepared) -> dict[str, Any]:
    """Give its row."""
    (row,) = story.rows(t.effect, id=prepared.effect)
    return row


def put(story: Story, prepared: Prepared, **values: Any) -> None:
    """Put it where a test wants it."""
    with story.engine.begin() as conn:
        conn.execute(update(t.effect).where(t.effect.c.id == prepared.effect).values(**values))


def in_flight(story: Story, **values: Any) -> Prepared:
    """Win a deal, take its project, and put it where a test wants it."""
    prepared = ready_project(story)
    assert claim(story, prepared).verdict == "go"
    if values:
        put(story, prepared, **values)
    return prepared


def advance(story: Story, *effects: str) -> list[Prepared]:
    """Check waiting effects again; gives those that may be sent."""
    with story.engine.begin() as conn:
        return [one for found in Advance(story.rules, story.ids, story.clock)(conn, effects) for one in found]


def decide_again(story: Story) -> None:
    """Decide on every engagement."""
    engagements = [row["id"] for row in story.rows(t.engagement)]
    with story.engine.begin() as conn:
        Decide(story.rules, story.ids, story.clock)(conn, [(engagements, [])])


def claims(story: Story, *prepared: Prepared) -> list[str]:
    """Ask for several in one batch; gives the verdicts."""
    asked = [Claim(prepared=one, request=request_of(story, one), holder="hub", sending_s=30) for one in prepared]
    with story.engine.begin() as conn:
        return [one.verdict for one in TakeClaims(story.ids, story.clock)(conn, asked)]


def request_of(story: Story, prepared: Prepared) -> Any:
    """Give what would be sent."""
    action = story.rules.action(prepared.connector, prepared.action)
    assert action is not None
    return prepared.frozen or action.render(action.input.model_validate(prepared.input), prepared.body, prepared.key)
