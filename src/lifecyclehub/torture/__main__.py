"""`python -m lifecyclehub.torture`: scenarios by the thousand, one by its seed, or the mutants that they must catch."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from lifecyclehub.torture.batch import Batch, run_all, temporary_database
from lifecyclehub.torture.database import Database
from lifecyclehub.torture.mutants import MUTANTS, hunt_all
from lifecyclehub.torture.plan import Plan, matrix, plain, plan_of
from lifecyclehub.torture.scenario import Verdict, run
from lifecyclehub.torture.shrink import only, shrunk, written

REGRESSIONS = Path(__file__).with_name("regressions.txt")


def main() -> int:
    """Run what the arguments say; the exit code tells whether everything held."""
    asked = _arguments().parse_args()
    logging.disable(logging.CRITICAL)
    if asked.mutants or asked.only_mutant:
        return _mutants(asked)
    with temporary_database(asked.postgres) as database:
        return _run(asked, database)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lifecyclehub.torture", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many scenarios")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--step", type=int, default=1, help="from one seed to the next, so that several processes share them")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--only", help="only these elements of the seed's plan, as a failure prints them")
    parser.add_argument("--plain", action="store_true", help="that one without what further worlds add to it")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--least", type=int, default=0, help="fail when fewer scenarios were run in that time")
    parser.add_argument("--matrix", action="store_true", help="kill at each point when it is first passed")
    parser.add_argument("--regressions", action="store_true", help="every seed that ever failed")
    parser.add_argument("--mutants", action="store_true", help="break the code on purpose; each break must be caught")
    parser.add_argument("--only-mutant", help="only the mutant of this name")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many hunt mutants")
    parser.add_argument("--postgres", default=os.environ.get("LIFECYCLEHUB_TORTURE_POSTGRES"), help="URL of an empty schema")
    parser.add_argument("--no-shrink", action="store_true", help="leave failing scenarios as they are")
    parser.add_argument("--json", action="store_true", help="a line for each failure, and the sum as the last line")
    return parser


def _plans(asked: argparse.Namespace) -> Iterator[Plan]:
    if asked.regressions:
        yield from regressions()
    if asked.matrix:
        yield from islice(matrix(), asked.first, None, asked.step)
    if not asked.regressions and not asked.matrix:
        yield from (plan_of(seed) for seed in islice(count(asked.first, asked.step), asked.seeds))


def regression_seeds() -> list[int]:
    """Give every seed that ever failed."""
    lines = REGRESSIONS.read_text("utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def regressions() -> Iterator[Plan]:
    """Give the scenarios of seeds that failed: as they were before there were further worlds, and as they are now."""
    for seed in regression_seeds():
        yield plain(seed)
        if plan_of(seed) != plain(seed):
            yield plan_of(seed)


def _run(asked: argparse.Namespace, database: Database) -> int:
    if asked.seed is not None:
        plan = (plain if asked.plain else plan_of)(asked.seed)
        verdict = run(only(plan, asked.only) if asked.only else plan, database, keep_trace=asked.trace)
        print(*verdict.lines, sep="\n", end="\n" if verdict.lines else "")
        print(*verdict.violations or ("everything held",), sep="\n")
        print(f"trace {verdict.digest}, {verdict.virtual_s / 3600:.1f} virtual hours")
        return 1 if verdict.violations else 0
    batch = run_all(_plans(asked), database, seconds=asked.seconds, told=lambda verdict: _tell(verdict, asked, database))
    return _sum_up(batch, asked)


def _mutants(asked: argparse.Namespace) -> int:
    names = [asked.only_mutant] if asked.only_mutant else list(islice(MUTANTS, asked.first, None, asked.step))
    killed = {}
    for name, caught in hunt_all(names, asked.seeds, asked.processes):
        said, mutant = "SURVIVED" if caught is None else f"caught by seed {caught.seed}", MUTANTS[name]
        print(f"{said:>22}  {mutant.promise:<3} {name}" + (f" ({caught.violation})" if caught else ""), flush=True)
        if mutant.hint is not None and (caught is None or caught.seed != mutant.hint):
            print(f"{'':>22}  its hint, seed {mutant.hint}, catches it no more", flush=True)
        killed[name] = caught is not None
    if asked.json:
        print(json.dumps(Batch().as_json(killed)))
    return 0 if all(killed.values()) else 1


def _tell(verdict: Verdict, asked: argparse.Namespace, database: Database) -> None:
    if not verdict.violations:
        return
    plan = verdict.plan
    was = asked.regressions and plan == plain(plan.seed)
    if not asked.no_shrink and not asked.matrix and not was:
        wanted = {one.invariant for one in verdict.violations}
        plan = shrunk(plan, lambda smaller: not wanted.isdisjoint(one.invariant for one in run(smaller, database).violations))
    line = f"python -m lifecyclehub.torture --seed {plan.seed}"
    line += " --plain" if was else ""
    line += "" if asked.matrix or was or plan == plan_of(plan.seed) else f" --only '{written(plan)}'"
    if asked.json:
        print(json.dumps({"seed": plan.seed, "violations": list(map(str, verdict.violations)), "again": line}), flush=True)
    else:
        print(f"seed {plan.seed}: {line}", *(f"  {one}" for one in verdict.violations), sep="\n", flush=True)
        print(*(f"    {one}" for one in (*plan.acts, *plan.faults, *plan.crashes)), sep="\n", flush=True)


def _sum_up(batch: Batch, asked: argparse.Namespace) -> int:
    said = batch.as_json(None)
    if asked.json:
        print(json.dumps(said))
    else:
        print(
            f"{batch.seeds} scenarios, {said['virtual_days']} virtual days in {said['seconds']} s ({said['per_second']}/s, "
            f"{batch.cpu_s:.1f} CPU s): {said['lost']} lost, {said['doubled']} doubled, {said['loops']} loops, "
            f"{said['violations']} violations, {len(batch.failed)} failing seeds"
        )
        for name in said["not_tested"]:
            print(f"not tested: {name} (fewer than 20 times)")
    few = batch.too_few(asked.least)
    if few:
        print(f"not tested: only {batch.seeds} scenarios, at least {asked.least} are wanted", file=sys.stderr)
    return 1 if batch.failed or said["not_tested"] or few else 0


if __name__ == "__main__":
    sys.exit(main())
