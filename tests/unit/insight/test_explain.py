"""Every value, effect, notice and record answers why; and where nothing was done, why not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lifecyclehub.errors import NotThere
from lifecyclehub.insight.explain import Explanation, explain
from lifecyclehub.messages import Document, Done, Refused
from lifecyclehub.store import tables
from tests.support.story import Story, won_deal

WON = "won-deal-starts-delivery"
STANDING = "client-standing-to-crm"


def why(story: Story, asked: str) -> Explanation:
    found: Explanation = story.ask(explain, story.rules, asked, story.clock.now())
    return found


def deal_of(story: Story) -> str:
    return str(story.rows(tables.deal)[0]["id"])


def verdict(story: Story, handoff: str, thing: str) -> tuple[str, str]:
    one = next(one for one in why(story, thing).handoffs if one.handoff == handoff)
    return one.verdict, one.reason


def withheld(story: Story) -> list[str]:
    return [row["about"] for row in story.rows(tables.finding, kind="withheld")]


def project(record_id: str, status: str, **facts: Any) -> Document:
    data = {"gid": record_id, "name": "Shop rebuild", "completed": status == "closed", **facts}
    return Document(kind="asana.project", id=record_id, data=data, url=f"https://app.asana.example/0/{record_id}")


# --- why a value --------------------------------------------------------------------------------------------------------


def test_a_value_names_the_notice_the_look_and_the_line_of_the_mapping(story: Story) -> None:
    notices = story.arrive("hubspot", ("hubspot.deal", "9001"))
    story.see("hubspot", won_deal(), notices)
    (value,) = why(story, f"{deal_of(story)}:deal.status").values
    assert (value.value, value.raw, value.expression, value.steps) == (
        "won",
        "closedwon",
        "properties.dealstage",
        ("lookup status",),
    )
    assert value.file is not None
    assert "hubspot/deal.toml" in value.file
    assert value.look is not None
    assert value.look.notice == notices[0]
    assert value.look.delivery == story.rows(tables.delivery)[0]["id"]
    assert value.look.way == "webhook"
    assert value.look.mapping_version == story.rules.mappings["hubspot"].version
    assert value.look.mapping_is_present


def test_a_value_is_explained_by_the_look_that_brought_it_not_by_the_last_one(story: Story) -> None:
    story.see("hubspot", won_deal(stage="contractsent"))
    first = story.arrive("hubspot", ("hubspot.deal", "9001"), body=b"2")
    story.see("hubspot", won_deal(), first)
    story.see("hubspot", won_deal(amount="13000.00"), story.arrive("hubspot", ("hubspot.deal", "9001"), body=b"3"))
    values = {one.path: one for one in why(story, deal_of(story)).values}
    assert values["deal.status"].look is not None
    assert values["deal.status"].look.notice == first[0]
    assert values["deal.value.amount"].value == 1_300_000
    assert values["deal.value.amount"].look is not None
    assert values["deal.value.amount"].look.notice == story.rows(tables.notice)[-1]["id"]


def test_a_record_that_came_along_names_the_notice_of_the_one_it_came_with(story: Story) -> None:
    notices = story.arrive("hubspot", ("hubspot.deal", "9001"))
    story.see("hubspot", won_deal(), notices)
    client = story.rows(tables.client)[0]["id"]
    (value,) = why(story, f"{client}:name").values
    assert value.value == "Orchard Tools"
    assert value.look is not None
    assert (value.look.kind, value.look.notice) == ("hubspot.company", notices[0])


def test_a_mapping_that_changed_since_is_said_so(story: Story) -> None:
    story.see("hubspot", won_deal())
    mappings = dict(story.rules.mappings)
    mappings["hubspot"] = replace(mappings["hubspot"], version="a newer one")
    story.rules = replace(story.rules, mappings=mappings)
    (value,) = why(story, f"{deal_of(story)}:deal.title").values
    assert value.look is not None
    assert not value.look.mapping_is_present
    assert "changed since" in value.because


def test_what_an_effect_of_ours_made_so_names_the_effect(story: Story) -> None:
    story.switch(WON)
    (prepared,) = story.see("hubspot", won_deal())
    story.answer(prepared, Done(record_id="5001"))
    (value,) = why(story, f"{story.rows(tables.project)[0]['id']}:project.title").values
    assert (value.value, value.effect) == ("Orchard Tools: Shop rebuild", prepared.effect)


def test_a_time_that_the_tool_does_not_tell_is_said_to_be_ours(story: Story) -> None:
    story.see("hubspot", won_deal())
    deal = deal_of(story)
    story.change(tables.deal, deal, won_at=story.clock.now())
    (value,) = why(story, f"{deal}:deal.won_at").values
    assert "the tool tells no time for it" in value.because


def test_standing_and_stage_name_the_rule_that_gave_them(story: Story) -> None:
    story.see("hubspot", won_deal())
    client, engagement = story.rows(tables.client)[0], story.rows(tables.engagement)[0]
    assert client["standing"] == "client"
    assert any("contains(engagements[*].stage, 'onboarding')" in line for line in why(story, client["id"]).lines)
    assert any("deal.status == 'won'" in line for line in why(story, engagement["id"]).lines)


# --- why an effect, and why not -----------------------------------------------------------------------------------------


def test_an_effect_names_its_handoff_condition_time_key_and_attempts(story: Story) -> None:
    story.switch(WON)
    (prepared,) = story.see("hubspot", won_deal())
    story.answer(prepared, Refused("the workspace is read-only"), status=403)
    said = why(story, prepared.effect)
    text = "\n".join(said.lines)
    for part in (WON, "deal.status == 'won'", "2026-03-01 10:00:00 UTC", f"/{deal_of(story)}/", "the workspace is read-only"):
        assert part in text
    assert "Correct what it complains about" in text
    assert said.effect is not None
    assert [one.outcome for one in said.effect.attempts] == ["Refused"]


def test_an_effect_that_waits_names_what_it_waits_for(story: Story) -> None:
    story.switch(WON)
    (prepared,) = story.see("hubspot", won_deal())
    note = story.rows(tables.effect, name="note")[0]["id"]
    assert any(prepared.effect in line and line.startswith("It waits for project") for line in why(story, note).lines)


@pytest.mark.parametrize("state", ["off", "shadow", "approval"])
def test_a_handoff_that_is_not_on_says_so(story: Story, state: str) -> None:
    story.switch(WON, state)
    story.see("hubspot", won_deal())
    assert verdict(story, WON, deal_of(story)) == (
        "off",
        f"deal.status == 'won' holds, but the handoff is {state}: it acts only when it is on.",
    )


def test_a_condition_that_is_false_says_so(story: Story) -> None:
    story.switch(WON)
    story.see("hubspot", won_deal(stage="contractsent"))
    assert verdict(story, WON, deal_of(story)) == ("condition", "deal.status == 'won' is false.")


def test_a_fact_before_go_live_says_so_and_is_found_withheld(story: Story) -> None:
    story.switch(WON, go_live=story.clock.now())
    story.see("hubspot", won_deal())
    found, reason = verdict(story, WON, deal_of(story))
    assert found == "before-go-live"
    assert "before the go-live 2026-03-02" in reason
    assert any(line.startswith(f"Withheld, {WON}: before-go-live") for line in why(story, deal_of(story)).lines)


def test_a_newer_fact_that_go_live_keeps_from_acting_is_listed_though_an_older_one_was_acted_on(story: Story) -> None:
    story.switch(STANDING)
    story.see("hubspot", won_deal())
    client = str(story.rows(tables.client)[0]["id"])
    assert [row["item"].partition("@")[0] for row in story.rows(tables.effect, handoff=STANDING)] == ["client"]
    story.clock.at += 60
    story.switch(STANDING, go_live=story.clock.now())
    story.see("hubspot", won_deal(amount="13000.00"))
    assert withheld(story) == [], "it was acted on"

    story.switch(STANDING, state="off")
    story.see("hubspot", won_deal(stage="closedlost"))
    assert story.rows(tables.client)[0]["standing"] == "lead"
    story.clock.at += 60
    story.switch(STANDING, go_live=story.clock.now())
    story.see("hubspot", won_deal(stage="closedlost", amount="14000.00"))

    assert len(story.rows(tables.effect, handoff=STANDING)) == 1
    assert withheld(story) == [f"{STANDING}: before-go-live"]
    assert any(line.startswith(f"Withheld, {STANDING}: before-go-live") for line in why(story, client).lines)


def test_a_fact_that_is_dated_anew_after_it_was_acted_on_is_not_withheld(story: Story) -> None:
    story.switch(WON)
    story.see("hubspot", won_deal())
    story.switch(WON, go_live=story.clock.now() + timedelta(days=1))
    later = won_deal()
    told = {"dealstage": [{"value": "closedwon", "timestamp": "2026-03-01T11:00:00Z"}]}
    story.see("hubspot", replace(later, data={**later.data, "propertiesWithHistory": told}))
    assert story.rows(tables.deal)[0]["won_at"].hour == 11
    assert withheld(story) == [], "nothing more would be done for it"


def test_a_fact_of_unknown_time_is_baseline(story: Story) -> None:
    story.switch(WON)
    told = won_deal()
    data = {name: value for name, value in told.data.items() if name != "propertiesWithHistory"}
    story.see("hubspot", replace(told, data=data))
    assert verdict(story, WON, deal_of(story))[0] == "baseline"


def test_an_effect_that_was_not_planned_says_which_condition_is_false(story: Story) -> None:
    story.switch(WON)
    story.see("hubspot", won_deal())
    (handoff,) = (one for one in why(story, deal_of(story)).handoffs if one.handoff == WON)
    (rename,) = (one for one in handoff.effects if one.name == "rename")
    assert (rename.id, rename.state) == (None, "not planned")
    assert rename.detail == "present(settings.project_template) is false."


def test_a_ticket_that_joined_nothing_says_what_it_waits_for(story: Story) -> None:
    ticket = {"id": "tic_1", "number": "12", "subject": "Log-in fails", "status": "open", "fields": {}}
    with story.engine.begin() as conn:
        conn.execute(tables.ticket.insert(), [ticket])
    assert any("joined no project yet" in line for line in why(story, "tic_1").lines)


# --- what came in, and records ------------------------------------------------------------------------------------------


def test_a_parked_notice_says_what_is_wrong_and_what_to_do(story: Story) -> None:
    (notice,) = story.arrive("hubspot", ("hubspot.deal", "9001"))
    story.change(tables.notice, notice, state="parked", reason="mapping", detail="deal.title is required.")
    text = " ".join(why(story, notice).lines)
    assert "is parked (mapping: deal.title is required). " in text
    assert "Mend the mapping or the record, then replay it." in text
    delivery = story.rows(tables.delivery)[0]["id"]
    assert any(notice in line for line in why(story, delivery).lines)


@pytest.mark.parametrize(
    "asked",
    [
        "https://app.hubspot.example/deal/9001",
        "https://app.hubspot.example/deal/9001/?from=mail",
        "hubspot/hubspot.deal/9001",
        "con_hubspot/hubspot.deal/9001",
    ],
)
def test_a_record_is_found_by_its_address_and_by_its_name(story: Story, asked: str) -> None:
    story.see("hubspot", won_deal())
    said = why(story, asked)
    assert (said.kind, said.id) == ("record", deal_of(story))
    assert said.lines[0] == f"hubspot.deal 9001 is our deal {deal_of(story)}."


def test_a_record_that_is_nobodys_says_so(story: Story) -> None:
    story.see("asana", project("5999", "open"))
    said = why(story, "asana/asana.project/5999")
    assert "belongs to nobody" in said.lines[0]
    assert any("carries no marker of ours" in line for line in said.lines)


@pytest.mark.parametrize(
    "asked",
    ["", "nonsense", "cli_none", "eng_none", "eff_none", "ntc_none", "dlv_none", "a/b", "none/a/b", "https://nowhere.example/1"],
)
def test_what_is_not_known_says_how_to_ask(story: Story, asked: str) -> None:
    with pytest.raises(NotThere) as told:
        why(story, asked)
    assert len(str(told.value)) > 20


def test_every_id_that_there_is_can_be_asked_about(story: Story) -> None:
    story.switch(WON)
    (prepared,) = story.see("hubspot", won_deal())
    story.answer(prepared, Done(record_id="5001"))
    asked = [tables.client, tables.engagement, tables.deal, tables.project, tables.effect, tables.notice, tables.delivery]
    for table in asked:
        for row in story.rows(table):
            assert why(story, row["id"]).lines, row["id"]


def test_later_looks_do_not_make_an_old_time_younger(story: Story) -> None:
    story.see("hubspot", won_deal())
    began = story.clock.now()
    story.clock.at += timedelta(days=1).total_seconds()
    story.see("hubspot", won_deal(), story.arrive("hubspot", ("hubspot.deal", "9001"), body=b"later"))
    (value,) = why(story, f"{deal_of(story)}:deal.title").values
    assert value.look is not None
    assert value.look.began_at == began


def test_values_are_written_as_people_write_them(story: Story) -> None:
    story.see("hubspot", won_deal())
    deal = story.rows(tables.deal)[0]["id"]
    whole: Explanation = story.ask(explain, story.rules, deal, story.clock.now())
    written = {one.path: one.text for one in whole.values}
    assert written["deal.value.amount"] == "12,000.00 EUR"
    assert written["deal.status"] == "won"
    (line,) = story.ask(explain, story.rules, f"{deal}:deal.won_at", story.clock.now()).lines
    assert line.startswith("deal.won_at is 2026-")
    assert "datetime" not in line
    (line,) = story.ask(explain, story.rules, f"{deal}:deal.custom.colour", story.clock.now()).lines
    assert line == "deal.custom.colour is empty: no linked record tells it."


def test_a_field_that_there_is_not_is_refused_with_the_nearest(story: Story) -> None:
    story.see("hubspot", won_deal())
    deal = story.rows(tables.deal)[0]["id"]
    with pytest.raises(NotThere, match=r"a deal has no field 'deal.statsu'. Did you mean status\?"):
        story.ask(explain, story.rules, f"{deal}:deal.statsu", story.clock.now())
