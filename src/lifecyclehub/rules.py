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
    """Mappings by connector, handoffs, tables. `version` names the applied set that effects are planned with."""

    version: str
    installation: str
    zone: ZoneInfo
    abouts: Mapping[str, About]
    mappings: Mapping[str, MappingSet]
    handoffs: HandoffSet
    content: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # by file, kept with the version

    def action(self, connector: str, name: str) -> Action[Any] | None:
        """Give what a connector can do by that name, None when it is not installed or cannot."""
        about = self.abouts.get(connector)
        return about.action(name) if about else None
