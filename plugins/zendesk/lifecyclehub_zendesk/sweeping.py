"""Sweeping with the incremental exports, which also show what was deleted.

Each pass starts anew by time, a little before the last one began: the exports leave out what changed within the last
minute, and what lies in the overlap costs one look. Within a pass tickets and users go on by cursor, organizations by
time. developer.zendesk.com, "Incremental exports" (10 requests a minute).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from lifecyclehub.connector import Call, Page, wished_by
from lifecyclehub.errors import TryAgain, Unsupported
from lifecyclehub.messages import Notice, Reply, Request
from lifecyclehub_zendesk.calls import id_text, instant, mapping_in, said

OVERLAP_S: Final = 300
BEGINNING: Final = 1


@dataclass(frozen=True, slots=True)
class _Export:
    path: str
    listed: str
    by_cursor: bool
    per_page: str  # up to 1000 are allowed, but tickets bring their whole descriptions along


_EXPORTS: Final[dict[str, _Export]] = {
    "zendesk.ticket": _Export("/api/v2/incremental/tickets/cursor.json", "tickets", by_cursor=True, per_page="250"),
    "zendesk.user": _Export("/api/v2/incremental/users/cursor.json", "users", by_cursor=True, per_page="500"),
    "zendesk.organization": _Export("/api/v2/incremental/organizations.json", "organizations", by_cursor=False, per_page="1000"),
}


@dataclass(frozen=True, slots=True)
class _Pass:
    """Where a pass stands: it began at `began`, lists from `since`, and goes on at `after`."""

    since: int
    began: int
    after: str | None = None

    def text(self) -> str:
        return json.dumps({"since": self.since, "began": self.began, "after": self.after})

    @classmethod
    def resumed(cls, cursor: str | None, now: int, *, full: bool) -> _Pass:
        if cursor is None:
            return cls(since=BEGINNING if full else now - OVERLAP_S, began=now)
        state = json.loads(cursor)
        if state.get("after") is None:
            return cls(since=int(state["since"]), began=now)
        return cls(since=int(state["since"]), began=int(state["began"]), after=str(state["after"]))

    def following(self) -> _Pass:
        """The next pass, which lists again what changed shortly before this one began."""
        return _Pass(since=max(BEGINNING, self.began - OVERLAP_S), began=self.began)


async def sweep(call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
    """Give pages of notices with the records' times, oldest change first, deleted records included."""
    export = _EXPORTS.get(kind)
    if export is None:
        raise Unsupported(f"Zendesk has no export of {kind}")
    here = _Pass.resumed(cursor, int(call.now().timestamp()), full=full)
    while True:
        body, here = await _page(call, export, here)
        last = body.get("end_of_stream") is True
        following = here.following() if last else replace(here, after=_after(export, body, here))
        notices = tuple(_notices(kind, export, body))
        yield Page(notices=notices, cursor=None if full and last else following.text(), last=last)
        if last:
            return
        here = following


async def _page(call: Call, export: _Export, here: _Pass) -> tuple[Mapping[str, Any], _Pass]:
    """Get a page; a cursor that Zendesk does not take any more begins the pass again."""
    reply = await _ask(call, export, here)
    if reply.status in (400, 404, 410, 422) and here.after is not None:
        here = replace(here, after=None)
        reply = await _ask(call, export, here)
    if not 200 <= reply.status < 300:
        raise TryAgain(f"GET {export.path}: status {reply.status}: {said(reply)}", after=wished_by(reply))
    return mapping_in(reply), here


async def _ask(call: Call, export: _Export, here: _Pass) -> Reply:
    if here.after is None:
        place = ("start_time", str(here.since))
    else:
        place = ("cursor" if export.by_cursor else "start_time", here.after)
    return await call.send(Request(method="GET", path=export.path, query=(place, ("per_page", export.per_page))))


def _after(export: _Export, body: Mapping[str, Any], here: _Pass) -> str:
    """Give where the next page begins. A time-based export may repeat records, but must move on."""
    after = id_text(body.get("after_cursor" if export.by_cursor else "end_time"))
    if after is None or after in (here.after, "" if export.by_cursor else str(here.since)):
        raise TryAgain(f"GET {export.path}: Zendesk promised more but gave no way to it")
    return after


def _notices(kind: str, export: _Export, body: Mapping[str, Any]) -> list[Notice]:
    records = body.get(export.listed)
    if not isinstance(records, list):
        raise TryAgain(f"GET {export.path}: Zendesk answered without {export.listed}")
    notices = []
    for record in records:
        record_id = id_text(record.get("id")) if isinstance(record, dict) else None
        if record_id is None:
            raise TryAgain(f"GET {export.path}: one of the {export.listed} has no id")
        if kind == "zendesk.user" and record.get("role") in ("agent", "admin"):
            continue  # our own people are no contacts of a client
        gone = record.get("status") == "deleted" or record.get("active") is False or bool(record.get("deleted_at"))
        change: Literal["changed", "deleted"] = "deleted" if gone else "changed"
        notices.append(Notice(kind=kind, record_id=record_id, at=instant(record.get("updated_at")), change=change))
    return notices
