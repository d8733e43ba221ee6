"""Our own change comes back from the tool: before its answer or after it, in our writing or in the tool's, or undone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.store import tables as t
from tests.flow.test_two_systems_correct_each_other import FIELDS, RULES, phones
from tests.support.world import World, world

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def written(tmp_path: Path, database_url: str, **edits: Any) -> AsyncIterator[tuple[World, str]]:
    """Let the hub write a company's phone number, "Norway 1", while none of the tool's messages arrive."""
    files = {"handoffs.toml": RULES, "hubspot/set_fields.toml": FIELDS}
    async with world(tmp_path, database_url, on=("country-to-phone",), mappings=files) as w:
        company = (await w.win())["company"]
        await w.act("hubspot", "edit_company", company=company, phone="before")
        await w.quiet()
        await w.act("hubspot", "edit_company", company=company, country="Norway 1", **edits)
        await w.misbehave("hubspot", hooks={"drop": True})
        await w.quiet()
        assert phones(w) == ["Norway 1"]
        yield w, company
        assert [row for row in w.rows(t.finding) if row["kind"] in ("drift", "brake")] == []


def mirror(w: World, company: str) -> tuple[str | None, str | None]:
    (row,) = w.rows(t.mirror, record_id=company, field="client.phone")
    return row["seen"], row["sent"]


def phone(w: World) -> str:
    return str(w.rows(t.client)[-1]["fields"].get("phone"))


async def seen_again(w: World, company: str, **edits: str) -> None:
    """Let the tool's messages arrive again, about this edit and everything else."""
    await w.misbehave("hubspot", hooks={})
    await w.act("hubspot", "edit_company", company=company, **(edits or {"name": f"{w.company} Ltd"}))
    await w.quiet()


async def test_what_comes_back_as_it_was_sent_is_confirmed_once_and_is_our_value_then(tmp_path: Path, database_url: str) -> None:
    async with written(tmp_path, database_url) as (w, company):
        assert mirror(w, company) == ('"before"', '"Norway 1"')
        await seen_again(w, company)
        assert mirror(w, company) == ('"Norway 1"', None)
        assert phone(w) == "Norway 1"
        before = w.writes()
        await w.resend("hubspot")
        await w.quiet()
        assert w.writes() == before


async def test_the_tools_own_writing_of_it_is_taken_over_and_not_corrected(tmp_path: Path, database_url: str) -> None:
    async with written(tmp_path, database_url) as (w, company):
        await seen_again(w, company, phone="NORWAY-1")
        assert mirror(w, company) == ('"NORWAY-1"', None)
        assert phone(w) == "NORWAY-1"
        assert phones(w) == ["Norway 1"]


async def test_the_old_value_is_no_news_while_ours_may_still_be_on_its_way(tmp_path: Path, database_url: str) -> None:
    async with written(tmp_path, database_url) as (w, company):
        await seen_again(w, company, phone="before")
        assert mirror(w, company) == ('"before"', '"Norway 1"')
        w.clock.forward(61)
        await seen_again(w, company)
        assert mirror(w, company) == ('"before"', None), "by now the tool would show ours: somebody has changed it back"
        assert phone(w) == "before"
        assert phones(w) == ["Norway 1"], "and that is respected"


async def test_who_changes_ours_back_later_is_heard_at_once(tmp_path: Path, database_url: str) -> None:
    async with written(tmp_path, database_url) as (w, company):
        w.clock.forward(61)
        await seen_again(w, company, phone="before")
        assert mirror(w, company) == ('"before"', None)
        assert phone(w) == "before"
        assert phones(w) == ["Norway 1"]


async def test_what_comes_back_before_the_answer_is_confirmed_too(tmp_path: Path, database_url: str) -> None:
    files = {"handoffs.toml": RULES, "hubspot/set_fields.toml": FIELDS}
    async with world(tmp_path, database_url, on=("country-to-phone",), mappings=files) as w:
        company = (await w.win())["company"]
        await w.quiet()
        await w.misbehave("hubspot", faults=[{"do": "lose_answer", "method": "PATCH", "times": 1}])
        await w.act("hubspot", "edit_company", company=company, country="Norway 1")
        await w.quiet()
        assert mirror(w, company) == ('"Norway 1"', None)
        assert phone(w) == "Norway 1"
        assert set(phones(w)) == {"Norway 1"}
