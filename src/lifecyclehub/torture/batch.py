"""Many scenarios: what they came to together, what they met, and whether that was enough to count as a test."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lifecyclehub.torture.database import Database
from lifecyclehub.torture.plan import KINDS, POINTS, Plan
from lifecyclehub.torture.scenario import Verdict, run

LEAST: Final = 20
FULL: Final = 2_000  # a batch of so many must have met everything at least so often


@dataclass(slots=True)
class Batch:
    """What some scenarios came to."""

    seeds: int = 0
    failed: list[Verdict] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    real_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """Take in one scenario."""
        self.seeds += 1
        self.fired += verdict.fired
        self.passed += verdict.passed
        self.virtual_s += verdict.virtual_s
        if verdict.violations:
            self.failed.append(verdict)

    def count(self, *words: str) -> int:
        """Count violations that any of these words is part of."""
        return sum(any(word in one.invariant for word in words) for verdict in self.failed for one in verdict.violations)

    def coverage(self) -> dict[str, int]:
        """Give how often each fault happened and each crash point killed."""
        found = {kind: self.fired[kind] for kind in KINDS}
        return found | {f"killed at {point}": self.fired[f"at {point}"] for point in POINTS}

    def not_tested(self) -> list[str]:
        """Name the faults that happened too seldom, and the points that were passed too seldom, for a full batch."""
        if self.seeds < FULL:
            return []
        faults = [kind for kind in KINDS if self.fired[kind] < LEAST]
        return faults + [point for point in POINTS if self.fired[f"at {point}"] < LEAST]

    def too_few(self, least: int) -> bool:
        """Tell whether fewer scenarios were run than wanted of a process that has a core for itself; half a core owes half."""
        share = min(self.cpu_s / self.real_s, 1.0) if self.real_s else 1.0
        return self.seeds < least * share

    def as_json(self, mutants: dict[str, bool] | None) -> dict[str, Any]:
        """Give the last line of the JSON output."""
        return {
            "seeds": self.seeds,
            "lost": self.count("lost"),
            "doubled": self.count("doubled"),
            "loops": self.count("P3", "I10"),
            "violations": sum(len(verdict.violations) for verdict in self.failed),
            "failed_seeds": [verdict.plan.seed for verdict in self.failed],
            "coverage": self.coverage(),
            "not_tested": self.not_tested(),
            "virtual_days": round(self.virtual_s / 86_400, 1),
            "seconds": round(self.real_s, 1),
            "per_second": round(self.seeds / self.real_s, 2) if self.real_s else None,
            "mutants": mutants or {},
        }


def run_all(
    plans: Iterable[Plan], database: Database, *, seconds: float | None = None, told: Callable[[Verdict], None] = lambda _: None
) -> Batch:
    """Run scenarios one after the other, for at most so many seconds."""
    batch, began, cpu = Batch(), time.monotonic(), time.process_time()
    for plan in plans:
        if seconds is not None and time.monotonic() - began > seconds:
            break
        verdict = run(plan, database)
        batch.add(verdict)
        told(verdict)
    batch.real_s, batch.cpu_s = time.monotonic() - began, time.process_time() - cpu
    return batch


@contextlib.contextmanager
def temporary_database(url: str | None = None) -> Iterator[Database]:
    """Give a database, with a home that is gone afterwards."""
    memory = "/dev/shm"  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="lh-torture-", dir=memory if Path(memory).is_dir() else None) as home:
        database = Database(Path(home), url)
        try:
            yield database
        finally:
            database.close()
