"""The records of the simulated HubSpot, their past, their associations, and the webhook entries that changes make."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lifecyclehub.messages import marker_in
from lifecyclehub.sandbox.history import History
from lifecyclehub.sandbox.hubspot_shape import (
    ASSOCIATIONS,
    CREATED,
    LIFECYCLE,
    MODIFIED,
    REQUIRED,
    STAGES,
    WORDS,
    check_properties,
    error,
    not_found,
    stamp,
)

PERSON = ("CRM_UI", "userId:771")
API = ("INTEGRATION", "1740025")
APP_ID = 1740025

# What the app is subscribed to, as its owner set it up in HubSpot's pages. Notes and tasks ring through num_notes.
SUBSCRIBED = {
    "deal": "dealname dealstage pipeline amount deal_currency_code description hubspot_owner_id closedate num_notes service_line",
    "company": "name domain phone country city lifecyclestage",
    "contact": "firstname lastname email phone mobilephone",
}
_CHANGES = ("creation", "deletion", "merge", "restore", "associationChange")
SUBSCRIPTIONS = {
    name: 4_100_001 + place
    for place, name in enumerate(
        [f"{word}.{change}" for word in SUBSCRIBED for change in _CHANGES]
        + [f"{word}.propertyChange:{name}" for word, names in SUBSCRIBED.items() for name in names.split()]
    )
}


@dataclass(slots=True)
class Record:
    """One record. `born` is on the monotonic clock, so that it can be hidden for a while."""

    path: str
    id: str
    created: datetime
    updated: datetime
    born: float
    properties: dict[str, str] = field(default_factory=dict)
    past: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    archived_at: datetime | None = None

    @property
    def archived(self) -> bool:
        return self.archived_at is not None

    @property
    def name(self) -> str:
        mine = self.properties
        person = f"{mine.get('firstname', '')} {mine.get('lastname', '')}".strip()
        return mine.get("dealname") or mine.get("name") or mine.get("hs_task_subject") or person


class State:
    """All records of one account. Every change writes a history line and adds its webhook entries to `entries`."""

    def __init__(self, history: History, portal: int, now: Callable[[], datetime]) -> None:
        self.history, self.portal, self.now = history, portal, now
        self.records: dict[tuple[str, str], Record] = {}
        self.merged: dict[tuple[str, str], str] = {}
        self.associations: dict[tuple[str, str], dict[tuple[str, str], set[int]]] = {}
        self.entries: list[dict[str, Any]] = []
        self._next_id = time.time_ns() // 1_000_000
        self._random = random.Random()

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, path: str, record_id: str, *, archived: bool = False) -> Record:
        """Give a record; asked for by the id of a merged one, the record that it was merged into."""
        key = (path, record_id)
        while key in self.merged:
            key = (path, self.merged[key])
        record = self.records.get(key)
        if record is None or record.archived != archived:
            raise not_found(path, record_id)
        return record

    def of(self, path: str) -> list[Record]:
        """Give all records of a kind, archived ones too, oldest id first."""
        return sorted((one for (kind, _), one in self.records.items() if kind == path), key=lambda one: int(one.id))

    def first(self, path: str, name: str, value: str) -> Record | None:
        """Give the living record whose property has this value."""
        return next((one for one in self.of(path) if not one.archived and value and one.properties.get(name) == value), None)

    def associated(self, record: Record, to: str) -> list[tuple[Record, set[int]]]:
        """Give the living records of a kind that a record is associated with, and how."""
        pairs = self.associations.get((record.path, record.id), {}).items()
        return [(self.records[key], types) for key, types in pairs if key[0] == to and not self.records[key].archived]

    # --- changing ---------------------------------------------------------------------------------------------------

    def create(self, path: str, properties: Any, by: tuple[str, str], on: list[str] | None = None) -> Record:
        """Make a record, with every check that HubSpot makes. `on`: which records it will be tied to, for the history."""
        checked = check_properties(path, properties)
        missing = [name for name in REQUIRED.get(path, ()) if not checked.get(name)]
        if missing:
            message = f"Error creating {WORDS[path].upper()}. Some required properties were not set."
            raise error(400, "VALIDATION_ERROR", message, context={"properties": missing})
        self._refuse_twin(path, checked)
        now = self.now()
        self._next_id += 1
        record = Record(path, str(self._next_id), now, now, time.monotonic())
        self.records[path, record.id] = record
        self._event(record, "creation", by, changeFlag="CREATED")
        defaults = {"dealstage": "appointmentscheduled", "pipeline": "default"} if path == "deals" else {}
        defaults |= {CREATED[path]: stamp(now), "hs_object_id": record.id}
        self._set(record, {**defaults, **checked}, by)
        text = checked.get("hs_note_body") or checked.get("hs_task_body")
        self._tell("created", record, by, name=record.name, marker=marker_in(text, record.name), text=text, on=on)
        return record

    def _refuse_twin(self, path: str, properties: dict[str, str]) -> None:
        twin = self.first(path, "email", properties.get("email", "")) if path == "contacts" else None
        if twin is not None:
            raise error(409, "CONFLICT", f"Contact already exists. Existing ID: {twin.id}")

    def update(self, record: Record, properties: Any, by: tuple[str, str]) -> None:
        """Change properties. A lifecycle stage that would move back is left as it is, without a word."""
        checked = check_properties(record.path, properties)
        stage, present = checked.get("lifecyclestage"), record.properties.get("lifecyclestage")
        if stage and present and LIFECYCLE.index(stage) < LIFECYCLE.index(present):
            del checked["lifecyclestage"]
        changed = {name: value for name, value in checked.items() if record.properties.get(name, "") != value}
        if changed:
            self._set(record, changed, by)
            self._tell("changed", record, by, fields=changed)

    def archive(self, record: Record, by: tuple[str, str]) -> None:
        """Put a record into the recycling bin; its associations come back only when it is restored."""
        record.archived_at = self.now()
        self._event(record, "deletion", by, changeFlag="DELETED")
        self._tell("deleted", record, by)

    def restore(self, record: Record, by: tuple[str, str]) -> None:
        """Take a record out of the recycling bin."""
        record.archived_at = None
        record.updated = self.now()
        record.properties[MODIFIED[record.path]] = stamp(record.updated)
        self._event(record, "restore", by)
        self._tell("restored", record, by)

    def merge(self, primary: Record, other: Record, by: tuple[str, str]) -> Record:
        """Merge two records of a kind into a new one with a new id; both old ids lead to it from then on."""
        path = primary.path
        properties = {name: value for one in (other, primary) for name, value in one.properties.items() if value}
        kept = {
            name: value for name, value in properties.items() if name not in (MODIFIED[path], "hs_object_id", "hs_is_closed_won")
        }
        now = self.now()
        self._next_id += 1
        merged = Record(path, str(self._next_id), now, now, time.monotonic())
        self.records[path, merged.id] = merged
        olds = [one for old in (primary, other) for one in (old.id, *old.properties.get("hs_merged_object_ids", "").split(";"))]
        own = {"hs_object_id": merged.id, "hs_merged_object_ids": ";".join(one for one in olds if one)}
        self._set(merged, {**kept, **own}, by, ring=False)
        for old in (primary, other):
            for key, types in list(self.associations.pop((path, old.id), {}).items()):
                self.associations.get(key, {}).pop((path, old.id), None)
                self._link(merged, self.records[key], types)
            old.archived_at = now
            self.merged[path, old.id] = merged.id
        ids = {"primaryObjectId": int(primary.id), "mergedObjectIds": [int(other.id)], "newObjectId": int(merged.id)}
        self._event(primary, "merge", by, numberOfPropertiesMoved=len(kept), **ids)
        self._tell("merged", merged, by, of=[primary.id, other.id], name=merged.name)
        return merged

    def associate(self, one: Record, other: Record, types: set[int], by: tuple[str, str]) -> None:
        """Associate two records, in both directions."""
        known = ASSOCIATIONS.get((one.path, other.path), {})
        if not types or not types <= known.keys():
            pair = f"{one.path} to {other.path}"
            raise error(400, "VALIDATION_ERROR", f"One or more association types are invalid for {pair}: {sorted(types)}")
        self._link(one, other, types)
        # These webhooks know companies, contacts and deals, no activities.
        pairs = ((one, other), (other, one)) if {WORDS[one.path], WORDS[other.path]} <= SUBSCRIBED.keys() else ()
        for here, there in pairs:
            kinds = f"{WORDS[here.path]}_TO_{WORDS[there.path]}".upper()
            ends = {"fromObjectId": int(here.id), "toObjectId": int(there.id)}
            primary = bool(self.associations[here.path, here.id][there.path, there.id] & {1, 2, 5, 6})
            more = {"associationType": kinds, "associationRemoved": False, "isPrimaryAssociation": primary}
            self._event(here, "associationChange", by, **ends, **more)
        if one.path in ("notes", "tasks") and other.path == "deals":
            self._set(other, {"num_notes": str(int(other.properties.get("num_notes") or 0) + 1)}, by)

    def _link(self, one: Record, other: Record, types: set[int]) -> None:
        forth, back = ASSOCIATIONS[one.path, other.path], ASSOCIATIONS[other.path, one.path]
        places = {list(forth).index(kind) for kind in types}
        if len(forth) > 1:
            # Every association is also a plain one, and the first company of a record is its primary one.
            towards = one if other.path == "companies" else other
            alone = not any(key[0] == "companies" for key in self.associations.get((towards.path, towards.id), {}))
            places |= {0, 1} if alone else {0}
        for here, there, known in ((one, other, forth), (other, one, back)):
            mine = self.associations.setdefault((here.path, here.id), {}).setdefault((there.path, there.id), set())
            mine |= {list(known)[place] for place in places}

    def _set(self, record: Record, properties: dict[str, str], by: tuple[str, str], *, ring: bool = True) -> None:
        record.updated = max(self.now(), record.updated)
        properties = {**properties, **_derived(properties), MODIFIED[record.path]: stamp(record.updated)}
        source, source_id = by
        for name, value in properties.items():
            record.properties[name] = value
            entry = {"value": value, "timestamp": stamp(record.updated), "sourceType": source, "sourceId": source_id}
            record.past.setdefault(name, []).insert(0, entry)
            if ring:
                self._event(record, "propertyChange", by, propertyName=name, propertyValue=value)

    # --- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, what: str, record: Record, by: tuple[str, str], **facts: Any) -> None:
        said = {name: value for name, value in facts.items() if value is not None or name == "marker"}
        self.history.add(what, kind=WORDS[record.path], id=record.id, by="person" if by is PERSON else "api", **said)

    def _event(self, record: Record, change: str, by: tuple[str, str], **more: Any) -> None:
        word = WORDS[record.path]
        name = f"{word}.{change}" + (f":{more['propertyName']}" if change == "propertyChange" else "")
        subscription = SUBSCRIPTIONS.get(name)
        if subscription is None:
            return
        source, source_id = by
        entry = {
            "eventId": self._random.randrange(1, 2**31),  # HubSpot does not promise that they are unique
            "subscriptionId": subscription,
            "portalId": self.portal,
            "appId": APP_ID,
            "occurredAt": int(self.now().timestamp() * 1000),
            "subscriptionType": f"{word}.{change}",
            "attemptNumber": 0,
            "changeSource": source,
            "sourceId": source_id,
        }
        own = {} if change == "associationChange" else {"objectId": int(record.id)}
        self.entries.append({**entry, **own, **more})


def _derived(properties: dict[str, str]) -> dict[str, str]:
    """Give what HubSpot works out of a deal's stage: its pipeline, and whether it is won."""
    stage = properties.get("dealstage")
    for pipeline, stages in STAGES.items():
        if stage in stages:
            return {"pipeline": pipeline, "hs_is_closed_won": "true" if stages[stage][1] == "1.0" else "false"}
    return {}
