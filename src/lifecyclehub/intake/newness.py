"""P4: older news never overwrites newer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from lifecyclehub.intake.observation import Observation
from lifecyclehub.store.things import Row

Age = Literal["newer", "older", "tie"]


def _version_key(version: str) -> tuple[int, int, str]:
    return (1, int(version), "") if version.isascii() and version.isdigit() else (0, 0, version)


def age(seen: Observation, link: Row | None, now: datetime) -> Age:
    """Tell whether an observation is newer than what the link holds.

    By vendor version, or by modification time within the clock's resolution, where the kind has one. What they leave
    open is decided by when our fetch began; a payload that ties is fetched again. A look that seems to have begun after
    `now` says nothing: our clock was put back since.
    """
    if link is None or link["fetched_at"] is None:
        return "newer"
    ended = link["deleted_at"] is not None or link["merged_into"] is not None
    if ended and not seen.fetched:
        return "tie"  # a delete beats a late update: only a fresh look brings a record back
    before = seen.seen_at < link["fetched_at"] <= now
    if ended and before:
        return "older"  # it was looked at before the look that found it gone, or merged into another one
    by_vendor = _by_vendor(seen, link)
    if by_vendor != "tie":
        return by_vendor
    if not seen.fetched:
        return "tie"
    return "older" if before else "newer"


def _by_vendor(seen: Observation, link: Row) -> Age:
    if seen.order == "version" and seen.version is not None and link["version"] is not None:
        mine, known = _version_key(seen.version), _version_key(link["version"])
        return "tie" if mine == known else "newer" if mine > known else "older"
    if seen.order == "time" and seen.changed_at is not None and link["changed_at"] is not None:
        off = seen.changed_at - link["changed_at"]
        if abs(off) < timedelta(seconds=seen.resolution_s) or not off:
            return "tie"
        return "newer" if off > timedelta(0) else "older"
    return "tie"
