"""The torture test tests something: it repeats itself, notices what is planted, catches breaks. Long runs are a command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from lifecyclehub.torture.apart import kept_waiting
from lifecyclehub.torture.batch import FULL, Batch
from lifecyclehub.torture.database import Database
from lifecyclehub.torture.elements import ERASE, RESTORE, Act, Crash, Fault
from lifecyclehub.torture.grants import Rotation
from lifecyclehub.torture.loop import Process
from lifecyclehub.torture.mutants import MUTANTS, broken, hunt
from lifecyclehub.torture.plan import CASTS, KINDS, POINTS, Plan, matrix, plan_of
from lifecyclehub.torture.scenario import Scenario, run
from lifecyclehub.torture.shrink import only, shrunk, written

SEED = 25


def quiet(**more: Any) -> Plan:
    """A plan in which nothing goes wrong."""
    return replace(next(iter(matrix())), crashes=(), **more)


def test_a_scenario_in_which_nothing_goes_wrong_holds(database: Database) -> None:
    assert run(quiet(), database).violations == ()


def test_the_same_seed_gives_the_same_trace_also_in_another_process(database: Database) -> None:
    here = run(plan_of(SEED), database)
    arguments = [sys.executable, "-m", "lifecyclehub.torture", "--seed", str(SEED)]
    there = subprocess.run(
        arguments, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=False, timeout=120
    )
    found = re.search(r"trace ([0-9a-f]+)", there.stdout)
    assert found is not None, there.stdout + there.stderr
    assert found[1] == here.digest
    assert run(plan_of(SEED), database).digest == here.digest


def test_another_seed_gives_another_trace(database: Database) -> None:
    assert run(quiet(), database).digest != run(quiet(seed=1), database).digest


def second_project(scenario: Scenario) -> None:
    projects = scenario.world.vendors["projects"]
    first = projects.made_by_hub("projects.project")[0]
    projects.make("projects.project", dict(first.data), by="hub", ref="lh-another000")


def project_lost(scenario: Scenario) -> None:
    projects = scenario.world.vendors["projects"]
    del projects.records["projects.project", projects.made_by_hub("projects.project")[0].id]


def delivery_lost(scenario: Scenario) -> None:
    scenario.world.hooks.kept.append(("end_crm", "0" * 64))


def wrong_amount(scenario: Scenario) -> None:
    scenario.world.vendors["books"].made_by_hub("books.invoice")[0].data["lines"][0]["amount"] = "1.00"


@pytest.mark.parametrize(
    ("meddle", "invariant"),
    [
        (second_project, "I1 doubled"),
        (project_lost, "I1 lost"),
        (delivery_lost, "I4 lost"),
        (wrong_amount, "I14"),
    ],
)
def test_what_is_planted_is_noticed(database: Database, meddle: Any, invariant: str) -> None:
    assert invariant in {one.invariant for one in run(quiet(), database, meddle=meddle).violations}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("effect SET state = 'ready' WHERE state = 'done'", "went from done to ready"),
        ("effect SET epoch = epoch + 1", "was not claimed, and went from epoch"),
        ("effect SET record_id = 'another' WHERE record_id IS NOT NULL", "changed its record from"),
        ("effect SET body = '{}', epoch = epoch + 1 WHERE body IS NOT NULL", "was rendered twice for one revision"),
        ("attempt SET outcome = 'Absent'", "an attempt was Done and became Absent"),
        ("client SET version = 0", "a client went back to version 0"),
        ("engagement SET version = 0", "an engagement went back to version 0"),
    ],
)
def test_the_database_notes_what_must_never_be_written(database: Database, written: str, said: str) -> None:
    def write(scenario: Scenario) -> None:
        with scenario.world.database.engine.begin() as conn:
            conn.exec_driver_sql(f"UPDATE {written}")

    noted = [one.what for one in run(quiet(), database, meddle=write).violations if one.invariant == "I8"]
    assert any(said in one for one in noted), noted


def test_a_person_who_is_asked_for_nothing_is_noticed(database: Database) -> None:
    plan = quiet(faults=(Fault("401", "crm write", 1),))
    assert run(plan, database).violations == ()
    with broken("takes a refusal of access for a refusal"):
        assert any("asked for nothing" in one.what for one in run(plan, database).violations)


def test_who_takes_over_from_a_process_that_was_asked_to_wait_waits_too(database: Database) -> None:
    asked = quiet(faults=(Fault("429 in seconds", "projects write", 1, 30.0),))
    plan = replace(asked, crashes=(Crash("WriteReceipts after", 2, 0.2),))
    assert run(plan, database).violations == ()
    with broken("does not wait as asked"):
        assert any("asked another process to wait" in one.what for one in run(plan, database).violations)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_break_still_fits_the_code_and_names_a_seed_that_catches_it(name: str) -> None:
    assert MUTANTS[name].hint is not None
    with broken(name):
        pass


@pytest.mark.parametrize("name", ["answers before the commit"])  # the command tries all others
def test_a_break_is_caught(database: Database, name: str) -> None:
    assert hunt(name, database, 40) is not None


def thrown_away(scenario: Scenario) -> None:
    rotating = scenario.world.vendors["crm"].rotating
    assert rotating is not None
    rotating.rotations.append(Rotation("old", "new", Process("hub"), answered_at=1.0))
    rotating.exchange({"refresh_token": "old"}, None, scenario.world.vendor_now())


def used_twice(scenario: Scenario) -> None:
    rotating = scenario.world.vendors["crm"].rotating
    assert rotating is not None
    rotating.kept.add("new")
    rotating.rotations.append(Rotation("old", "new", None))
    rotating.exchange({"refresh_token": "old"}, None, scenario.world.vendor_now())


@pytest.mark.parametrize("meddle", [thrown_away, used_twice])
def test_a_grant_that_is_lost_without_need_is_noticed(database: Database, meddle: Any) -> None:
    assert run(quiet(rotates="crm"), database).violations == ()
    assert "F8" in {one.invariant for one in run(quiet(rotates="crm"), database, meddle=meddle).violations}


@pytest.mark.parametrize(
    ("fault", "name", "invariant"),
    [
        (Fault(RESTORE, "", 195.0, 5.0), "writes at once after a restore", "I16"),
        (Fault(ERASE, "", 30.0, 40.0), "takes in what tells of who was erased", "I15"),
        (Fault("a value nobody knows", "crm", 5.0, 50.0), "drops what it cannot map", "F7"),
        (Fault("a value nobody knows", "crm", 5.0, 150.0), "forgets what a person is asked", "F7"),
    ],
)
def test_what_an_admin_does_and_tools_change_is_judged(database: Database, fault: Fault, name: str, invariant: str) -> None:
    plan = quiet(faults=(fault,))
    assert run(plan, database).violations == ()
    with broken(name):
        assert invariant in {one.invariant for one in run(plan, database).violations}


def test_two_hubs_are_fenced_and_a_hub_that_is_not_is_noticed(database: Database) -> None:
    """One sleeps with the answer that nothing was done, and wakes while the other one's sending has not landed yet."""
    faults = (
        Fault("429", "projects write", 1),
        Fault("stalls there", "projects write answered", 1, 75.0),
        Fault("late", "projects write", 2, 8.0),
    )
    plan = quiet(hubs=2, characters=CASTS[6], lags=(14.0,) * 4, faults=faults)
    assert run(plan, database).violations == ()
    with broken("no_fence"):
        assert "I1 doubled" in {one.invariant for one in run(plan, database).violations}


