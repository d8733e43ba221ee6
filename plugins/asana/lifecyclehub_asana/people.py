"""The people of the workspace: Asana assigns by their gid, we know them by e-mail address."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from zlib import crc32

from lifecyclehub.connector import Call, Page
from lifecyclehub.errors import RecordGone, TryAgain
from lifecyclehub.messages import Document, Notice, Request
from lifecyclehub_asana.api import USER, everything, path, record

# The list of one workspace's users ends after 2,000 people; this one, filtered by the workspace, has pages.
LISTED = {"opt_fields": "name,email"}
FETCHED = "name,email,workspaces.name"
NOTICES = 100


async def fetch_person(call: Call, gid: str) -> Document:
    """Fetch a person. Raises RecordGone for one who is not in the workspace any more, though Asana still knows them."""
    where = path("users", gid)
    data = record(await call.send(Request(method="GET", path=where, query=(("opt_fields", FETCHED),))), f"GET {where}")
    if data["gid"] != gid:
        raise TryAgain(f"asked for {USER} {gid}, Asana answered with {data['gid']}")
    # Asana gives only those workspaces that we are in too.
    workspaces = data.get("workspaces")
    if not isinstance(workspaces, list):
        raise TryAgain(f"GET {where}: the answer does not say in which workspaces this person is")
    if call.account not in {one.get("gid") for one in workspaces if isinstance(one, dict)}:
        raise RecordGone(f"{data.get('name') or gid} is not in the workspace {call.account} any more")
    return Document(kind=USER, id=gid, account=call.account or None, data=data)


async def sweep_people(call: Call, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
    """List all people of the workspace and give those who are new, changed or not listed any more since the cursor.

    Asana tells no time of a person's change, so the cursor holds what was seen of each.
    """
    before: dict[str, str] = json.loads(cursor) if cursor is not None else {}
    listed = everything(call, path("users"), {"workspace": call.account, **LISTED})
    now = {row["gid"]: _seen(row) async for row in listed}
    news = [gid for gid, seen in now.items() if full or before.get(gid) != seen]
    news += [gid for gid in before if gid not in now]  # gone, or only hidden: the fetch tells
    notices = [Notice(kind=USER, record_id=gid, account=call.account or None) for gid in news]
    for start in range(0, max(len(notices), 1), NOTICES):
        last = start + NOTICES >= len(notices)
        yield Page(tuple(notices[start : start + NOTICES]), _cursor(now) if last and not full else None, last=last)


def _seen(row: Mapping[str, Any]) -> str:
    said = [row.get("name"), row.get("email")]
    return f"{crc32(json.dumps(said).encode()):08x}"


def _cursor(seen: Mapping[str, str]) -> str:
    return json.dumps(seen, separators=(",", ":"), sort_keys=True)
