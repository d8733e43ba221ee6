"""All files are checked as one set; a set counts from when it was applied; and how files and set stand to each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lifecyclehub.admin.applied import AppliedMeanwhile, Applying, apply_set, read_applied
from lifecyclehub.admin.mappings import (
    Waiting,
    check_mappings,
    refuse_unless_edited,
    show_mappings,
    waiting_edits,
    write_back,
)
from lifecyclehub.admin.setup import init_home
from lifecyclehub.configuration import read_source
from lifecyclehub.errors import ConfigurationError, MappingError, NotThere
from lifecyclehub.hub import Hub
from lifecyclehub.ports import SystemClock
from lifecyclehub.registry.registry import Registry
from lifecyclehub.settings import Settings, read_settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import open_engine
from tests.support.home import apply_files, make_home
from tests.support.served import rows

OVERRIDE = 'format = 1\nrecord = "hubspot.deal"\n[fields]\n"deal.title" = { from = "properties.dealname" }\n'
OTHER = OVERRIDE.replace("dealname", "hs_name")


def write(home: Path, name: str, text: str) -> None:
    file = home / "mappings" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


def ask(settings: Settings, question: Any, *args: Any) -> Any:
    engine = open_engine(settings.database)
    try:
        with engine.connect().execution_options(write=False) as conn, conn.begin():
            return question(conn, *args)
    finally:
        engine.dispose()


def waiting(settings: Settings, registry: Registry | None = None) -> Waiting:
    found: Waiting = ask(settings, waiting_edits, registry or Registry.load(), settings)
    return found


def applied_elsewhere(settings: Settings, text: str) -> None:
    """Apply a set with this deal mapping that did not come from this home's files."""
    edits = waiting(settings)
    own = {**edits.in_force.source.own, "hubspot/deal.toml": text}
    content = {**edits.in_force.source.content(), "own": own}
    item = Applying(f"set of {len(text)}", content, "a page", SystemClock().now(), edits.in_force.kept, of_files=False)
    engine = open_engine(settings.database)
    with engine.begin() as conn:
        apply_set(conn, [item])
    engine.dispose()


# --- checking ---------------------------------------------------------------------------------------------------------


def test_a_fresh_home_is_in_order(tmp_path: Path) -> None:
    checked = check_mappings(Registry.load(), make_home(tmp_path))
    assert checked.problems == ()
    assert checked.rules is not None