def test_a_dead_tool_that_keeps_another_one_waiting_is_noticed() -> None:
    acts = (Act(10.0, "win", 0), Act(50.0, "win", 1))
    alive, slow = {"projects.project": (10.5, 50.5)}, {"projects.project": (10.6, 60.0)}
    assert list(kept_waiting("desk", acts, alive, alive, 400.0)) == []
    assert [one.invariant for one in kept_waiting("desk", acts, alive, slow, 400.0)] == ["I11"]
    assert [one.invariant for one in kept_waiting("desk", acts, alive, {}, 400.0)] == ["I11", "I11"]


def test_where_a_dead_tool_is_to_be_noticed_by_nobody_nobody_dies() -> None:
    """Else a death at a point that only its failures lead to would be taken for its keeping others waiting."""
    apart = [plan for plan in map(plan_of, range(1300)) if plan.dead]
    assert len(apart) > 20
    assert not any(plan.crashes or len(plan.faults) != 1 for plan in apart)


def test_a_failing_plan_shrinks_to_what_it_needs_and_can_be_written_on_a_command_line() -> None:
    plan = next(one for one in map(plan_of, range(100)) if len(one.faults) > 5 and one.crashes)
    needed = (plan.faults[3], plan.crashes[0])
    small = shrunk(plan, lambda some: needed[0] in some.faults and needed[1] in some.crashes)
    assert (small.faults, small.crashes, small.acts) == ((needed[0],), (needed[1],), ())
    assert only(plan_of(plan.seed), written(small)) == small


def test_a_full_batch_that_did_not_meet_everything_often_enough_says_so() -> None:
    batch = Batch(seeds=FULL)
    assert set(batch.not_tested()) == {*KINDS, *POINTS}
    batch.fired.update(dict.fromkeys([*KINDS, *(f"at {point}" for point in POINTS)], 20))
    assert batch.not_tested() == []


def test_a_process_owes_as_many_scenarios_as_its_share_of_a_core() -> None:
    assert Batch(seeds=99, real_s=60, cpu_s=60).too_few(100)
    assert not Batch(seeds=50, real_s=60, cpu_s=30).too_few(100)
    assert Batch(seeds=49, real_s=60, cpu_s=30).too_few(100)


def test_a_hub_that_goes_in_circles_is_noticed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifecyclehub.torture.world.MOST_EFFECTS", 1)
    assert [one.invariant for one in run(quiet(), database).violations] == ["I10 loop"]
