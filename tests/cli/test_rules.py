"""Mappings and handoffs from the command line: checking, applying, switching."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecyclehub.cli.home import settings_of
from lifecyclehub.hub import Hub
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import insert_all
from tests.support.typed import WON, Run


def test_a_handoff_is_switched_by_a_named_person(run: Run, home: Path) -> None:
    ended = run("handoffs", "set", WON, "on", "--from", "2026-03-01", "--who", "kim", "--json")
    assert ended.code == 0
    (one,) = ended.json()
    assert (one["state"], one["go_live"], one["who"]) == ("on", "2026-03-01T00:00:00Z", "kim")
    assert {row["id"]: row["state"] for row in run("handoffs", "list", "--json").json()}[WON] == "on"
    assert "never switched" in run("handoffs", "list").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((WON, "shadow"), 2, "comes in a later version"),
        ((WON, "sometimes"), 2, "a handoff is never 'sometimes'"),
        (("won-deal", "on"), 3, f"Did you mean {WON}?"),
        ((WON, "on", "--from", "yesterday"), 2, "is no date or time"),
        ((WON, "off", "--from", "2026-03-01"), 2, "belongs to switching on"),
    ],
)
def test_a_switch_that_is_none_is_refused(run: Run, home: Path, words: tuple[str, ...], code: int, said: str) -> None:
    ended = run("handoffs", "set", *words)
    assert (ended.code, said in ended.err) == (code, True)


def test_a_typo_in_a_mapping_is_told_with_its_place_and_stops_no_other_command(run: Run, home: Path) -> None:
    file = home / "mappings" / "hubspot" / "deal.toml"
    file.parent.mkdir()
    file.write_text('format = 1\nrecord = "hubspot.deal"\n[fields]\n"deal.titel" = { from = "properties.dealname" }\n', "utf-8")
    ended = run("mappings", "check")
    assert ended.code == 2
    assert "mappings/hubspot/deal.toml" in ended.err
    assert "Did you mean deal.title?" in ended.err
    assert run("mappings", "apply", "--yes").code == 2
    assert run("status", "--strict").code == 0, "the hub goes on with what was applied"
    assert "edited files are faulty and not applied" in run("status").out
    assert "edited, not applied, and faulty" in run("check").out
    assert run("deliveries").code == 0
    file.unlink()
    assert run("mappings", "check").code == 0
    assert "there is nothing to apply" in run("mappings", "apply").out


THANK = '\n[[row]]\nid = "thank"\ntitle = "Say thank you"\ndue_days = 1\n'


def a_won_deal(home: Path) -> None:
    """Let a deal be won, with its handoff on and everything planned that follows from it but held: no tool is connected."""
    at = datetime(2026, 3, 2, tzinfo=UTC)
    hub = Hub(settings_of(home))
    with hub.engine.begin() as conn:
        engagement = {"id": hub.ids.new("eng"), "title": "Website", "created_at": at}
        insert_all(conn, tables.engagement, [engagement])
        deal = {"id": hub.ids.new("dea"), "engagement": engagement["id"], "title": "Website", "status": "won"}
        insert_all(conn, tables.deal, [{**deal, "won_at": at, "fields": {}}])
    hub.store.close()
    hub.engine.dispose()


def test_edited_files_wait_and_what_they_would_change_is_listed_before_it_is_asked(run: Run, home: Path) -> None:
    a_won_deal(home)
    on = run("handoffs", "set", WON, "on", "--from", "2026-03-01")
    assert on.code == 1, "nobody has agreed"
    assert "Starts now: 6" in on.out
    assert "deal Website" in on.out
    assert {row["state"] for row in run("handoffs", "list", "--json").json()} == {"off"}
    assert [one["change"] for one in run("handoffs", "set", WON, "on", "--from", "2026-03-01", "--dry-run", "--json").json()] == (
        ["added"] * 6
    )
    assert run("handoffs", "set", WON, "on", "--from", "2026-03-01", typed="y\n").code == 0
    assert run("effects", "--json").json()["items"] == [], "it is the hub that acts"

    table = home / "mappings/tables/onboarding.toml"
    table.write_text(table.read_text("utf-8") + THANK, "utf-8")
    assert "edited files wait to be applied" in run("status").out
    assert run("status", "--json").json()["files"] == "edited"
    assert "edited files wait to be applied" in run("check").out
    before = run("mappings", "check", "--json").json()
    assert before["standing"] == "edited"
    assert before["version"] != before["used"]
    asked = run("mappings", "apply", typed="n\n")
    assert (asked.code, "Nothing was changed." in asked.err) == (1, True)
    assert '+title = "Say thank you"' in asked.out
    assert "create_task thank" in asked.out
    only = run("mappings", "apply", "--json")
    assert (only.code, only.json()["applied"]) == (1, False)
    assert run("mappings", "check", "--json").json()["used"] == before["used"]

    done = run("mappings", "apply", "--yes", "--json", "--who", "kim")
    assert (done.code, done.json()["applied"], done.json()["over"]) == (0, True, before["used"])
    assert {one["item"] for one in done.json()["effects"]} >= {"thank"}
    after = run("mappings", "check", "--json").json()
    assert (after["standing"], after["used"]) == ("in step", before["version"])
    assert "create_task thank" in run("handoffs", "set", WON, "on", "--from", "2026-02-01", "--dry-run").out


def test_applying_without_a_hub_says_when_it_counts(run: Run, home: Path) -> None:
    table = home / "mappings/tables/onboarding.toml"
    table.write_text(table.read_text("utf-8") + THANK, "utf-8")
    said = run("mappings", "apply", "--yes")
    assert said.code == 0
    assert "No effect starts, is held or cancelled by it now." in said.out
    assert "no hub is running; it works with it from the next start on" in said.out


def test_what_was_applied_can_be_written_back_and_what_it_replaces_is_kept(run: Run, home: Path) -> None:
    table = home / "mappings/tables/onboarding.toml"
    text = table.read_text("utf-8")
    table.write_text(text + THANK, "utf-8")
    refused = run("mappings", "write")
    assert (refused.code, "mappings apply" in refused.err) == (2, True)
    written = run("mappings", "write", "--over", "--json")
    assert written.json()["files"] == ["tables/onboarding.toml"]
    assert table.read_text("utf-8") == text
    assert table.with_name("onboarding.toml.before").read_text("utf-8").endswith(THANK)
    assert "there is nothing to apply" in run("mappings", "apply").out


def test_the_sum_of_mappings_names_files(run: Run, home: Path) -> None:
    lines = run("mappings", "show", "hubspot", "--json").json()
    assert {one["file"] for one in lines if one["path"] == "deal.status"} == {"mappings/hubspot/deal.toml (default)"}
    assert "mappings/hubspot/deal.toml (default)" in run("mappings", "show", "hubspot").out
    assert run("mappings", "show", "hubspt").code == 3
