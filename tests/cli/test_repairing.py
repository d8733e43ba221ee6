"""What a person mends from the command line, with a story in the store: parked effects, lists that hold something, why."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.cli.app import main
from lifecyclehub.messages import Refused
from lifecyclehub.store import tables
from tests.support.story import Story, won_deal

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A deal is won, and its project was refused: it is parked, and the rest waits for it."""
    one = Story(tmp_path)
    one.switch("won-deal-starts-delivery")
    (project, *_) = one.see("hubspot", won_deal())
    one.answer(project, Refused("the workspace is read-only"))
    yield one
    one.close()


@pytest.fixture
def run(story: Story, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on the story's home. Gives its code, its output (parsed with --json), its complaints."""
    monkeypatch.setenv("COLUMNS", "200")

    def run_it(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = main(["--home", str(story.settings.home), *words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, json.loads(said.out) if "--json" in words and said.out else said.out, said.err

    return run_it


def effect(story: Story, name: str = "project") -> dict[str, Any]:
    return next(row for row in story.rows(tables.effect) if row["name"] == name)


def test_a_parked_effect_is_found_explained_and_tried_anew(run: Run, story: Story) -> None:
    project = effect(story)["id"]
    _, listed, _ = run("effects", "--state", "parked", "--json")
    assert [one["id"] for one in listed["items"]] == [project]
    code, why, _ = run("explain", project)
    assert code == 0
    assert "the workspace is read-only" in why
    assert "`anew` tries again" in why
    code, said, _ = run("unpark", project, "--anew", "--who", "kim")
    assert (code, said) == (0, f"{project} is planned now.\n")
    assert effect(story)["revision"] == 2


def test_what_is_said_when_nothing_is_said_is_anew(run: Run, story: Story) -> None:
    project = effect(story)["id"]
    assert run("unpark", project, project, "--json")[1]["effects"] == {project: "planned"}
    assert run("unpark", project)[0] == 2
    assert "is planned, not parked" in run("unpark", project)[2]


def test_a_person_names_the_record_that_is_the_one(run: Run, story: Story) -> None:
    project = effect(story)["id"]
    code, said, _ = run("unpark", project, "--is", "5009", "--url", "https://app.asana.example/0/5009")
    assert (code, said) == (0, f"{project} is done now.\n")
    (link,) = story.rows(tables.link, kind="asana.project")
    assert link["record_id"] == "5009"
    _, detail, _ = run("effects", project)
    assert "5009 https://app.asana.example/0/5009" in detail
    assert "by a person" in detail


def test_a_parked_effect_is_cancelled_for_good(run: Run, story: Story) -> None:
    project = effect(story)["id"]
    assert run("unpark", project, "--cancel")[1] == f"{project} is cancelled now.\n"
    assert run("unpark", project)[0] == 2


def test_effects_are_put_aside_all_or_none(run: Run, story: Story) -> None:
    note = effect(story, "note")["id"]
    assert run("park", note, "eff_none", "--why", "not yet")[0] == 3
    assert effect(story, "note")["state"] == "held"
    assert run("park", note, note, "--why", "not yet", "--who", "kim")[:2] == (0, f"{note} is parked now.\n")
    assert effect(story, "note")["detail"] == "kim: not yet"


def test_lists_go_on_page_by_page_and_say_when_a_filter_leaves_nothing(run: Run, story: Story) -> None:
    _, first, _ = run("effects", "--limit", "2", "--json")
    _, second, _ = run("effects", "--limit", "2", "--after", first["next"], "--json")
    ids = [one["id"] for page in (first, second) for one in page["items"]]
    assert ids == sorted({row["id"] for row in story.rows(tables.effect)}, reverse=True)[:4]
    assert f"There is more: --after {first['next']}" in run("effects", "--limit", "2")[1]
    assert run("effects", "--state", "in doubt")[1] == "None.\n"
    assert run("deliveries", "--connection", "hubspot")[0] == 0


def test_pages_show_a_client_an_engagement_and_a_delivery(run: Run, story: Story) -> None:
    (client,), (engagement,) = story.rows(tables.client), story.rows(tables.engagement)
    assert run("clients")[1].count("cli_") == 1
    assert engagement["id"] in run("clients", client["id"])[1]
    assert engagement["id"] in run("engagements", "--client", client["id"])[1]
    assert run("engagements", "--stage", "lost")[1] == "None.\n"
    _, page, _ = run("engagements", engagement["id"])
    assert "12,000.00 EUR" in page
    assert "project.create_project" in page
    delivery = story.rows(tables.delivery)[0]["id"]
    assert "hubspot.deal 9001" in run("deliveries", delivery)[1]
    assert run("deliveries", delivery, "--json")[1]["delivery"]["id"] == delivery


def test_status_and_check_name_what_waits_for_a_person(run: Run, story: Story) -> None:
    project = effect(story)["id"]
    _, shown, _ = run("status")
    assert "PARKED" in shown
    assert project in shown
    assert run("status", "--strict")[0] == 1
    code, problems, _ = run("check", "--json")
    assert code == 1
    assert any(project in one["what"] for one in problems)


# --- findings -------------------------------------------------------------------------------------------------------------


def found(story: Story, kind: str, **more: Any) -> str:
    """Put a finding into the story. Gives its id."""
    row = {"kind": kind, "subject_kind": "asana.project", "subject": "con_1/5002", "about": kind, "detail": f"a {kind}"}
    row |= {"id": f"fin_{kind}", "facts": {}, "at": story.clock.now(), **more}
    with story.engine.begin() as conn:
        conn.execute(tables.finding.insert(), [row])
    return str(row["id"])


def test_a_finding_is_listed_until_somebody_settles_it_and_stays_with_who_when_and_why(run: Run, story: Story) -> None:
    double, drift = found(story, "double"), found(story, "drift")
    story.see("hubspot", won_deal())
    _, said, _ = run("check")
    assert f"lifecyclehub settle {double} --why" in said
    _, said, _ = run("status")
    assert double in said
    assert "lifecyclehub findings ID says what to do" in said

    assert run("settle", double)[0] == 2, "a note is asked for"
    assert run("settle", double, "--why", " ")[0] == 2
    assert run("settle", double, "fin_nobody", "--why", "a copy")[0] == 3
    assert {one["settled_at"] for one in story.rows(tables.finding)} == {None}, "all of them, or none"

    code, said, _ = run("settle", double, "--why", "a copy for a workshop; it stays", "--who", "kim")
    assert (code, said) == (0, f"{double} is settled.\n")
    (row,) = story.rows(tables.finding, id=double)
    assert (row["settled_by"], row["settled_why"]) == ("kim", "a copy for a workshop; it stays")
    assert row["settled_at"] is not None
    code, _, complaint = run("settle", double, "--why", "again")
    assert code == 2
    assert "was settled by kim" in complaint

    assert [one["id"] for one in run("findings", "--json")[1]["items"]] == [drift]
    assert [one["id"] for one in run("findings", "--state", "settled", "--json")[1]["items"]] == [double]
    assert run("findings", "--kind", "double")[1] == "None.\n"
    assert "by kim" in run("findings", double)[1]
    for word in ("check", "status"):
        assert double not in run(word)[1]
    assert [one["id"] for one in run("status", "--json")[1]["findings"]] == [drift]


def test_a_settled_finding_is_still_explained(run: Run, story: Story) -> None:
    deal = story.rows(tables.deal)[0]["id"]
    one = found(story, "double", subject_kind="deal", subject=deal)
    run("settle", one, "--why", "both are wanted", "--who", "kim")
    code, why, _ = run("explain", deal)
    assert code == 0
    assert "Double, double: a double (settled by kim, " in why
    assert "both are wanted" in why


def test_what_a_handoff_left_alone_can_be_settled_too_and_a_brake_only_by_answering_its_effect(run: Run, story: Story) -> None:
    left = found(story, "withheld", about="won-deal-starts-delivery: baseline")
    brake = found(story, "brake")
    assert [one["id"] for one in run("findings", "--kind", "withheld", "--json")[1]["items"]] == [left]
    assert "left alone: 1 baseline" in run("check")[1]
    assert run("settle", left, "--why", "years ago")[0] == 0
    assert "left alone" not in run("check")[1]
    code, _, complaint = run("settle", brake, "--why", "it is well")
    assert code == 2
    assert "lifecyclehub unpark" in complaint
