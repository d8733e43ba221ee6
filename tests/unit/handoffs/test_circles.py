"""Handoffs that would call for each other without end are refused when they are saved, and the circle is named."""

from __future__ import annotations

import pytest

from lifecyclehub.configuration import action_inputs, shipped
from lifecyclehub.errors import MappingError
from lifecyclehub.handoffs import HandoffSet, load_handoffs

LIFECYCLE = shipped().joinpath("lifecycle.toml").read_text("utf-8")
RECORD = 'record = { from = "links.deal", required = true }'


def handoff(name: str, when: str, effect: str, per: str = "deal", at: str = "deal.won_at") -> str:
    return f"""
[[handoff]]
id = "{name}"
per = "{per}"
when = "{when}"
at = "{at}"
  [[handoff.effects]]
  name = "act"
  {effect}
"""


def sets(field: str, value: str, more: str = "") -> str:
    text = f"'{value}'" if value.isalpha() else value
    values = f'values = {{ from = "{{\\"{field}\\": {text}}}", required = true }}'
    return f'do = "crm.set_fields"\n  {more}\n    [handoff.effects.with]\n    {RECORD}\n    {values}\n'


def creates_project(more: str = "") -> str:
    name = 'name = { from = "project.title || deal.title" }'
    return f'do = "project.create_project"\n  {more}\n    [handoff.effects.with]\n    {name}\n'


def load(*handoffs: str) -> HandoffSet:
    return load_handoffs("format = 1\n" + "".join(handoffs), {}, LIFECYCLE, action_inputs())


CIRCLES = {
    "one that sets itself off": (
        [handoff("again", "present(deal.scope)", sets("deal.scope", "x"))],
        "again → again",
        'again (effect "act") writes deal.scope, which again reads',
    ),
    "two that correct each other": (
        [
            handoff("to-b", "deal.custom.a == 'x'", sets("deal.custom.b", "y")),
            handoff("to-a", "deal.custom.b == 'y'", sets("deal.custom.a", "x")),
        ],
        "to-b → to-a → to-b",
        'to-a (effect "act") writes deal.custom.a, which to-b reads',
    ),
    "three in a round": (
        [
            handoff("one", "present(deal.custom.a)", sets("deal.custom.b", "y")),
            handoff("two", "present(deal.custom.b)", sets("deal.custom.c", "y")),
            handoff("three", "present(deal.custom.c)", sets("deal.custom.a", "y")),
        ],
        "one → two → three → one",
        'two (effect "act") writes deal.custom.c, which three reads',
    ),
    "through an effect's own condition": (
        [
            handoff("one", "deal.status == 'won'", sets("deal.custom.b", "y", 'when = "present(deal.custom.a)"')),
            handoff("two", "present(deal.custom.b)", sets("deal.custom.a", "y")),
        ],
        "one → two → one",
        'two (effect "act") writes deal.custom.a, which one reads',
    ),
    "through what tells repeats apart": (
        [
            handoff("one", "deal.status == 'won'", sets("deal.custom.b", "y", 'item = "deal.custom.a"')),
            handoff("two", "deal.status == 'won'", sets("deal.custom.a", "y", 'item = "deal.custom.b"')),
        ],
        "one → two → one",
        'one (effect "act") writes deal.custom.b, which two reads',
    ),
    "each closed project makes another one": (
        [handoff("chain", "project.status == 'closed'", creates_project(), "project", "project.closed_at")],
        "chain → chain",
        'chain (effect "act") creates a project, which chain acts for each',
    ),
    "through where a client stands": (
        [
            handoff("stage", "engagement.stage == 'billing'", sets("deal.custom.a", "y")),
            handoff("status", "present(deal.custom.a)", sets("deal.status", "won")),
        ],
        "stage → status → stage",
        'status (effect "act") writes deal.status, which stage reads',
    ),
}


@pytest.mark.parametrize("what", CIRCLES)
def test_a_circle_is_refused_and_named(what: str) -> None:
    handoffs, names, step = CIRCLES[what]
    with pytest.raises(MappingError) as refused:
        load(*handoffs)
    assert f"without end: {names}." in refused.value.what
    assert step in refused.value.what
    assert refused.value.where.startswith('mappings/handoffs.toml: handoff "')
    assert refused.value.mend


FINE = {
    "a chain with an end": [
        handoff("one", "deal.status == 'won'", sets("deal.custom.b", "y")),
        handoff("two", "present(deal.custom.b)", sets("deal.custom.c", "y")),
    ],
    "a project for a deal that has none": [handoff("one", "deal.status == 'won' && !present(project.id)", creates_project())],
    "where a client stands, which no tool can answer": [
        handoff("one", "present(client.standing)", sets("client.standing", "client.standing"), "client", "client.standing_since")
    ],
}


@pytest.mark.parametrize("what", FINE)
def test_what_comes_to_an_end_is_no_circle(what: str) -> None:
    assert load(*FINE[what]).handoffs


def test_fields_that_are_written_must_be_named_and_known() -> None:
    with pytest.raises(MappingError, match="must name its fields"):
        load(handoff("one", "deal.status == 'won'", sets("x", "y").replace('"{\\"x\\": \'y\'}"', '"deal.custom"')))
    with pytest.raises(MappingError, match=r"there is no field deal\.scpe") as refused:
        load(handoff("one", "deal.status == 'won'", sets("deal.scpe", "y")))
    assert "Did you mean deal.scope" in refused.value.mend
