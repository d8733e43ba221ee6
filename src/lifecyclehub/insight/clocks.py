"""When something is due by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from lifecyclehub.connector import Kind
from lifecyclehub.store.things import Row

SWEEP_S: Final = 900.0
"""How often a connection that listens is swept; one that polls is swept as often as its kind says."""


def swept_every(connection: Row, kind: Kind) -> timedelta | None:
    """Give how often records of a kind are looked for on a connection, None where they cannot be."""
    if kind.fills is None or kind.poll_s is None:
        return None
    polled = float(connection["settings"].get("poll_s") or kind.poll_s) if connection["polls"] else SWEEP_S
    return timedelta(seconds=polled)
