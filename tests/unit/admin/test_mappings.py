"""All files are checked as one set, and every set that was worked with is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecyclehub.admin.mappings import applied_version, check_mappings, show_mappings
from lifecyclehub.admin.stored import NotThere
from lifecyclehub.hub import Hub
from lifecyclehub.registry.registry import Registry
from lifecyclehub.store import tables
from tests.support.home import make_home
from tests.support.served import rows

OVERRIDE = 'format = 1\nrecord = "hubspot.deal"\n[fields]\n"deal.title" = { from = "properties.dealname" }\n'


def write(home: Path, name: str, text: str) -> None:
    file = home / "mappings" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


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


def test_the_sum_names_the_file_of_each_line(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    write(settings.home, "hubspot/deal.toml", OVERRIDE)
    lines = {(one.section, one.path): one.file for one in show_mappings(Registry.load(), settings, "hubspot")}
    assert lines["hubspot.deal", "deal.title"] == "mappings/hubspot/deal.toml"
    assert lines["hubspot.deal", "deal.status"] == "mappings/hubspot/deal.toml (default)"
    with pytest.raises(NotThere, match="Did you mean hubspot"):
        show_mappings(Registry.load(), settings, "hubspt")


@pytest.mark.anyio
async def test_each_set_that_the_hub_works_with_is_kept_once_with_its_content(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    for override in (None, None, OVERRIDE.replace("dealname", "hs_name")):
        if override:
            write(settings.home, "hubspot/deal.toml", override)
        hub = Hub(settings)
        await hub.start()
        kept, used, version = await rows(hub, tables.applied_set), await hub.store.read(applied_version), hub.rules.version
        await hub.stop()
        assert used == version
    assert len(kept) == 2
    contents = {row["id"]: row["content"] for row in kept}
    assert "hs_name" in str(contents[version]["hubspot"])
    assert all("won-deal-starts-delivery" in content["handoffs.toml"] for content in contents.values())
