"""Decide takes engagements that settle has just made from its hands: they are what would be read back."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from lifecyclehub.intake.observation import Observation
from lifecyclehub.intake.settle import Settle
from lifecyclehub.store import tables as t
from lifecyclehub.store.state import State, load_states
from tests.support.story import Story

_THERE = timezone(timedelta(hours=2))


def seen(story: Story, kind: str, record_id: str, fills: str, **values: Any) -> Observation:
    return Observation(
        connection="con_hubspot",
        kind=f"hubspot.{kind}",
        record_id=record_id,
        fills=fills,
        seen_at=story.clock.now(),
        url=f"https://crm.example/{kind}/{record_id}",
        values={f"{fills}.{name.replace('__', '.')}": value for name, value in values.items()},
        document={"id": record_id},
        opens_client=True,
    )


def deal(story: Story, record_id: str, *related: Observation, **values: Any) -> Observation:
    won = datetime(2026, 5, 4, 11, 30, 0, 123457, tzinfo=_THERE)
    facts = {"title": f"Deal {record_id}", "status": "won", "won_at": won, "value__amount": 1_250_000, "value__currency": "EUR"}
    facts |= {"starts_on": date(2026, 6, 1), "custom__hours": Decimal("12.50"), "custom__desks": Decimal(4), **values}
    return replace(seen(story, "deal", record_id, "deal", **facts), related=related)


def both_ways(story: Story, *observations: Observation) -> dict[str, State]:
    """Settle; gives the engagements that were touched, as handed over and as read back, which are the same to the last type."""
    with story.engine.begin() as conn:
        batch, _ = Settle(story.ids, story.clock)(conn, observations)
        met = batch.met()
        assert met.keys() <= batch.touched
        handed, read = load_states(conn, batch.touched, met=met), load_states(conn, batch.touched)
    for state in (*handed.values(), *read.values()):
        state.links = dict(sorted(state.links.items()))
    assert repr(handed) == repr(read)
    return read


def test_what_is_handed_over_is_what_would_be_read_back(story: Story) -> None:
    company = seen(story, "company", "c1", "client", name="Papaya Ltd", domain="papaya.example")
    person = seen(story, "contact", "p1", "contact", name="Ada", email="ada@papaya.example")
    first = deal(story, "9001", company, person)
    change = deal(story, "9002", company, purpose="change", engagement_ref="9001", value__amount=None, value__currency=None)
    renewal = deal(story, "9003", company, purpose="renewal", engagement_ref="9001", status="open", won_at=None)

    read = both_ways(story, first, change, renewal)

    assert [len(state.deals) for state in read.values()] == [2, 1]
    story.clock.at += 60

    later = deal(story, "9004", replace(company, seen_at=story.clock.now()))
    known = replace(first, seen_at=story.clock.now(), values={**first.values, "deal.title": "Another name"})
    read = both_ways(story, later, known)

    assert {state.deals[0]["title"] for state in read.values()} == {"Deal 9004", "Another name"}
    assert len({state.client["id"] for state in read.values() if state.client}) == 1


def test_an_invoice_that_came_before_its_deal_is_not_left_out(story: Story) -> None:
    company = seen(story, "company", "c1", "client", name="Papaya Ltd", domain="papaya.example")
    facts = {"number": "R-1", "status": "approved", "reference": "Deal 9001", "total__amount": 99, "total__currency": "EUR"}
    invoice = replace(seen(story, "invoice", "i1", "invoice", **facts), related=(company,))
    both_ways(story, invoice)
    assert [row["engagement"] for row in story.rows(t.invoice)] == [None]
    story.clock.at += 60

    read = both_ways(story, deal(story, "9001", replace(company, seen_at=story.clock.now())))

    assert [len(state.invoices) for state in read.values()] == [1]
