"""Fetching a record with what its mapping needs: a deal with its stage's past, owner, company and contacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lifecyclehub.connector import Call
from lifecyclehub.errors import Moved, RecordGone
from lifecyclehub.messages import Document, Request
from lifecyclehub_hubspot.objects import (
    BATCH,
    COMPANY,
    DEAL,
    OBJECTS,
    HubSpotObject,
    document,
    id_of,
    object_path,
    read_batch,
    record_answer,
    wanted_properties,
)
from lifecyclehub_hubspot.people import owner_of

# How association types call the one company that HubSpot shows as primary (type ids 5 and 1); others are "…_unlabeled".
PRIMARY = ("deal_to_company", "contact_to_company")


async def fetch_record(call: Call, kind: HubSpotObject, record_id: str) -> Document:
    """Fetch one record. Raises RecordGone for a deleted one, Moved for one that was merged into another, Forbidden."""
    record = await fetch_bare(call, kind, record_id, wanted_properties(kind, call.settings))
    related: tuple[Document, ...] = ()
    for other in kind.associated:
        related += await _related(call, OBJECTS[other], record)
    if kind is DEAL:
        # HubSpot's own JSON knows the owner by id only; teammates are matched by e-mail.
        record = {**record, "owner": await _owner(call, record)}
    return document(kind, record, call, related)


async def fetch_bare(call: Call, kind: HubSpotObject, record_id: str, properties: Iterable[str]) -> dict[str, Any]:
    """Fetch one record alone, as HubSpot gives it, with its past and associations where its kind says so."""
    wanted = {
        "properties": ",".join(properties),
        "propertiesWithHistory": ",".join(kind.history),
        "associations": ",".join(OBJECTS[other].path for other in kind.associated),
    }
    query = (*((name, value) for name, value in wanted.items() if value), ("archived", "false"))
    about = f"{kind.word} {record_id}"
    reply = await call.send(Request(method="GET", path=object_path(kind, record_id), query=query))
    record: dict[str, Any] = record_answer(reply, about)
    found = id_of(record.get("id"))
    if found is not None and found != record_id:
        raise Moved(found)  # asked for by the id of a record that was merged, HubSpot gives the one it was merged into
    if record.get("archived") is True:
        raise RecordGone(f"HubSpot has archived {about}")
    return record


async def _related(call: Call, kind: HubSpotObject, record: Mapping[str, Any]) -> tuple[Document, ...]:
    ids = associated_ids(record, kind)
    if not ids:
        return ()
    found = await read_batch(call, kind, ids, wanted_properties(kind, call.settings))
    by_asked = {id_of(one.get("id")): one for one in found}
    return tuple(document(kind, by_asked[one], call) for one in ids if one in by_asked)


def associated_ids(record: Mapping[str, Any], kind: HubSpotObject) -> list[str]:
    """Give the ids of the associated records of a kind: of companies only the primary one (else the first)."""
    associations = record.get("associations")
    of_kind = associations.get(kind.path) if isinstance(associations, Mapping) else None
    listed = of_kind.get("results") if isinstance(of_kind, Mapping) else None
    pairs = [(id_of(one.get("id")), one.get("type")) for one in listed or () if isinstance(one, Mapping)]
    ids = [one for one in dict.fromkeys(one for one, _ in pairs) if one is not None]
    if kind is not COMPANY:
        return ids[:BATCH]
    primary = [one for one, how in pairs if how in PRIMARY and one is not None]
    return (primary or ids)[:1]


async def _owner(call: Call, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Fetch the deal's owner. One whose user was removed is still there as archived."""
    properties = record.get("properties")
    owner_id = id_of(properties.get("hubspot_owner_id")) if isinstance(properties, Mapping) else None
    for archived in (False, True):
        try:
            return await owner_of(call, owner_id or "", archived=archived)
        except RecordGone:
            continue
    return None
