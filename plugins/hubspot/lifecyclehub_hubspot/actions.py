"""What we can do in HubSpot: put a note or a task on a deal, and write fields of a company."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel

from lifecyclehub.connector import Action, Call, Marker, Natural, Once, usual_judgement, wished_by
from lifecyclehub.connector.roles import AddNote, CreateCrmTask, SetFields
from lifecyclehub.errors import Forbidden, NotOurJson, RecordGone, TryAgain
from lifecyclehub.messages import (
    Absent,
    CannotTell,
    Done,
    Found,
    Json,
    Key,
    Outcome,
    Refused,
    Reply,
    Request,
    Retry,
    Sighting,
    Unknown,
)
from lifecyclehub_hubspot.looking import associated_texts
from lifecyclehub_hubspot.objects import COMPANY, NOTE, TASK, HubSpotObject, id_of, object_path

D = TypeVar("D", AddNote, CreateCrmTask)

LAG_S = 30.0

# HubSpot's own association types from an activity to a deal (page "Associations", table of association type ids).
TO_DEAL = {NOTE.kind: 214, TASK.kind: 216}

# Replies by which HubSpot says that it has done nothing yet: the record is locked by many writers at once (wait two
# seconds or more), or the account is just being moved to another data centre.
NOT_YET = {423: 2.0, 477: 60.0}


# A property whose value is not valid is named in the message of HubSpot's VALIDATION_ERROR.
ASSIGNING = b"hubspot_owner_id"


def _judge(reply: Reply, *, creates: bool) -> Outcome | dict[str, Any]:
    """Give the record in a good answer, else the outcome."""
    if reply.status in NOT_YET:
        wished = wished_by(reply)
        return Retry(f"HubSpot is not ready yet (status {reply.status})", NOT_YET[reply.status] if wished is None else wished)
    bad = usual_judgement(reply, creates=creates)
    if isinstance(bad, Refused) and reply.status == 400 and ASSIGNING in reply.body:
        return replace(bad, owner=True)
    if bad is not None:
        return bad
    try:
        record = reply.json()
    except NotOurJson as error:
        return Unknown(f"status {reply.status} with something that is no JSON: {error}")
    if not isinstance(record, dict) or id_of(record.get("id")) is None:
        return Unknown(f"status {reply.status} without the id of a record")
    return record


class _OnDeal(Action[D]):
    """An activity that hangs on a deal, with our marker at the end of its text."""

    made: ClassVar[HubSpotObject]
    target: ClassVar[str | None] = "hubspot.deal"
    target_field: ClassVar[str | None] = "deal"

    def render(self, v: D, body: Json, key: Key) -> Request:
        properties = dict(body.get("properties") or {})
        field = self.made.text or ""
        text = properties.get(field)
        # HubSpot shows these texts as HTML.
        properties[field] = f"{text}<br><br>{key.marker}" if text else key.marker
        to_deal = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": TO_DEAL[self.made.kind]}
        return Request(
            method="POST",
            path=object_path(self.made),
            json={**body, "properties": properties, "associations": [{"to": {"id": v.deal}, "types": [to_deal]}]},
        )

    def judge(self, reply: Reply, request: Request) -> Outcome:
        record = _judge(reply, creates=True)
        return Done(record_id=id_of(record["id"])) if isinstance(record, dict) else record

    async def find(self, call: Call, v: D, key: Key) -> Sighting:
        """Look through all activities of the deal, by its associations: the search lags behind, they do not."""
        try:
            texts = await associated_texts(call, v.deal, self.made)
        except (TryAgain, Forbidden, RecordGone) as error:
            return CannotTell(str(error))
        found = tuple(Done(record_id=record_id) for record_id, text in texts.items() if key.marker in (text or ""))
        return Found(found) if found else Absent()


class AddDealNote(_OnDeal[AddNote]):
    """Put a note on a deal."""

    name: ClassVar[str] = "add_note"
    input: ClassVar[type[BaseModel]] = AddNote
    made: ClassVar[HubSpotObject] = NOTE
    creates: ClassVar[str | None] = NOTE.kind
    once: ClassVar[Once] = Marker("properties.hs_note_body", LAG_S)


class CreateDealTask(_OnDeal[CreateCrmTask]):
    """Put a task on a deal."""

    name: ClassVar[str] = "create_task"
    input: ClassVar[type[BaseModel]] = CreateCrmTask
    made: ClassVar[HubSpotObject] = TASK
    creates: ClassVar[str | None] = TASK.kind
    once: ClassVar[Once] = Marker("properties.hs_task_body", LAG_S)


class SetCompanyFields(Action[SetFields]):
    """Write fields of a company; doing it again changes nothing."""

    name: ClassVar[str] = "set_fields"
    input: ClassVar[type[BaseModel]] = SetFields
    target: ClassVar[str | None] = "hubspot.company"
    target_field: ClassVar[str | None] = "record"
    once: ClassVar[Once] = Natural()

    def render(self, v: SetFields, body: Json, key: Key) -> Request:
        return Request(method="PATCH", path=object_path(COMPANY, v.record), json=body)

    def judge(self, reply: Reply, request: Request) -> Outcome:
        record = _judge(reply, creates=False)
        if not isinstance(record, dict):
            return record
        wanted = _stage(request.json)
        kept = _stage(record)
        # HubSpot answers 200 and keeps the stage when a company would move back in its list of lifecycle stages.
        if wanted is not None and kept is not None and wanted != kept:
            return Refused(
                f"HubSpot kept lifecyclestage at {kept} instead of {wanted}: it moves companies forward only. Clear the "
                "company's Lifecycle stage in HubSpot first, or leave it."
            )
        return Done(record_id=id_of(record["id"]))


def _stage(record: Any) -> str | None:
    properties = record.get("properties") if isinstance(record, dict) else None
    stage = properties.get("lifecyclestage") if isinstance(properties, dict) else None
    return stage if isinstance(stage, str) else None
