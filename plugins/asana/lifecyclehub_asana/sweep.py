"""Looking for changed projects that no webhook told of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from lifecyclehub.connector import Call, Page
from lifecyclehub.messages import Notice
from lifecyclehub_asana.api import PROJECT, Listing, NoSuchPage, instant, page, path, project_lists

# Asana's clock and ours differ, and a change may show up a little late: look this far back again.
OVERLAP = timedelta(minutes=10)
HINTS = "modified_at,completed_at"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sweep is: what it looks for (`since`, None for all), when it began, in which list, at which page."""

    since: str | None
    began: str | None = None
    listed: int = 0
    offset: str | None = None

    @classmethod
    def read(cls, cursor: str | None) -> Place:
        """Read a cursor that `written` made; None is the very beginning."""
        return cls(None) if cursor is None else cls(**json.loads(cursor))

    def written(self) -> str:
        """Write a cursor."""
        return json.dumps(asdict(self))


async def sweep_projects(call: Call, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
    """List all projects, archived ones too, and give those that changed since the cursor.

    Asana cannot filter projects by their modification, so every sweep lists them all, 100 at a time. A sweep that was
    broken off goes on at its page, or begins its list again where Asana does not know that page any more.
    """
    if cursor is None and not full:
        yield Page((), Place(_since(call)).written(), last=True)
        return
    place = Place.read(cursor)
    if place.began is None:
        place = replace(place, began=_since(call))
    lists = project_lists(call.account, HINTS)
    since = None if full else instant(place.since)
    resumed = place.offset
    while True:
        try:
            listing = await page(call, path("projects"), lists[place.listed], place.offset)
        except NoSuchPage:
            if resumed is None or place.offset != resumed:
                raise
            place, resumed = replace(place, offset=None), None
            continue
        notices = tuple(_notice(row, call.account) for row in listing.rows if _changed(row, since))
        following = _next(place, listing, len(lists))
        if following is None:
            yield Page(notices, None if full else Place(place.began).written(), last=True)
            return
        place = following
        yield Page(notices, place.written(), last=False)


def _since(call: Call) -> str:
    return (call.now() - OVERLAP).isoformat()


def _next(place: Place, listing: Listing, lists: int) -> Place | None:
    if listing.offset is not None:
        return replace(place, offset=listing.offset)
    if place.listed + 1 < lists:
        return replace(place, offset=None, listed=place.listed + 1)
    return None


def _touched(row: dict[str, Any]) -> datetime | None:
    times = [moment for moment in (instant(row.get("modified_at")), instant(row.get("completed_at"))) if moment]
    return max(times, default=None)


def _changed(row: dict[str, Any], since: datetime | None) -> bool:
    touched = _touched(row)
    return since is None or touched is None or touched >= since


def _notice(row: dict[str, Any], account: str) -> Notice:
    return Notice(kind=PROJECT, record_id=row["gid"], account=account, at=_touched(row))
