"""One screen tells how things are, and what is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lifecyclehub.insight.check import Problem, check
from lifecyclehub.insight.status import Status, read_status
from lifecyclehub.messages import Done, Refused
from lifecyclehub.store import tables
from tests.support.story import Story, won_deal

WON = "won-deal-starts-delivery"


def status(story: Story, **more: Any) -> Status:
    handoffs = story.rules.handoffs.handoffs
    found: Status = story.ask(
        read_status, **{"abouts": story.rules.abouts, "handoffs": handoffs, "now": story.clock.now(), **more}
    )
    return found


def problems(story: Story, where: str, **more: Any) -> list[Problem]:
    return [one for one in check(status(story, **more)) if one.where == where]


def refusal(story: Story, reason: str, number: int = 1) -> None:
    row = {
        "id": f"ref_{number}",
        "endpoint": "end_hubspot",
        "at": story.clock.now(),
        "reason": reason,
        "detail": "the signature does not match",
        "size": 2,
        "body_hash": "0" * 64,
        "header_names": ["content-type", "x-hubspot-signature-v3"],
        "url": "https://wrong.example/hooks/end_hubspot",
    }
    with story.engine.begin() as conn:
        conn.execute(tables.refusal.insert(), [row])


def test_a_healthy_installation_has_nothing_wrong(story: Story) -> None:
    story.see("hubspot", won_deal())
    for name in ("asana", "zendesk", "xero"):
        story.arrive(name)
    assert check(status(story)) == ()


def test_effects_are_counted_by_state_and_reason(story: Story) -> None:
    story.switch(WON)
    (prepared,) = story.see("hubspot", won_deal())
    story.answer(prepared, Refused("the workspace is read-only"))
    now = status(story)
    assert {(one.state, one.reason): one.count for one in now.effects} == {("held", "needs"): 5, ("parked", "refused"): 1}
    assert now.count("effects", "held", "parked") == 6
    assert [(one.id, one.what) for one in now.parked] == [(prepared.effect, "effect")]


def test_what_is_parked_is_wrong_and_named(story: Story) -> None:
    story.switch(WON)
    (prepared,) = story.see("hubspot", won_deal())
    story.answer(prepared, Refused("the workspace is read-only"))
    (one,) = problems(story, "effects")
    assert one.severity == "wrong"
    assert "the workspace is read-only" in one.what
    assert prepared.effect in one.mend


@pytest.mark.parametrize("table", ["notice", "delivery"])
def test_parked_notices_and_deliveries_are_wrong_too(story: Story, table: str) -> None:
    story.arrive("hubspot", ("hubspot.deal", "9001"))
    there = getattr(tables, table)
    story.change(there, story.rows(there)[0]["id"], state="parked", reason="mapping")
    (one,) = problems(story, {"notice": "notices", "delivery": "deliveries"}[table])
    assert "1 wait for a person" in one.what


def test_a_handoff_tells_what_it_left_alone_and_why(story: Story) -> None:
    story.switch(WON, go_live=story.clock.now())
    for number in range(3):
        story.see("hubspot", won_deal(str(9000 + number)))
    found = next(one for one in status(story).handoffs if one.id == WON)
    assert [(one.code, one.count) for one in found.withheld] == [("before-go-live", 3)]
    (one,) = problems(story, f"handoff {WON}")
    assert (one.severity, "3 before-go-live" in one.what) == ("look", True)


def test_a_handoff_without_anybody_to_do_it_is_wrong(story: Story) -> None:
    story.switch(WON)
    story.change(tables.connection, "con_asana", roles=[])
    (one,) = problems(story, f"handoff {WON}")
    assert one.what == "no connection plays project."


def test_a_handoff_that_is_on_but_not_in_the_file_is_wrong(story: Story) -> None:
    story.switch("forgotten-rule")
    (one,) = problems(story, "handoff forgotten-rule")
    assert "not in handoffs.toml any more" in one.what


def test_a_paused_connection_is_wrong_and_says_why(story: Story) -> None:
    story.change(tables.connection, "con_xero", state="paused", reason="the refresh token was revoked")
    assert any("the refresh token was revoked" in one.what for one in problems(story, "connection xero"))
    xero = next(one for one in status(story).connections if one.name == "xero")
    assert xero.next_sweep is None


def test_a_connection_says_when_it_was_heard_and_is_swept_next(story: Story) -> None:
    story.arrive("hubspot")
    heard = story.clock.now()
    swept = {"connection": "con_hubspot", "kind": "hubspot.deal", "swept_at": heard}
    with story.engine.begin() as conn:
        conn.execute(tables.cursor.insert(), [swept])
    story.clock.at += 60
    hubspot = next(one for one in status(story).connections if one.name == "hubspot")
    assert (hubspot.last_heard, hubspot.last_sweep) == (heard, heard)
    assert hubspot.next_sweep == heard + timedelta(minutes=15)
    story.change(tables.connection, "con_hubspot", polls=True, settings={"poll_s": "60"})
    assert next(one for one in status(story).connections if one.name == "hubspot").next_sweep == heard + timedelta(seconds=60)


def test_a_connection_that_was_never_heard_is_worth_a_look(story: Story) -> None:
    assert [one.severity for one in problems(story, "connection asana")] == ["look"]
    story.arrive("asana")
    assert problems(story, "connection asana") == []


def test_hearing_often_writes_the_time_once_a_minute(story: Story) -> None:
    story.arrive("hubspot")
    first = story.clock.now()
    story.clock.at += 59
    story.arrive("hubspot")
    assert story.rows(tables.endpoint, id="end_hubspot")[0]["last_heard"] == first
    story.clock.at += 2
    story.arrive("hubspot")
    assert story.rows(tables.endpoint, id="end_hubspot")[0]["last_heard"] == story.clock.now()


def test_a_refused_request_shows_the_address_it_was_verified_against(story: Story) -> None:
    refusal(story, "bad-signature")
    hubspot = next(one for one in status(story).endpoints if one.id == "end_hubspot")
    (one,) = hubspot.refusals
    assert (one.reason, one.url) == ("bad-signature", "https://wrong.example/hooks/end_hubspot")
    assert one.header_names == ("content-type", "x-hubspot-signature-v3")
    (found,) = problems(story, "endpoint end_hubspot (hubspot)")
    assert (found.severity, "letter by letter" in found.mend) == ("wrong", True)


def test_a_refusal_before_something_good_came_is_only_worth_a_look(story: Story) -> None:
    refusal(story, "bad-signature")
    story.clock.at += 1
    story.arrive("hubspot")
    assert [one.severity for one in problems(story, "endpoint end_hubspot (hubspot)")] == ["look"]
    story.clock.at += timedelta(days=2).total_seconds()
    assert problems(story, "endpoint end_hubspot (hubspot)") == []


@pytest.mark.parametrize(
    ("columns", "severity"),
    [({"state": "ended", "reason": "gone at the vendor"}, "wrong"), ({"expires_at": timedelta(days=1)}, "look"), ({}, None)],
)
def test_a_hook_that_ends_is_told_before_it_does(story: Story, columns: dict[str, Any], severity: str | None) -> None:
    story.arrive("hubspot")
    values = {name: story.clock.now() + value if isinstance(value, timedelta) else value for name, value in columns.items()}
    row = {"id": "sub_1", "connection": "con_hubspot", "endpoint": "end_hubspot", "vendor_id": "77", **values}
    with story.engine.begin() as conn:
        conn.execute(tables.subscription.insert(), [row])
    found = problems(story, "connection hubspot")
    assert [one.severity for one in found] == ([severity] if severity else [])


def test_connectors_that_hang_or_were_refused_are_wrong(story: Story) -> None:
    told = {"hanging": {"asana"}, "refused": [("papaya", "its import failed.", "Upgrade it.")]}
    assert [one.mend for one in problems(story, "connector papaya", **told)] == ["Upgrade it."]
    assert "Start the hub again" in problems(story, "connector asana", **told)[0].mend


def test_doubles_are_wrong_and_drifts_worth_a_look(story: Story) -> None:
    story.switch(WON)
    (prepared,) = story.see("hubspot", won_deal())
    story.answer(prepared, Done(record_id="5001"))
    for kind in ("double", "drift"):
        row = {"id": f"fin_{kind}", "kind": kind, "subject_kind": "effect", "subject": prepared.effect, "about": kind}
        with story.engine.begin() as conn:
            conn.execute(tables.finding.insert(), [{**row, "detail": "a second one", "facts": {}, "at": story.clock.now()}])
    assert sorted(one.severity for one in problems(story, f"effect {prepared.effect}")) == ["look", "wrong"]


def test_a_home_that_may_not_send_is_wrong(story: Story) -> None:
    story.change(tables.installation, story.made.installation, outbound_allowed=False)
    assert check(status(story))[0].where == "installation"


def test_what_is_wrong_comes_first(story: Story) -> None:
    story.change(tables.connection, "con_xero", state="paused", reason="revoked")
    severities = [one.severity for one in check(status(story))]
    assert severities == sorted(severities, key=["wrong", "look"].index)
    assert {"wrong", "look"} <= set(severities)
