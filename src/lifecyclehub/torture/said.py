"""What a vendor answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lifecyclehub.jsonio import dumps


@dataclass(frozen=True, slots=True)
class Said:
    """What the vendor answers. `acted`: something was written."""

    status: int
    body: Any
    acted: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Give the body as it goes over the wire."""
        return self.body if isinstance(self.body, bytes) else dumps(self.body).encode()


class Refuse(Exception):
    """The vendor says no."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.said = Said(status, {"error": why})