def test_faults_of_several_files_are_told_together(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    write(settings.home, "hubspot/deal.toml", OVERRIDE.replace("deal.title", "deal.titel"))
    write(settings.home, "asana/project.toml", 'record = "asana.project"\n[fields\n')
    write(settings.home, "handoffs.toml", '[[handoff]]\nid = "x"\n')
    write(settings.home, "hubspt/deal.toml", OVERRIDE)
    checked = check_mappings(Registry.load(), settings)
    assert checked.rules is None
    assert [one.where.partition(":")[0] for one in checked.problems[:3]] == [
        "mappings/asana/project.toml",
        "mappings/hubspot/deal.toml",
        "mappings/handoffs.toml",
    ]
    assert all(one.mend for one in checked.problems)


def test_a_folder_that_no_connector_reads_is_told(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    write(settings.home, "hubspt/deal.toml", OVERRIDE)
    (problem,) = check_mappings(Registry.load(), settings).problems
    assert problem.where == "mappings/hubspt"
    assert "Did you mean hubspot?" in problem.mend


def test_a_folder_with_a_faulty_file_is_told_of_for_that_fault_alone(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    write(settings.home, "hubspot/deal.toml", OVERRIDE.replace("deal.title", "deal.titel"))
    (problem,) = check_mappings(Registry.load(), settings).problems
    assert "deal.titel" in problem.what


def test_the_sum_names_the_file_of_each_line(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    write(settings.home, "hubspot/deal.toml", OVERRIDE)
    registry = Registry.load()
    source = read_source(registry, settings.mappings)
    lines = {(one.section, one.path): one.file for one in show_mappings(registry, source, "hubspot")}
    assert lines["hubspot.deal", "deal.title"] == "mappings/hubspot/deal.toml"
    assert lines["hubspot.deal", "deal.status"] == "mappings/hubspot/deal.toml (default)"
    with pytest.raises(NotThere, match="Did you mean hubspot"):
        show_mappings(registry, source, "hubspt")


# --- what counts ------------------------------------------------------------------------------------------------------


def test_init_applies_the_first_set_and_no_other(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    first = waiting(settings)
    assert first.standing == "in step"
    assert first.in_force.kept == first.version == first.in_force.files_set
    write(settings.home, "hubspot/deal.toml", OTHER)
    init_home(settings)
    again = waiting(settings)
    assert (again.standing, again.in_force.kept) == ("edited", first.version)


def test_init_on_faulty_files_applies_nothing_says_so_and_may_be_repeated(tmp_path: Path) -> None:
    settings = read_settings(tmp_path / "home", {})
    write(settings.home, "handoffs.toml", "[[handoff]\n")
    with pytest.raises(MappingError, match=r"mappings/handoffs\.toml"):
        init_home(settings)
    with pytest.raises(ConfigurationError, match="lifecyclehub init"):
        Hub(settings)
    (settings.mappings / "handoffs.toml").unlink()
    made = init_home(settings)
    assert made.token is not None
    assert waiting(settings).standing == "in step"


@pytest.mark.anyio
@pytest.mark.parametrize("text", [OTHER, "[fields\n"])
async def test_a_hub_starts_with_the_applied_set_whatever_stands_in_the_files(tmp_path: Path, text: str) -> None:
    settings = make_home(tmp_path)
    version = waiting(settings).version
    write(settings.home, "hubspot/deal.toml", text)
    hub = Hub(settings)
    await hub.start()
    await hub.reconfigure()
    kept, used = await rows(hub, tables.applied_set), hub.rules.version
    await hub.stop()
    assert used == version
    assert [row["id"] for row in kept] == [version]


def test_a_set_is_applied_over_the_one_that_it_was_compared_with_or_not_at_all(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    first = waiting(settings).in_force.kept
    write(settings.home, "hubspot/deal.toml", OTHER)
    second = apply_files(settings)
    engine = open_engine(settings.database)
    with pytest.raises(AppliedMeanwhile, match="was applied meanwhile"), engine.begin() as conn:
        apply_set(conn, [Applying("third", {}, "lee", SystemClock().now(), first)])
    engine.dispose()
    assert waiting(settings).in_force.kept == second


def test_comments_and_empty_lines_are_no_change(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    for name in ("handoffs.toml", "lifecycle.toml", "tables/onboarding.toml"):
        write(settings.home, name, "# mine\n\n" + (settings.mappings / name).read_text("utf-8"))
    assert waiting(settings).standing == "in step"


def test_what_differs_is_told_line_by_line(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    write(settings.home, "hubspot/deal.toml", OTHER)
    handoffs = (settings.mappings / "handoffs.toml").read_text("utf-8")
    write(settings.home, "handoffs.toml", handoffs.replace("A won deal starts delivery", "Go"))
    text, entry = waiting(settings).differs
    assert text.file == "mappings/handoffs.toml"
    assert {'-title = "A won deal starts delivery"', '+title = "Go"'} <= set(text.lines)
    assert (entry.file, entry.section, entry.path) == ("mappings/hubspot/deal.toml", "hubspot.deal", "deal.title")
    assert entry.after == {"from": "properties.hs_name"}
    assert entry.before != entry.after


# --- files and pages --------------------------------------------------------------------------------------------------


def test_files_behind_a_set_that_was_changed_elsewhere_are_brought_up_to_date_not_applied(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    applied_elsewhere(settings, OTHER)
    behind = waiting(settings)
    assert behind.standing == "behind"
    with pytest.raises(ConfigurationError, match="lifecyclehub mappings write"):
        refuse_unless_edited(behind)
    assert write_back(behind.in_force.source, settings.mappings) == ["hubspot/deal.toml"]
    assert (settings.mappings / "hubspot/deal.toml").read_text("utf-8") == OTHER
    assert waiting(settings).standing == "in step"


def test_when_both_were_changed_it_is_said_and_refused_until_a_person_chooses(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    applied_elsewhere(settings, OTHER)
    write(settings.home, "hubspot/deal.toml", OVERRIDE)
    both = waiting(settings)
    assert both.standing == "both"
    with pytest.raises(ConfigurationError, match="both were changed"):
        refuse_unless_edited(both)
    refuse_unless_edited(both, over=True)
    write_back(both.in_force.source, settings.mappings)
    assert (settings.mappings / "hubspot/deal.toml.before").read_text("utf-8") == OVERRIDE
    assert waiting(settings).standing == "in step"


# --- connectors come, change and go -------------------------------------------------------------------------------------


def with_default(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """Let the installed HubSpot connector bring this file along, as after an upgrade."""
    from lifecyclehub import configuration

    before = configuration.default_mappings

    def after(connector: Any) -> dict[str, str]:
        found = before(connector)
        return {**found, name: text} if connector.about.id == "hubspot" else found

    monkeypatch.setattr(configuration, "default_mappings", after)


def test_an_upgraded_default_is_a_difference_to_accept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_home(tmp_path)
    source = waiting(settings).in_force.source
    default = source.defaults["hubspot"]["deal.toml"]
    with_default(monkeypatch, "deal.toml", default.replace("properties.dealname", "properties.hs_name"))
    edits = waiting(settings)
    assert edits.standing == "edited"
    (found,) = edits.differs
    assert (found.file, found.path) == ("mappings/hubspot/deal.toml (default)", "deal.title")
    version = edits.in_force.rules.version
    hub = Hub(settings)
    assert hub.rules.version == version, "it is not let in by itself"
    hub.store.close()
    assert apply_files(settings) == edits.version
    assert waiting(settings).standing == "in step"


def test_a_connector_that_the_applied_mappings_do_not_fit_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    registry = Registry.load()
    hubspot = registry.connectors["hubspot"]
    actions = tuple(one for one in hubspot.about.actions if one.name != "create_task")
    upgraded = type("Upgraded", (type(hubspot),), {"about": replace(hubspot.about, actions=actions)})()
    others = {name: one for name, one in registry.connectors.items() if name != "hubspot"}
    in_force = ask(settings, read_applied, Registry(MappingProxyType({**others, "hubspot": upgraded}), ()), settings.zone)
    assert sorted(in_force.registry.connectors) == sorted(in_force.rules.mappings) == sorted(others)
    (refusal,) = in_force.registry.refused
    assert refusal.name == "hubspot"
    assert "create_task" in refusal.reason
    assert "mappings apply" in refusal.mend


@pytest.mark.anyio
async def test_a_connector_that_is_new_joins_the_set_and_one_that_goes_keeps_its_part(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    registry = Registry.load()
    without = Registry(MappingProxyType({name: one for name, one in registry.connectors.items() if name != "xero"}), ())
    write(settings.home, "xero/contact.toml", 'format = 1\nrecord = "xero.contact"\n')
    apply_files(settings)
    edits = waiting(settings, without)
    assert edits.standing == "in step", "its folder is no typo, and nothing of it is dropped"
    assert edits.checked.source is not None
    assert "xero/contact.toml" in edits.checked.source.own

    other = make_home(tmp_path / "other")
    version = apply_files(other, without)
    hub = Hub(other, registry=registry)
    await hub.start()
    joined, kept = hub.rules.version, await rows(hub, tables.applied_set)
    await hub.stop()
    assert joined != version
    assert {row["id"]: "xero" in row["content"]["defaults"] for row in kept}[joined]
    assert waiting(other).standing == "in step"
