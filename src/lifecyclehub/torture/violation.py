"""What the torture test finds wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant, and what was seen."""

    invariant: str
    what: str

    @property
    def missing(self) -> bool:
        """Tell whether it is only that something is not there, or not known, yet."""
        return self.invariant.endswith("lost") or self.invariant == "I7"

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"
