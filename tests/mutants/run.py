"""Applies small faults to a copy of the hub, one at a time, and expects the tests to find each of them.

A test that nobody has seen fail is no evidence. `mutants.toml` lists the faults: a promise, a file, text to find, text
to put there, and the tests that must fail. A mutant that survives, or text that is not found any more, fails the run.

    python tests/mutants/run.py [--only NAME ...] [--workers N] [--list]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.toml")
NEEDED = {"P1": 2, "P2": 2, "P3": 2, "P4": 2, "P5": 2, "P6": 2, "P10": 2}
TIMEOUT_S = 180
_FOUND, _NO_TESTS = 1, 5  # exit codes of pytest: tests failed; nothing was collected


@dataclass(frozen=True)
class Mutant:
    """One fault. `tests`: pytest arguments, the quickest tests that must notice it."""

    name: str
    promise: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """Whether the tests noticed a mutant, and how long that took."""

    mutant: Mutant
    killed: bool
    said: str
    seconds: float


def read() -> list[Mutant]:
    """Read the list. Raises SystemExit when it is not what it should be."""
    raw = tomllib.loads(LIST.read_text("utf-8"))["mutant"]
    mutants = [Mutant(**{**one, "tests": tuple(one["tests"])}) for one in raw]
    names = [one.name for one in mutants]
    if len(set(names)) != len(names):
        raise SystemExit("two mutants have the same name")
    for promise, least in NEEDED.items():
        count = sum(1 for one in mutants if one.promise == promise)
        if count < least:
            raise SystemExit(f"{promise} has {count} mutants; at least {least} are needed")
    for one in mutants:
        found = (ROOT / one.file).read_text("utf-8").count(one.find)
        if found != 1:
            raise SystemExit(f"{one.name}: its text stands {found} times in {one.file}; it must stand there once")
    return mutants


def run(mutant: Mutant) -> Verdict:
    """Run a mutant's tests against a copy of the source with the fault in it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / Path(mutant.file).relative_to("src")
        file.write_text(file.read_text("utf-8").replace(mutant.find, mutant.replace), "utf-8")
        # PYTHONPATH stands before the installed package, so that tests and their subprocesses see the mutant.
        ours = {"LIFECYCLEHUB_MUTANT": mutant.name, "LIFECYCLEHUB_TEST_ALL_STORIES": "1"}
        env = {**os.environ, **ours, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        call = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *mutant.tests]
        try:
            done = subprocess.run(call, cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
            code, said = done.returncode, done.stdout
        except subprocess.TimeoutExpired:
            code, said = _FOUND, "the tests did not come to an end"
    return Verdict(mutant, code == _FOUND, _line(said, code), time.monotonic() - began)


def _line(said: str, code: int) -> str:
    lines = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR", "E  "))] or said.splitlines()[-1:]
    if code == _NO_TESTS:
        return "no test was found"
    return lines[0][:110] if lines else f"pytest ended with {code}"


def main() -> int:
    """Run the mutants and say which survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    mutants = [one for one in read() if not options.only or one.name in options.only]
    if options.list:
        for one in mutants:
            print(f"{one.promise:4} {one.name}")
        return 0
    survivors = 0
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        for verdict in pool.map(run, mutants):
            survivors += not verdict.killed
            word = "killed  " if verdict.killed else "SURVIVED"
            print(
                f"{word} {verdict.mutant.promise:4} {verdict.mutant.name:45} {verdict.seconds:5.1f} s  {verdict.said}", flush=True
            )
    print(f"{len(mutants) - survivors} passed, {survivors} failed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
