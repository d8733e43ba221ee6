"""Webhooks: from a batch of thin entries to notices.

HubSpot's pages: "Webhooks" and "Create generic webhook subscriptions". An entry names one change of one record; a
propertyChange carries one value only, so the record is always fetched. HubSpot says that `eventId` is *not*
guaranteed to be unique, and repeats an entry with a higher `attemptNumber` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from lifecyclehub.messages import Json, Notice
from lifecyclehub_hubspot.objects import OBJECTS, id_of, instant_of

Entry: TypeAlias = Mapping[str, Any]
Change: TypeAlias = Literal["changed", "deleted", "merged"]
How: TypeAlias = Change | Literal["associated"]

# The second half of a subscription type. All others, and those that HubSpot may add, mean that something changed.
HOW: dict[str, How] = {
    "creation": "changed",
    "propertyChange": "changed",
    "restore": "changed",
    "deletion": "deleted",
    "privacyDeletion": "deleted",
    "merge": "merged",
    "associationChange": "associated",
}

# The first half of the older subscription types (deal.creation), and in capitals the ends of an associationType.
KINDS_BY_WORD = {one.word: one.kind for one in OBJECTS.values()}

# The newer ones are all called object.*, and the entry says in objectTypeId what it is about.
KINDS_BY_TYPE = {one.type_id: one.kind for one in OBJECTS.values()}


def notices(body: Json) -> Iterator[Notice]:
    """Split a delivery; what is no entry becomes a notice of the kind hubspot.unreadable and spoils no neighbour."""
    entries = body if isinstance(body, list) else [body]
    for position, entry in enumerate(entries):
        if isinstance(entry, Mapping):
            found = tuple(_read(entry))
            yield from found or (_unreadable(position, entry),)
        elif entry is not None:
            yield _unreadable(position, {})


def _read(entry: Entry) -> Iterator[Notice]:
    word, _, change = str(entry.get("subscriptionType") or "").partition(".")
    if not word or not change:
        return
    match HOW.get(change, "changed"):
        case "associated":
            yield from _associated(entry, word)
        case "merged":
            yield from _merged(entry, word)
        case plain:
            if (record_id := id_of(entry.get("objectId"))) is not None:
                yield _notice(entry, _kind(entry, word), record_id, change=plain)


def _kind(entry: Entry, word: str, end: str = "objectTypeId") -> str:
    if word != "object":
        return KINDS_BY_WORD.get(word, f"hubspot.{word}")
    type_id = id_of(entry.get(end)) or "object"
    return KINDS_BY_TYPE.get(type_id, f"hubspot.{type_id}")


def _associated(entry: Entry, word: str) -> Iterator[Notice]:
    """Both ends have changed. HubSpot rings for each end only when both are subscribed to, so each entry rings for both."""
    ends = {"fromObjectId": _kind(entry, word, "fromObjectTypeId"), "toObjectId": _far_end(entry, word)}
    for place, kind in ends.items():
        record_id = id_of(entry.get(place))
        if record_id is not None and (kind in OBJECTS or place == "fromObjectId"):
            yield _notice(entry, kind, record_id)


def _far_end(entry: Entry, word: str) -> str:
    if word == "object":
        return _kind(entry, word, "toObjectTypeId")
    far = str(entry.get("associationType") or "").rpartition("_TO_")[2].lower()  # DEAL_TO_COMPANY
    return KINDS_BY_WORD.get(far, f"hubspot.{far}")


def _merged(entry: Entry, word: str) -> Iterator[Notice]:
    """A merge makes a new record with a new id (`newObjectId`) out of all the old ones; older merges kept the primary one."""
    kind = _kind(entry, word)
    primary = id_of(entry.get("primaryObjectId")) or id_of(entry.get("objectId"))
    survivor = id_of(entry.get("newObjectId")) or primary
    listed = entry.get("mergedObjectIds")
    merged = [id_of(one) for one in listed] if isinstance(listed, list) else []
    if survivor is None:
        return
    for old in dict.fromkeys((*merged, primary)):
        if old is not None and old != survivor:
            yield _notice(entry, kind, old, change="merged", into=survivor)
    yield _notice(entry, kind, survivor)


def _notice(entry: Entry, kind: str, record_id: str, *, change: Change = "changed", into: str | None = None) -> Notice:
    return Notice(
        kind=kind,
        record_id=record_id,
        account=id_of(entry.get("portalId")),
        key=_key(entry, kind, record_id),
        at=instant_of(entry.get("occurredAt")),
        actor=_actor(entry),
        change=change,
        into=into,
    )


def _key(entry: Entry, kind: str, record_id: str) -> str | None:
    """Name the entry. As `eventId` alone is not unique, the key also holds the time of the event and the record."""
    parts = [id_of(entry.get(name)) for name in ("subscriptionId", "eventId", "occurredAt")]
    return None if None in parts else ":".join((*(part or "" for part in parts), kind, record_id))


def _actor(entry: Entry) -> str | None:
    said = [part for part in (entry.get("changeSource"), entry.get("sourceId")) if isinstance(part, str) and part]
    return ":".join(said) or None


def _unreadable(position: int, entry: Entry) -> Notice:
    return Notice(kind="hubspot.unreadable", record_id=f"entry-{position}", account=id_of(entry.get("portalId")))
