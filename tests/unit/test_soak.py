"""What the benchmark's soak says of a hub that holds ever more, and of one that does not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

COUNTED = {"lost": 0, "doubled": 0, "acknowledged": 1}
ROUNDS = 24


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import soak

    yield soak
    for name in ("soak", "fat", "cases", "ledger", "load", "measuring", "server", "sink"):
        sys.modules.pop(name, None)


def wrong(soak: Any, memory: Sequence[float], files: Sequence[int] | None = None, each: int = 500) -> list[str]:
    files = files or [100] * len(memory)
    rounds = [soak.Held(each * (at + 1), kb, files[at], 12) for at, kb in enumerate(memory)]
    _, said = soak.judged(rounds, COUNTED)
    return list(said)


def test_a_hub_that_keeps_a_kilobyte_of_each_handoff_is_told(soak: Any) -> None:
    (said,) = wrong(soak, [100_000 + 500 * at for at in range(ROUNDS)])
    assert said.startswith("memory grows by 1000 KB per 1,000 handoffs")


def test_a_hub_that_keeps_an_open_file_now_and_then_is_told(soak: Any) -> None:
    (said,) = wrong(soak, [100_000] * ROUNDS, [100 + at for at in range(ROUNDS)])
    assert said == "the hub held 111 files at most in the first half and 123 in the second"


def test_caches_that_fill_and_an_allocator_that_jumps_are_no_leak(soak: Any) -> None:
    filling = [100_000 + min(at, ROUNDS // 2) * 2_000.0 for at in range(ROUNDS)]
    assert wrong(soak, filling) == []
    jumping = [100_000.0] * (ROUNDS - 3) + [108_000.0] * 3
    assert wrong(soak, jumping) == []


def test_a_longer_run_tells_less_from_what_an_allocator_does(soak: Any) -> None:
    slight = [100_000 + 100 * at for at in range(ROUNDS)]
    assert wrong(soak, slight) == []
    (said,) = wrong(soak, [100_000 + 100 * at for at in range(ROUNDS * 10)])
    assert said.startswith("memory grows by 200 KB")
