"""Something in a tool answers each of our writes with a change that calls for the next one: the brake stops that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.admin.effects import Answer, AnswerEffects
from lifecyclehub.insight.check import check
from lifecyclehub.insight.explain import explain
from lifecyclehub.insight.status import read_status
from lifecyclehub.store import tables as t
from tests.support.reach import Middle
from tests.support.world import World, world

pytestmark = pytest.mark.anyio

# What comes in as the country goes out as the phone number, once for each country.
RULES = """format = 1
[[handoff]]
id = "country-to-phone"
per = "client"
when = "present(client.country)"
at = "client.standing_since"
  [[handoff.effects]]
  name = "phone"
  do = "crm.set_fields"
  item = "client.country"
    [handoff.effects.with]
    record = { from = "links.client", required = true }
    values = { from = "{\\"client.phone\\": client.country}" }
"""
FIELDS = 'format = 1\naction = "set_fields"\n[body]\n"properties.phone" = { from = \'values."client.phone"\' }\n'
MOST = 6


def phones(w: World) -> list[str]:
    changed = w.history("hubspot", "changed", kind="company", by="api")
    return [line["fields"]["phone"] for line in changed if "phone" in line["fields"]]


def stopped(w: World) -> list[tuple[str, str]]:
    return [(row["state"], row["reason"]) for row in w.rows(t.effect) if row["state"] not in ("done", "cancelled")]


async def answered(w: World, company: str, first: int, times: int) -> None:
    """Let the CRM's automation answer each write with another country."""
    for number in range(first, first + times):
        await w.act("hubspot", "edit_company", company=company, country=f"Country {number}")
        await w.quiet()


async def ask(w: World, question: Any, *arguments: Any, **more: Any) -> Any:
    return await w.hub.store.read(question, *arguments, **more)


async def test_after_some_rounds_a_person_is_asked_and_can_let_it_go_on(tmp_path: Path, database_url: str) -> None:
    files = {"handoffs.toml": RULES, "hubspot/set_fields.toml": FIELDS}
    async with world(tmp_path, database_url, on=("country-to-phone",), mappings=files) as w:
        company = (await w.win())["company"]
        await w.quiet()
        await answered(w, company, 0, MOST)
        assert phones(w) == [f"Country {number}" for number in range(MOST)]
        assert stopped(w) == []

        await answered(w, company, MOST, 4)
        assert len(phones(w)) == MOST, "it is written no more"
        assert stopped(w) == [("parked", "brake"), *[("held", "brake")] * 3]
        (finding,) = w.rows(t.finding, kind="brake")
        assert "client.phone" in finding["detail"]
        assert f"{MOST} times within an hour" in finding["detail"]

        parked = w.rows(t.effect, state="parked")[0]
        rules = w.hub.rules
        status = await ask(w, read_status, abouts=rules.abouts, handoffs=rules.handoffs.handoffs, now=w.clock.now())
        assert [one.reason for one in status.parked] == ["brake"]
        wrong = [one for one in check(status) if one.severity == "wrong" and "brake" in one.what]
        assert any("lifecyclehub unpark" in one.mend for one in wrong)
        said = " ".join((await ask(w, explain, rules, parked["id"], w.clock.now())).lines)
        assert "Find it and stop one of the two." in said

        word = Answer(effect=parked["id"], verdict="anew", who="kim")
        await w.hub.store.run(AnswerEffects(rules, w.hub.ids, w.clock, Middle()), word)
        await w.hub.look_for_changes()
        await w.quiet()
        assert phones(w)[MOST:] == ["Country 9"], "with what is true now, and the others that waited say the same"
        assert stopped(w) == []
        assert w.rows(t.finding, kind="brake") == []

        await answered(w, company, 10, 5)
        assert stopped(w) == [("parked", "brake"), ("held", "brake")], "it begins to count anew, and the quarrel goes on"
        word = Answer(effect=w.rows(t.effect, state="parked")[0]["id"], verdict="cancel", who="kim")
        await w.hub.store.run(AnswerEffects(rules, w.hub.ids, w.clock, Middle()), word)
        await w.hub.look_for_changes()
        await w.quiet()
        assert stopped(w) == [("parked", "brake")], "the next one asks again while the hour lasts"


async def test_the_same_changes_over_a_longer_time_are_no_quarrel(tmp_path: Path, database_url: str) -> None:
    files = {"handoffs.toml": RULES, "hubspot/set_fields.toml": FIELDS}
    async with world(tmp_path, database_url, on=("country-to-phone",), mappings=files) as w:
        company = (await w.win())["company"]
        await w.quiet()
        for number in range(8):
            await answered(w, company, number, 1)
            w.clock.forward(15 * 60)
        assert len(phones(w)) == 8
        assert stopped(w) == []
