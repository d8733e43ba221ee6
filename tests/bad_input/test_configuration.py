"""Files that an admin wrote wrong: said at once with the place and the cure, and the running hub goes on as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.admin.mappings import waiting_edits
from lifecyclehub.configuration import read_rules, shipped
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.mapping import MAX_LENGTH
from lifecyclehub.store import tables as t
from tests.support.bad_input import ACCOUNTS, WON, Hall, a_deal
from tests.support.home import apply_files

pytestmark = pytest.mark.anyio

DEAL = 'format = 1\nrecord = "hubspot.deal"\n[fields]\n'
COMPANY = 'format = 1\nrecord = "hubspot.company"\n[fields]\n'
RULE = """
format = 1
[[handoff]]
id = "hello"
per = "deal"
when = "{when}"
at = "deal.won_at"
  [[handoff.effects]]
  name = "note"
  do = "crm.add_note"
  {more}
    [handoff.effects.with]
    deal = {{ from = "links.deal", required = true }}
    text = {{ default = "hello" }}
"""


def rule(when: str = "deal.status == 'won'", more: str = "") -> str:
    return RULE.format(when=when, more=more)


# What stands in which file -> pieces of the sentence: what, where, how to mend.
WRONG: dict[str, tuple[str, str | bytes, tuple[str, ...]]] = {
    "a field that the model does not have": (
        "hubspot/deal.toml",
        DEAL + '"deal.tittle" = { from = "properties.dealname" }',
        ("hubspot/deal.toml", "deal.tittle", "deal.title"),
    ),
    "a word that mappings do not have": (
        "hubspot/deal.toml",
        DEAL + '"deal.title" = { form = "properties.dealname" }',
        ("hubspot/deal.toml", "deal.title", "form"),
    ),
    "a converter that nobody has": (
        "hubspot/deal.toml",
        DEAL + '"deal.value.amount" = { from = "properties.amount", convert = "decimall" }',
        ("hubspot/deal.toml", "deal.value.amount", "decimall", "decimal"),
    ),
    "an expression that is cut off": (
        "hubspot/deal.toml",
        DEAL + '"deal.title" = { from = "properties.dealname ||" }',
        ("hubspot/deal.toml", "deal.title"),
    ),
    "an expression longer than anybody writes": (
        "hubspot/deal.toml",
        DEAL + f'"deal.title" = {{ from = "{"a" * (MAX_LENGTH + 1)}" }}',
        ("hubspot/deal.toml", "deal.title", f"{MAX_LENGTH:,}"),
    ),
    "an expression nested without end": (
        "hubspot/deal.toml",
        DEAL + f'"deal.title" = {{ from = "{"(" * 500}a{")" * 500}" }}',
        ("hubspot/deal.toml", "deal.title"),
    ),
    "a comparison turned round that may be missing": (
        "handoffs.toml",
        rule("!(deal.scope == 'x')"),
        ("handoffs.toml", "hello", "says nothing when deal.scope is missing", "present(deal.scope) && !(deal.scope == 'x')"),
    ),
    "a key twice": (
        "hubspot/deal.toml",
        DEAL + '"deal.title" = { default = "a" }\n"deal.title" = { default = "b" }',
        ("hubspot/deal.toml",),
    ),
    "another record": ("hubspot/deal.toml", DEAL.replace("hubspot.deal", "hubspot.dael"), ("hubspot/deal.toml", "hubspot.dael")),
    "another format": ("hubspot/deal.toml", DEAL.replace("format = 1", "format = 9"), ("hubspot/deal.toml", "9")),
    "no TOML": ("hubspot/deal.toml", "format: 1\nrecord: hubspot.deal\n", ("hubspot/deal.toml", "line 1")),
    "bytes that are no UTF-8": ("hubspot/deal.toml", b'format = 1\nrecord = "\xff"', ("hubspot/deal.toml", "UTF-8")),
    "a target without quotes": ("handoffs.toml", rule("deal.status == won"), ("handoffs.toml", "hello", "won", "'won'")),
    "a path that the model does not have": (
        "handoffs.toml",
        rule("deal.state == 'won'"),
        ("handoffs.toml", "hello", "deal.state"),
    ),
    "one equals sign": ("handoffs.toml", rule("deal.status = 'won'"), ("handoffs.toml", "hello")),
    "an action that no role has": (
        "handoffs.toml",
        rule().replace("crm.add_note", "crm.add_noet"),
        ("handoffs.toml", "add_noet"),
    ),
    "a need for an effect that is not there": ("handoffs.toml", rule(more='needs = ["projekt"]'), ("handoffs.toml", "projekt")),
    "two handoffs of one id": ("handoffs.toml", rule() + rule().replace("format = 1", ""), ("handoffs.toml", "hello")),
    "a handoff per something else": ("handoffs.toml", rule().replace('per = "deal"', 'per = "deel"'), ("handoffs.toml", "deel")),
    "a stage that is none": (
        "lifecycle.toml",
        shipped().joinpath("lifecycle.toml").read_text("utf-8").replace("onboarding", "onbording"),
        ("lifecycle.toml", "onbording"),
    ),
}


def write(h: Hall, name: str, content: str | bytes) -> Path:
    file = h.settings.mappings / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


async def applied(h: Hall) -> None:
    """Apply the files, and let the running hub take them over."""
    apply_files(h.settings, h.registry)
    await h.hub.look_for_changes()
    await h.hub.settled()


@pytest.mark.parametrize("what", WRONG)
async def test_it_is_said_where_it_stands_it_cannot_be_applied_and_the_hub_goes_on(h: Hall, what: str) -> None:
    name, content, words = WRONG[what]
    before = h.hub.rules
    async with h.undisturbed("installation"):
        write(h, name, content)
        await h.hub.reconfigure()
        edits = await h.hub.store.read(waiting_edits, h.registry, h.settings)

    assert h.hub.rules is before, "faulty files change nothing"
    assert edits.checked.rules is edits.version is None, "there is nothing that could be applied"
    said = " ".join(map(str, edits.checked.problems))
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize("what", WRONG)
async def test_they_cannot_be_the_first_set_either(h: Hall, what: str) -> None:
    name, content, words = WRONG[what]
    write(h, name, content)

    with pytest.raises(ConfigurationError) as refused:
        read_rules(h.registry, h.settings, "ins_1")

    assert [word for word in words if word not in str(refused.value)] == []
    assert refused.value.mend or "no other effect" in refused.value.what, "it says how to mend it"


async def test_a_hub_on_a_home_with_faulty_files_works_with_what_was_applied(h: Hall) -> None:
    write(h, "hubspot/deal.toml", "no toml")
    async with h.undisturbed():
        second = Hub(h.settings, registry=h.registry)
        assert second.rules.version == h.hub.rules.version
        second.store.close()
        second.engine.dispose()


# --- what only a value shows ------------------------------------------------------------------------------------------


def company(record_id: str, **properties: Any) -> dict[str, Any]:
    stamp = "2026-05-04T09:30:00Z"
    given = {"name": "Orchard Tools", "createdate": stamp, "hs_lastmodifieddate": stamp, **properties}
    return {"id": record_id, "properties": given, "archived": False}


async def test_an_expression_bomb_parks_its_own_notice_and_stops_in_time(h: Hall) -> None:
    bomb = "|".join(["[@,@]"] * 40)
    write(h, "hubspot/company.toml", COMPANY + f'"client.name" = {{ from = "{bomb}|to_string(@)", required = true }}\n')
    await applied(h)
    h.vendors.companies["8"] = company("8")
    async with h.undisturbed("delivery", "notice"):
        await h.knock("hubspot", h.deal_changed("8", subscriptionType="company.propertyChange"))

    (notice,) = h.rows(t.notice, kind="hubspot.company")
    assert (notice["state"], notice["reason"]) == ("parked", "mapping")
    assert "takes more than 50,000 steps" in notice["detail"]
    assert "hubspot/company.toml: client.name" in notice["detail"]


async def test_values_that_cannot_be_compared_park_their_own_notice(h: Hall) -> None:
    write(
        h, "hubspot/company.toml", COMPANY + "\"client.name\" = { from = \"properties.employees > `5` && 'big' || 'small'\" }\n"
    )
    await applied(h)
    h.vendors.companies["8"] = company("8", employees="many")
    async with h.undisturbed("delivery", "notice", "link", "mirror", "snapshot"):
        await h.knock("hubspot", h.deal_changed("8", subscriptionType="company.propertyChange"))

    (notice,) = h.rows(t.notice, kind="hubspot.company")
    assert notice["state"] in ("parked", "ignored"), "never an error that nobody sees"
    if notice["state"] == "parked":
        assert "client.name" in notice["detail"]


ITS_OWN = ("delivery", "notice", "deal", "engagement", "link", "mirror", "snapshot", "event", "finding", "charge")


@pytest.mark.parametrize(
    ("when", "names"),
    [
        ("deal.scope", "deal.scope"),
        ("deal.status == 'won' && deal.value.amount > `5`", "deal.value.amount"),
        ("deal.status == 'won' && deal.scope", "deal.scope"),
        ("deal.title", "deal.title"),
    ],
)
async def test_a_condition_that_is_neither_true_nor_false_withholds_and_names_what_was_missing(
    h: Hall, when: str, names: str
) -> None:
    write(h, "handoffs.toml", rule(when.replace('"', '\\"')))
    await applied(h)
    await h.switch_on("hello")
    h.vendors.deals["1"] = a_deal("1", stage="closedwon", amount=None)
    async with h.undisturbed(*ITS_OWN):
        await h.knock("hubspot", h.deal_changed("1"))

    assert h.rows(t.effect) == []
    (deal,) = h.rows(t.deal, title="Website 1")
    (finding,) = h.rows(t.finding, subject=deal["id"])
    assert finding["kind"] == "withheld"
    assert finding["about"] == "hello: undecided"
    assert names in finding["detail"]


async def test_an_effects_own_condition_that_is_null_holds_that_effect_and_says_why(h: Hall) -> None:
    write(h, "handoffs.toml", rule(more='when = "deal.scope"'))
    await applied(h)
    await h.switch_on("hello")
    h.vendors.deals["1"] = a_deal("1", stage="closedwon")
    async with h.undisturbed(*ITS_OWN, "effect"):
        await h.knock("hubspot", h.deal_changed("1"))

    held = [(row["state"], row["reason"]) for row in h.rows(t.effect)]
    found = [row["detail"] for row in (*h.rows(t.effect), *h.rows(t.finding))]
    assert held in ([], [("held", "undecided")])
    assert any("deal.scope" in detail for detail in found), found


async def test_a_handoff_that_vanishes_from_the_file_holds_what_it_planned(h: Hall) -> None:
    await h.switch_on()
    h.vendors.answers["asana"] = lambda _: _busy()
    h.vendors.deals["1"] = a_deal("1", stage="closedwon")
    await h.knock("hubspot", h.deal_changed("1"))
    await h.hub.settled()
    write(h, "handoffs.toml", rule())
    await applied(h)

    waiting = [row for row in h.rows(t.effect, handoff=WON) if row["state"] == "held" and row["reason"] == "stopped"]
    assert waiting
    assert all(f"{WON} is not in handoffs.toml any more" in row["detail"] for row in waiting)
    await h.good()


def _busy() -> Any:
    import httpx

    return httpx.Response(429, headers={"retry-after": "60"})


def test_the_accounts_are_connected() -> None:
    assert "hubspot" in ACCOUNTS
