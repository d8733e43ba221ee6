"""What all calls to Zendesk have in common: reading a reply, its errors, its times."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from lifecyclehub.connector import Call, said_by, wished_by
from lifecyclehub.errors import Forbidden, NotOurJson, RecordGone, TryAgain
from lifecyclehub.messages import Reply, Request

PAGE_SIZE = 100  # the most that cursor pagination gives
MOST_PAGES = 1000


def said(reply: Reply, limit: int = 300) -> str:
    """Give what Zendesk said in one line: its description and the description of every detail.

    Support answers {"error", "description", "details"}, the webhooks API {"errors": [{"title", "detail"}]}, OAuth
    {"error", "error_description"}.
    """
    try:
        body = reply.json()
    except NotOurJson:
        return said_by(reply, limit)
    found: list[str] = []
    _sentences(body, found)
    return " ".join("; ".join(dict.fromkeys(found)).split())[:limit] or said_by(reply, limit)


_SPEAKING = ("error_description", "description", "message", "detail", "title", "error")


def _sentences(value: Any, found: list[str]) -> None:
    """Collect the sentences of an error body, the more telling members first."""
    if isinstance(value, list):
        for one in value:
            _sentences(one, found)
    elif isinstance(value, dict):
        found.extend(value[name] for name in _SPEAKING if isinstance(value.get(name), str))
        for one in value.values():
            if isinstance(one, dict | list):
                _sentences(one, found)


def mapping_in(reply: Reply) -> Mapping[str, Any]:
    """Read a 2xx body that must be a JSON object. Raises TryAgain for anything else, such as a log-in page."""
    try:
        body = reply.json()
    except NotOurJson as error:
        raise TryAgain(f"Zendesk answered {reply.status} with something that is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise TryAgain(f"Zendesk answered {reply.status} with {type(body).__name__} instead of an object")
    return body


async def get(call: Call, path: str, query: tuple[tuple[str, str], ...] = (), *, record: str = "") -> Mapping[str, Any]:
    """Get an object. With `record` (its name in sentences) 404 and 410 are RecordGone; 403 is always Forbidden."""
    reply = await call.send(Request(method="GET", path=path, query=query))
    if 200 <= reply.status < 300:
        return mapping_in(reply)
    if record and reply.status in (404, 410):
        raise RecordGone(f"{record} does not exist in Zendesk (status {reply.status})")
    if reply.status == 403:
        raise Forbidden(f"Zendesk refuses {record or path}: {said(reply)}")
    raise TryAgain(f"GET {path}: status {reply.status}: {said(reply)}", after=wished_by(reply))


async def pages(
    call: Call, path: str, query: tuple[tuple[str, str], ...] = (), *, record: str = ""
) -> AsyncIterator[Mapping[str, Any]]:
    """Give every page of a list with cursor pagination. Raises TryAgain when the list does not come to its end."""
    after: str | None = None
    for _ in range(MOST_PAGES):
        cursor = (("page[after]", after),) if after else ()
        page = await get(call, path, (("page[size]", str(PAGE_SIZE)), *query, *cursor), record=record)
        yield page
        meta = page.get("meta")
        if not isinstance(meta, dict) or not isinstance(meta.get("has_more"), bool):
            raise TryAgain(f"GET {path}: Zendesk did not say whether there are more pages")
        if not meta["has_more"]:
            return
        following = meta.get("after_cursor")
        if not isinstance(following, str) or following == after:
            raise TryAgain(f"GET {path}: Zendesk promised more pages but gave no way to them")
        after = following
    raise TryAgain(f"GET {path}: more than {MOST_PAGES} pages")


def segment(record_id: str) -> str:
    """Make an id safe inside a path."""
    return quote(record_id, safe="")


def id_text(value: Any) -> str | None:
    """Give a Zendesk id as text: they are numbers in the API and strings in events. None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def instant(value: Any) -> datetime | None:
    """Read an ISO time, aware UTC; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
