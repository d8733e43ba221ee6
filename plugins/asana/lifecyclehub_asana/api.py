"""How Asana's API speaks: envelopes, errors, pages, times, and its records as documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from lifecyclehub.connector import Call, said_by, wished_by
from lifecyclehub.errors import CallFailed, Forbidden, NeedsReauthorization, NotOurJson, RecordGone, TryAgain, Unsupported
from lifecyclehub.messages import Absent, CannotTell, Document, Done, Found, Reply, Request, Sighting, marker_in

PROJECT, TASK, STORY, USER = "asana.project", "asana.task", "asana.story", "asana.user"

# Asana answers with compact records unless told which fields it should give.
PROJECT_FIELDS = (
    "name,notes,completed,completed_at,archived,created_at,modified_at,start_on,due_on,permalink_url,"
    "owner.name,owner.email,team.name,workspace.name,"
    "custom_fields.name,custom_fields.type,custom_fields.display_value"
)
TASK_FIELDS = (
    "name,notes,completed,completed_at,created_at,modified_at,due_on,permalink_url,"
    "assignee.name,assignee.email,projects.name,workspace.name"
)
STORY_FIELDS = "text,type,resource_subtype,created_at,created_by.name,target"
PAGE = 100  # the most that Asana gives at once
MOST_PAGES = 2_000


def path(*pieces: str) -> str:
    """Make a path of the API; record ids cannot break out of their place."""
    return "/" + "/".join(quote(piece, safe="") for piece in pieces)


def instant(text: Any) -> datetime | None:
    """Read a time of Asana's (ISO 8601, milliseconds, UTC), None where there is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def complaint(reply: Reply) -> str:
    """Give what Asana says is wrong: the messages of {"errors": [{"message", "help", "phrase"}]}."""
    return "; ".join(_errors(reply))[:300] or said_by(reply)


def _errors(reply: Reply) -> list[str]:
    try:
        return [str(one["message"]) for one in reply.json()["errors"]]
    except (NotOurJson, LookupError, TypeError):
        return []


def content(reply: Reply, what: str) -> dict[str, Any]:
    """Give the whole answer to a read. Raises RecordGone, Forbidden, Unsupported or TryAgain."""
    if reply.status in (404, 410) and _errors(reply):  # a page of some proxy's says nothing about a record
        raise RecordGone(f"{what}: {complaint(reply)}")
    if reply.status == 403:
        raise Forbidden(f"{what}: {complaint(reply)}")
    if reply.status == 402:
        raise Unsupported(f"{what}: {complaint(reply)}")
    if not 200 <= reply.status < 300:
        raise TryAgain(f"{what}: status {reply.status}: {complaint(reply)}", after=wished_by(reply))
    try:
        answer = reply.json()
    except NotOurJson as error:
        raise TryAgain(f"{what}: the answer is not Asana's ({error})") from error
    if not isinstance(answer, dict) or "data" not in answer:
        raise TryAgain(f"{what}: the answer has no data: {said_by(reply)}")
    return answer


def record(reply: Reply, what: str) -> dict[str, Any]:
    """Give the one record of an answer, which must have its id."""
    data = content(reply, what)["data"]
    if not isinstance(data, dict) or not is_gid(data.get("gid")):
        raise TryAgain(f"{what}: the answer has no gid: {said_by(reply)}")
    return data


