"""The handoffs, tables and lifecycle that ship do what their comments say."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.billing import Charge, Subject, due_charges
from lifecyclehub.connector.roles import ROLES
from lifecyclehub.errors import MappingError
from lifecyclehub.handoffs import Derived, Due, HandoffSet, load_handoffs, nested, read_lifecycle
from lifecyclehub.mapping import Undecided
from lifecyclehub.model import Money

MAPPINGS = Path(__file__).parents[3] / "mappings"
INPUTS = {f"{role.id}.{name}": model for role in ROLES.values() for name, model in role.actions.items()}
AT = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
DEAL = {
    "deal.title": "Site",
    "deal.status": "won",
    "deal.won_at": AT,
    "deal.owner.email": "ada@studio.example",
    "client.name": "Acme",
    "client.terms": 14,
    "client.standing": "client",
}


@pytest.fixture(scope="module")
def shipped() -> HandoffSet:
    tables = {file.stem: file.read_text(encoding="utf-8") for file in (MAPPINGS / "tables").glob("*.toml")}
    texts = [(MAPPINGS / name).read_text(encoding="utf-8") for name in ("handoffs.toml", "lifecycle.toml")]
    return load_handoffs(texts[0], tables, texts[1], INPUTS)


def context(shipped: HandoffSet, **more: Any) -> dict[str, Any]:
    built = nested(DEAL)
    built["deal"].update(id="deal_1", url="https://crm.example/77")
    built["client"].update(id="cli_1", standing_since=AT)
    project = {"id": "prj_1", "title": "Site", "status": "closed", "closed_at": AT, "url": "https://project.example/9"}
    ticket = {"id": "tic_1", "number": "35", "subject": "Broken", "created_at": AT, "url": "https://desk.example/35"}
    links = {"deal": "77", "project": "9", "ticket": "35", "client": "c-1"}
    return {
        **built,
        "project": project,
        "ticket": ticket,
        "links": links,
        "settings": {},
        "charges": [],
        "tables": shipped.tables,
        "today": date(2026, 2, 1),
        "zone": "Europe/Berlin",
        **more,
    }


def inputs(shipped: HandoffSet, handoff_id: str, ctx: dict[str, Any], made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    handoff = shipped.handoff(handoff_id)
    assert handoff
    assert isinstance(handoff.due(ctx, AT), Due)
    built = {}
    for one in handoff.plan(ctx):
        effect = handoff.effect(one.name)
        assert effect
        assert not one.undecided
        built[f"{one.name}/{one.item}"] = effect.build({**ctx, "made": made, "item": one.row}).model_dump()
    return built


def test_a_won_deal_starts_delivery(shipped: HandoffSet) -> None:
    made = {"project": {"record": "9", "url": "https://project.example/9"}}
    built = inputs(shipped, "won-deal-starts-delivery", context(shipped), made)
    assert list(built) == ["project/", "checklist/welcome", "checklist/kickoff", "checklist/access", "checklist/plan", "note/"]
    assert built["project/"]["name"] == "Acme: Site"
    assert built["project/"]["notes"].splitlines()[0] == "Deal: https://crm.example/77"
    assert "Won on: 2026-02-01" in built["project/"]["notes"]
    assert built["checklist/kickoff"]["due_on"] == date(2026, 2, 6)
    assert built["checklist/kickoff"]["owner"] == {"email": "ada@studio.example", "record": None}
    assert "https://project.example/9" in built["note/"]["text"]


def test_a_project_from_a_template_gets_its_final_name(shipped: HandoffSet) -> None:
    ctx = context(shipped, settings={"project_template": "t-1"})
    made = {"project": {"record": "9", "url": None}}
    built = inputs(shipped, "won-deal-starts-delivery", ctx, made)
    assert built["project/"]["template"] == "t-1"
    assert built["rename/"] == {"project": "9", "name": "Acme: Site"}


def charges() -> list[dict[str, Any]]:
    scope = Charge(id="chg_1", engagement="eng_1", project="prj_1", description="Site", amount=Money(125_000, "EUR"))
    return due_charges([scope], [], [], Subject("eng_1", "prj_1")).as_rows()


def test_a_closed_project_drafts_its_invoice(shipped: HandoffSet) -> None:
    ctx = context(shipped, charges=charges())
    built = inputs(shipped, "closed-project-drafts-invoice", ctx, {"invoice": {"record": "i", "url": "https://bill.example/i"}})
    assert list(built) == ["invoice/", "note/"]
    draft = built["invoice/"]
    assert (draft["customer"], draft["currency"], draft["due_on"], draft["reference"]) == (
        "c-1",
        "EUR",
        date(2026, 2, 15),
        "Site",
    )
    assert draft["lines"][0]["amount"] == {"minor": 125_000, "currency": "EUR", "decimal": Decimal("1250.00")}
    assert "https://bill.example/i" in built["note/"]["text"]


def test_an_unknown_customer_is_entered_first(shipped: HandoffSet) -> None:
    ctx = context(shipped, charges=charges(), links={"deal": "77", "client": None})
    made = {"invoice": {"url": "u"}, "customer": {"record": "c-9"}}
    built = inputs(shipped, "closed-project-drafts-invoice", ctx, made)
    assert list(built) == ["customer/", "invoice/", "note/"]
    assert built["invoice/"]["customer"] == "c-9"


def test_a_closed_project_with_nothing_due_plans_nothing(shipped: HandoffSet) -> None:
    assert inputs(shipped, "closed-project-drafts-invoice", context(shipped), {}) == {}


def test_a_ticket_joins_its_project_without_its_text(shipped: HandoffSet) -> None:
    built = inputs(shipped, "ticket-joins-project", context(shipped), {"thread": {"record": "t-1", "url": None}})
    assert built["comment/"] == {"project": "9", "task": "t-1", "text": "Ticket 35: Broken\nhttps://desk.example/35"}
    assert "https://project.example/9" in built["answer/"]["text"]


def test_all_tickets_of_a_project_share_one_thread(shipped: HandoffSet) -> None:
    handoff = shipped.handoff("ticket-joins-project")
    assert handoff
    first = context(shipped)
    second = {**first, "ticket": {**first["ticket"], "id": "tic_2"}}
    keys = [{one.name: one.key() for one in handoff.plan(ctx)} for ctx in (first, second)]
    assert keys[0]["thread"] == keys[1]["thread"] == "ticket-joins-project/thread/project/prj_1//1"
    assert keys[0]["comment"] != keys[1]["comment"]


def test_a_standing_is_written_back_once_for_each_change(shipped: HandoffSet) -> None:
    built = inputs(shipped, "client-standing-to-crm", context(shipped), {})
    assert list(built) == ["standing/client@2026-01-31T23:30:00Z"]
    assert built.popitem()[1] == {"record": "c-1", "values": {"client.standing": "client"}}


def facts(**more: Any) -> dict[str, Any]:
    return {"deal": None, "engagement": {}, "projects": [], "tickets": [], "invoices": [], "charges": [], **more}


@pytest.mark.parametrize(
    ("more", "stage"),
    [
        ({}, "intake"),
        ({"deal": {"status": "open"}}, "intake"),
        ({"deal": {"status": "open", "value": {"amount": 5}}}, "proposal"),
        ({"deal": {"status": "won"}}, "onboarding"),
        ({"deal": {"status": "lost"}}, "lost"),
        ({"deal": {"status": "won"}, "projects": [{"status": "open"}]}, "delivery"),
        ({"deal": {"status": "lost"}, "projects": [{"status": "open"}]}, "delivery"),
        ({"projects": [{"status": "closed"}, {"status": "open"}]}, "delivery"),
        ({"projects": [{"status": "closed"}], "charges": [{"due": True, "billed": False}]}, "billing"),
        ({"projects": [{"status": "closed"}], "charges": [{"due": True, "billed": True}]}, "finished"),
        ({"projects": [{"status": "closed"}], "invoices": [{"status": "draft"}]}, "billing"),
        ({"projects": [{"status": "closed"}], "invoices": [{"status": "approved"}, {"status": "paid"}]}, "billing"),
        ({"projects": [{"status": "closed"}], "invoices": [{"status": "paid"}, {"status": "void"}]}, "finished"),
    ],
)
def test_a_stage_is_derived_from_facts(shipped: HandoffSet, more: dict[str, Any], stage: str) -> None:
    derived = shipped.lifecycle.stage(facts(**more))
    assert isinstance(derived, Derived), derived
    assert derived.value == stage


@pytest.mark.parametrize(
    ("stages", "standing"),
    [
        ([], "lead"),
        (["intake"], "lead"),
        (["proposal"], "contact"),
        (["onboarding"], "client"),
        (["finished", "billing"], "client"),
        (["finished", "lost"], "former"),
        (["finished", "intake"], "lead"),
        (["lost"], "lead"),
    ],
)
def test_a_standing_is_derived_from_engagements(shipped: HandoffSet, stages: list[str], standing: str) -> None:
    derived = shipped.lifecycle.standing({"client": {}, "engagements": [{"stage": stage} for stage in stages]})
    assert isinstance(derived, Derived), derived
    assert derived.value == standing


LAST = '[[stage]]\nis = "intake"\n[[standing]]\nis = "lead"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[stage]]\nis = "begun"\n' + LAST, "is = 'begun'"),
        ('[[stage]]\nis = "lost"\n' + LAST, "has no when"),
        ('[[stage]]\nis = "lost"\nwhen = "true"\n[[standing]]\nis = "lead"\n', "is the last one and has a when"),
        ('[[stage]]\nis = "lost"\nwhen = "deal.status == lost"\n' + LAST, "quote it: 'lost'"),
        ("", "has no rules for stage"),
    ],
)
def test_a_wrong_lifecycle_is_refused(text: str, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        read_lifecycle("format = 1\n" + text)
    assert said in str(caught.value)
    assert str(caught.value).startswith("mappings/lifecycle.toml")


def test_a_rule_that_cannot_be_answered_stops_there() -> None:
    rules = read_lifecycle('format = 1\n[[stage]]\nis = "lost"\nwhen = "deal.status == \'lost\'"\n' + LAST)
    assert isinstance(rules.stage(facts()), Undecided)
