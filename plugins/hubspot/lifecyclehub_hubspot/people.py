"""HubSpot's owners: whom records and tasks are assigned to. Their e-mail addresses tell which teammates they are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from zlib import crc32

from lifecyclehub.connector import Call, FieldInfo, Page
from lifecyclehub.errors import RecordGone, TryAgain
from lifecyclehub.messages import Document, Notice, Request
from lifecyclehub_hubspot.objects import answer, id_of, instant_of, next_after, record_answer, results

OWNER = "hubspot.owner"
OWNER_FIELDS = (
    FieldInfo(path="email", label="E-mail", type="email"),
    FieldInfo(path="firstName", label="First name", type="string"),
    FieldInfo(path="lastName", label="Last name", type="string"),
    FieldInfo(path="type", label="Type (PERSON or QUEUE)", type="string"),
)
LIST = "/crm/v3/owners"
# HubSpot's documented limit for one page of owners is 500.
PAGE = 500
NOTICES = 100


async def owner_of(call: Call, owner_id: str, *, archived: bool) -> dict[str, Any]:
    """Give an owner as HubSpot does. Raises RecordGone for one who is not there, or only as archived."""
    if not owner_id.isalnum():
        raise RecordGone(f"HubSpot has no owner {owner_id!r}")
    query = (("idProperty", "id"), ("archived", "true" if archived else "false"))
    owner: dict[str, Any] = record_answer(
        await call.send(Request(method="GET", path=f"{LIST}/{owner_id}", query=query)), f"owner {owner_id}"
    )
    return owner


async def fetch_owner(call: Call, owner_id: str) -> Document:
    """Fetch an owner. One whose user was deactivated is gone: nothing can be assigned to them."""
    owner = await owner_of(call, owner_id, archived=False)
    if id_of(owner.get("id")) != owner_id:
        raise TryAgain(f"asked for owner {owner_id}, HubSpot answered with {owner.get('id')}")
    if owner.get("archived") is True:
        raise RecordGone(f"HubSpot has archived owner {owner_id}")
    changed = instant_of(owner.get("updatedAt"))
    return Document(kind=OWNER, id=owner_id, account=call.account or None, changed_at=changed, data=owner)


async def sweep_owners(call: Call, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
    """List all owners and give those who are new, changed or not listed any more since the cursor.

    HubSpot does not say that `updatedAt` moves when a user is deactivated, so the cursor holds what was seen of each.
    """
    before: dict[str, str] = json.loads(cursor) if cursor is not None else {}
    now = {record_id: _seen(owner) for record_id, owner in [pair async for pair in _listed(call)]}
    news = [one for one, seen in now.items() if full or before.get(one) != seen]
    news += [one for one in before if one not in now]
    notices = [Notice(kind=OWNER, record_id=one, account=call.account or None) for one in news]
    for start in range(0, max(len(notices), 1), NOTICES):
        last = start + NOTICES >= len(notices)
        yield Page(tuple(notices[start : start + NOTICES]), _cursor(now) if last and not full else None, last=last)


async def _listed(call: Call) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
    after: str | None = None
    while True:
        query = (("limit", str(PAGE)), ("archived", "false"), *((("after", after),) if after else ()))
        page = answer(await call.send(Request(method="GET", path=LIST, query=query)), "list of owners")
        for owner in results(page, "owners"):
            record_id = id_of(owner.get("id"))
            if record_id is None:
                raise TryAgain("HubSpot listed an owner without an id")
            yield record_id, owner
        following = next_after(page)
        if following is None:
            return
        if following == after:
            raise TryAgain("HubSpot's list of owners does not get on")
        after = following


def _seen(owner: Mapping[str, Any]) -> str:
    said = [owner.get(name) for name in ("email", "firstName", "lastName", "type")]
    return f"{crc32(json.dumps(said).encode()):08x}"


def _cursor(seen: Mapping[str, str]) -> str:
    return json.dumps(seen, separators=(",", ":"), sort_keys=True)
