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
    open is decided by when our fetch began; a payload ties, and so do looks that were under way together. A look that
    seems to have begun after `now` says nothing: our clock was put back since.
    """
    if link is None or link["fetched_at"] is None:
        return "newer"
    ended = is_over(link)
    if ended and not seen.fetched:
        return "tie"  # a delete beats a late update: only a fresh look brings a record back
    by_look = by_looks(seen, link, now)
    if ended and by_look != "newer":
        return by_look  # it was looked at before the look that found it gone, or merged into another one
    by_vendor = _by_vendor(seen, link)
    if by_vendor != "tie":
        return by_vendor
    if not seen.fetched:
        return "tie"
    return by_look


def is_over(link: Row) -> bool:
    """Tell whether a record was seen to be gone, or merged into another one."""
    return link["deleted_at"] is not None or link["merged_into"] is not None


def by_looks(seen: Observation, link: Row, now: datetime) -> Age:
    """Tell which of two looks began later. Of two that were under way together nobody knows which one saw the later state."""
    began, ended = link["fetched_at"], link["answered_at"] or link["fetched_at"]
    if began > now:
        return "newer"  # our clock was put back since
    together = seen.seen_at < ended and began < (seen.answered_at or seen.seen_at)
    if together and (seen.seen_at, seen.answered_at) != (began, ended):
        return "tie"
    return "older" if seen.seen_at < began else "newer"


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
