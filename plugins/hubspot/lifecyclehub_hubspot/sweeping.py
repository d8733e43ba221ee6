"""Looking for what webhooks missed: by time of change through the search, in full through the list."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from lifecyclehub.connector import Call, Page
from lifecyclehub.errors import TryAgain
from lifecyclehub.messages import Notice, Request
from lifecyclehub_hubspot.objects import HubSpotObject, answer, changed_at, id_of, next_after, object_path, results

# A change takes a while until the search shows it, and the two clocks differ: look that far back again.
BACK = timedelta(minutes=10) // timedelta(milliseconds=1)
SEARCH_PAGE = 200
LIST_PAGE = 100
# HubSpot gives no more than this many results of one search; asking beyond them is an error.
SEARCH_LIMIT = 10_000


def _notice(call: Call, kind: HubSpotObject, record: dict[str, Any]) -> Notice:
    record_id = id_of(record.get("id"))
    if record_id is None:
        raise TryAgain(f"HubSpot listed a {kind.word} without an id")
    return Notice(kind=kind.kind, record_id=record_id, account=call.account or None, at=changed_at(kind, record))


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _cursor(**members: int | str) -> str:
    return json.dumps(members, separators=(",", ":"), sort_keys=True)


async def sweep_all(call: Call, kind: HubSpotObject, cursor: str | None) -> AsyncIterator[Page]:
    """Go through the whole list, which is complete and never late."""
    after = json.loads(cursor).get("after") if cursor else None
    while True:
        query = [("limit", str(LIST_PAGE)), ("properties", kind.modified), ("archived", "false")]
        if after:
            query.append(("after", after))
        page = answer(await call.send(Request(method="GET", path=object_path(kind), query=tuple(query))), f"list of {kind.path}")
        notices = tuple(_notice(call, kind, record) for record in results(page, kind.path))
        following = next_after(page)
        if following is not None and following == after:
            raise TryAgain(f"HubSpot's list of {kind.path} does not get on: the next page is the same one")
        after = following
        yield Page(notices=notices, cursor=_cursor(after=after) if after else None, last=after is None)
        if after is None:
            return


async def sweep_changes(call: Call, kind: HubSpotObject, cursor: str | None) -> AsyncIterator[Page]:
    """Search for what changed since the cursor, oldest first.

    Each page begins at the last time seen instead of at a page number: what changes meanwhile moves to the end and
    would let others slip through between numbered pages. It also keeps every search under HubSpot's limit.
    """
    began = call.now()
    if cursor is None:
        yield Page(notices=(), cursor=_cursor(since=_millis(began)), last=True)
        return
    low = int(json.loads(cursor)["since"]) - BACK
    seen: set[tuple[str, datetime | None]] = set()
    after: str | None = None
    while True:
        page = await _search(call, kind, low, after)
        notices = tuple(_notice(call, kind, record) for record in results(page, kind.path))
        fresh = tuple(one for one in notices if (one.record_id, one.at) not in seen)
        seen = {(one.record_id, one.at) for one in notices} | (seen if after else set())
        following = next_after(page)
        if following is None:
            yield Page(notices=fresh, cursor=_cursor(since=_millis(began)), last=True)
            return
        high = max((_millis(one.at) for one in notices if one.at), default=low)
        yield Page(notices=fresh, cursor=_cursor(since=max(high, low) + BACK), last=False)
        if high > low:
            low, after = high, None
        elif following == after or not following.isdigit() or int(following) >= SEARCH_LIMIT:
            moment = datetime.fromtimestamp(low / 1000, UTC).isoformat()
            raise TryAgain(f"more {kind.path} changed at {moment} than HubSpot's search gives; the full sweep will find them")
        else:
            after = following  # a whole page of the same millisecond, as after an import


async def _search(call: Call, kind: HubSpotObject, low: int, after: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "filterGroups": [{"filters": [{"propertyName": kind.modified, "operator": "GTE", "value": str(low)}]}],
        "sorts": [{"propertyName": kind.modified, "direction": "ASCENDING"}],
        "properties": [kind.modified],
        "limit": SEARCH_PAGE,
    }
    if after is not None:
        body["after"] = after
    request = Request(method="POST", path=object_path(kind, tail="/search"), json=body)
    page: dict[str, Any] = answer(await call.send(request), f"search for {kind.path}")
    return page
