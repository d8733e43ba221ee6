"""Everything that an admin configured, as one immutable value with a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from lifecyclehub.connector import About, Action
from lifecyclehub.handoffs import HandoffSet
from lifecyclehub.mapping import MappingSet


@dataclass(frozen=True, slots=True)
class Rules:
    """Mappings by connector, handoffs, tables. `version` names the applied set that effects are planned with.

    `earlier`: sets that waiting effects were planned with, by version; a sentence where one cannot be used any more.
    """

    version: str
    installation: str
    zone: ZoneInfo
    abouts: Mapping[str, About]
    mappings: Mapping[str, MappingSet]
    handoffs: HandoffSet
    earlier: Mapping[str, Rules | str] = field(default_factory=dict, repr=False, compare=False)

    def action(self, connector: str, name: str) -> Action[Any] | None:
        """Give what a connector can do by that name, None when it is not installed or cannot."""
        about = self.abouts.get(connector)
        return about.action(name) if about else None

    def planned_with(self, version: str) -> Rules | str | None:
        """Give the set that an effect was planned with, why it cannot be used, or None for one that is not known here yet."""
        return self if version == self.version else self.earlier.get(version)
