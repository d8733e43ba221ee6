"""Times in sentences."""

from __future__ import annotations

from datetime import UTC, datetime


def told(moment: datetime) -> str:
    """Write a moment for people, to the second: `2026-01-31 09:00:00 UTC`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
