"""The failure catalogue names proofs that are there, and says plainly what has none."""

from __future__ import annotations

import re
from functools import cache

from lifecyclehub.torture.plan import KINDS, POINTS
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "contribute" / "failure-catalogue.md"
SIZES = {"A": 15, "B": 12, "C": 19, "D": 6, "E": 11, "F": 11, "G": 19, "H": 26}


@cache
def entries() -> dict[str, list[str]]:
    """Give the cells of each entry by its letter and number."""
    rows = re.findall(r"^\| ([A-H]\d+) \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {key: [cell.strip() for cell in rest.split("|")] for key, rest in rows}


def spans(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_every_entry_is_there() -> None:
    assert list(entries()) == [f"{group}{number}" for group, size in SIZES.items() for number in range(1, size + 1)]


def test_every_proof_is_a_test() -> None:
    files = [path for folder in ("tests", "plugins") for path in (ROOT / folder).rglob("test_*.py") if ".venv" not in path.parts]
    there = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))}
    named = {name for cells in entries().values() for name in spans(cells[2])}
    assert len(named) > 100
    assert named - there == set()


def test_every_simulated_fault_can_be_simulated() -> None:
    named = {name for cells in entries().values() for name in spans(cells[3])}
    assert len(named) > 20
    assert named - {*KINDS, *POINTS} == set()


def test_what_has_no_proof_is_listed_at_the_end() -> None:
    end = PAGE.read_text("utf-8").partition("## Not covered")[2]
    listed = set(re.findall(r"^- ([A-H]\d+), ", end, re.MULTILINE))
    assert listed == {key for key, cells in entries().items() if not spans(cells[2])}