def is_gid(value: Any) -> bool:
    """Tell whether this is an id of Asana's: a text, never a number or null."""
    return isinstance(value, str) and bool(value)


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list. `offset` of the next one, None on the last."""

    rows: tuple[dict[str, Any], ...]
    offset: str | None


class NoSuchPage(TryAgain):
    """Asana refuses the place in a list that it gave itself: such tokens end after a quarter of an hour."""


async def page(call: Call, where: str, query: Mapping[str, str], offset: str | None = None) -> Listing:
    """Read one page of a list; every row has its id. Raises NoSuchPage for an offset that Asana takes no more."""
    pairs = [*query.items(), ("limit", str(PAGE))]
    if offset is not None:
        pairs.append(("offset", offset))
    reply = await call.send(Request(method="GET", path=where, query=tuple(pairs)))
    if offset is not None and reply.status == 400:
        raise NoSuchPage(f"GET {where}: status 400: {complaint(reply)}")
    answer = content(reply, f"GET {where}")
    rows, further = answer["data"], answer.get("next_page")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and is_gid(row.get("gid")) for row in rows):
        raise TryAgain(f"GET {where}: the answer is not a list of records")
    if further is None:
        return Listing(tuple(rows), None)
    if not isinstance(further, dict) or not is_gid(further.get("offset")):
        raise TryAgain(f"GET {where}: the answer does not say where its next page is")
    return Listing(tuple(rows), further["offset"])


async def everything(call: Call, where: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """Read a list to its end. Raises rather than leaving anything out."""
    offset: str | None = None
    for _ in range(MOST_PAGES):
        listing = await page(call, where, query, offset)
        for row in listing.rows:
            yield row
        if listing.offset is None:
            return
        offset = listing.offset
    raise TryAgain(f"GET {where}: no end after {MOST_PAGES} pages")


def project_lists(workspace: str, fields: str) -> tuple[dict[str, str], ...]:
    """Give the queries that together list every project: those in use, then the archived ones."""
    return tuple({"workspace": workspace, "archived": archived, "opt_fields": fields} for archived in ("false", "true"))


async def sighting(call: Call, where: str, queries: tuple[dict[str, str], ...], marker: str, texts: tuple[str, ...]) -> Sighting:
    """Look for our marker in these texts of every row. A row without one of them, or any failure: cannot tell."""
    seen: dict[str, Done] = {}
    try:
        for query in queries:
            async for row in everything(call, where, query):
                if any(text not in row for text in texts):
                    return CannotTell(f"Asana left out {' or '.join(texts)} of {row['gid']} in GET {where}")
                if any(marker in (row[text] or "") for text in texts):
                    seen[row["gid"]] = Done(record_id=row["gid"], url=row.get("permalink_url"))
    except NeedsReauthorization:
        raise
    except (CallFailed, NotOurJson) as error:
        return CannotTell(str(error))
    return Found(tuple(seen.values())) if seen else Absent()


def project_document(data: Mapping[str, Any]) -> Document:
    """Make a document of a project. It has no version: see the README on why the latest fetch counts."""
    return _document(PROJECT, data, ("notes", "name"))


def task_document(data: Mapping[str, Any]) -> Document:
    """Make a document of a task."""
    return _document(TASK, data, ("notes",))


def story_document(data: Mapping[str, Any]) -> Document:
    """Make a document of a story: a comment, or what Asana itself noted on a task."""
    return _document(STORY, data, ("text",))


def _document(kind: str, data: Mapping[str, Any], texts: tuple[str, ...]) -> Document:
    workspace = data.get("workspace")
    return Document(
        kind=kind,
        id=data["gid"],
        account=workspace["gid"] if isinstance(workspace, dict) else None,
        changed_at=instant(data.get("modified_at")),
        data=data,
        marker=marker_in(*(data.get(text) for text in texts)),
        url=data.get("permalink_url"),
    )


DOCUMENTS: dict[str, tuple[str, str, Callable[[Mapping[str, Any]], Document]]] = {
    PROJECT: ("projects", PROJECT_FIELDS, project_document),
    TASK: ("tasks", TASK_FIELDS, task_document),
    STORY: ("stories", STORY_FIELDS, story_document),
}


async def fetched(call: Call, kind: str, gid: str) -> Document:
    """Fetch one record by its id, and make sure that it is the one."""
    collection, fields, document = DOCUMENTS[kind]
    reply = await call.send(Request(method="GET", path=path(collection, gid), query=(("opt_fields", fields),)))
    data = record(reply, f"GET {path(collection, gid)}")
    if data["gid"] != gid:
        raise TryAgain(f"asked for {kind} {gid}, Asana answered with {data['gid']}")
    return document(data)
