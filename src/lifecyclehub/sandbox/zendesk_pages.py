"""The simulated Zendesk's pages: lists with cursors, and incremental exports."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

from lifecyclehub.sandbox.tool import VendorError
from lifecyclehub.sandbox.zendesk_records import Shown


def page_of(rows: list[Shown], query: dict[str, str], name: str) -> Shown:
    """Give a page of a list with cursor pagination."""
    unknown = sorted(set(query) - {"page[size]", "page[after]"})
    if unknown:
        raise VendorError(400, {"error": "InvalidParameter", "description": f"Unknown parameter {unknown[0]}"})
    size = int(query.get("page[size]", "100"))
    if not 1 <= size <= 100:
        raise VendorError(400, {"error": "InvalidPaginationParameter", "description": "page[size] must be between 1 and 100"})
    start = _place(query["page[after]"]) if query.get("page[after]") else 0
    shown = rows[start : start + size]
    more = start + size < len(rows)
    after = _cursor(start + size) if more else None
    return {
        name: shown,
        "meta": {"has_more": more, "after_cursor": after, "before_cursor": None},
        "links": {"prev": None, "next": None},
    }


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"at:{place}".encode()).decode()


def _place(cursor: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(cursor).decode().removeprefix("at:"))
    except ValueError:
        raise VendorError(400, {"error": "InvalidPaginationParameter", "description": "The cursor is not valid"}) from None


def exported(
    rows: list[tuple[datetime, int, Shown]], query: dict[str, str], name: str, now: datetime, *, by_cursor: bool
) -> Shown:
    """Give a page of an incremental export: what changed since, oldest first, by cursor or by time."""
    allowed = {"start_time", "per_page"} | ({"cursor"} if by_cursor else set())
    unknown = sorted(set(query) - allowed)
    if unknown or not {"start_time", "cursor"} & set(query):
        said = f"Unknown parameter {unknown[0]}" if unknown else "start_time or cursor is required"
        raise VendorError(400, {"error": "InvalidParameter", "description": said})
    size = int(query.get("per_page", "1000"))
    since, last_id = _export_place(query, now)
    left = sorted((row for row in rows if (int(row[0].timestamp()), row[1]) > (since, last_id)), key=lambda row: (row[0], row[1]))
    shown = left[:size]
    end = not left[size:]
    if not by_cursor:
        while not end and int(left[len(shown)][0].timestamp()) == int(shown[-1][0].timestamp()):
            shown = left[: len(shown) + 1]  # a page never ends within a second
            end = len(shown) == len(left)
        end_time = int(shown[-1][0].timestamp()) if shown else since
        return {
            name: [row[2] for row in shown],
            "count": len(shown),
            "end_time": end_time,
            "end_of_stream": end,
            "next_page": None,
        }
    after = f"{int(shown[-1][0].timestamp())}|{shown[-1][1]}" if shown else f"{since}|{last_id}"
    cursor = base64.urlsafe_b64encode(after.encode()).decode()
    return {name: [row[2] for row in shown], "after_cursor": cursor, "after_url": None, "end_of_stream": end}


def _export_place(query: dict[str, str], now: datetime) -> tuple[int, int]:
    if "cursor" in query:
        try:
            second, _, last_id = base64.urlsafe_b64decode(query["cursor"]).decode().partition("|")
            return int(second), int(last_id)
        except ValueError:
            raise VendorError(400, {"error": "InvalidParameter", "description": "The cursor is not valid"}) from None
    since = int(query["start_time"])
    if since > (now - timedelta(seconds=60)).timestamp():
        said = "Too recent start_time. Use a start_time older than 60 seconds"
        raise VendorError(422, {"error": "StartTimeTooRecent", "description": said})
    return since - 1, 2**62  # from this very second on
