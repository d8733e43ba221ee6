"""The shapes of the simulated HubSpot: its objects' properties, pipelines, association types, errors."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lifecyclehub.sandbox.tool import VendorError

TYPES = {"0-1": "contacts", "0-2": "companies", "0-3": "deals", "0-46": "notes", "0-27": "tasks"}
WORDS = {"contacts": "contact", "companies": "company", "deals": "deal", "notes": "note", "tasks": "task"}

STAGES = {
    "default": {
        "appointmentscheduled": ("Appointment Scheduled", "0.2"),
        "qualifiedtobuy": ("Qualified To Buy", "0.4"),
        "presentationscheduled": ("Presentation Scheduled", "0.6"),
        "decisionmakerboughtin": ("Decision Maker Bought-In", "0.8"),
        "contractsent": ("Contract Sent", "0.9"),
        "closedwon": ("Closed Won", "1.0"),
        "closedlost": ("Closed Lost", "0.0"),
    },
    "88140071": {
        "167400211": ("Talking", "0.3"),
        "167400212": ("Retainer signed", "1.0"),
        "167400213": ("No retainer", "0.0"),
    },
}
PIPELINES = {"default": "Sales Pipeline", "88140071": "Retainers"}
LIFECYCLE = (
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
)


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an object. `read_only` ones are HubSpot's own."""

    name: str
    label: str
    type: str = "string"
    options: tuple[tuple[str, str], ...] = ()
    read_only: bool = False

    def described(self) -> dict[str, Any]:
        """Give what the properties API says about it."""
        return {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": "select" if self.options else "text",
            "groupName": "information",
            "description": "",
            "options": [
                {"label": label, "value": value, "displayOrder": place, "hidden": False}
                for place, (value, label) in enumerate(self.options)
            ],
            "hubspotDefined": True,
            "modificationMetadata": {"readOnlyValue": self.read_only, "archivable": False, "readOnlyDefinition": True},
        }


def _all_stages() -> tuple[tuple[str, str], ...]:
    return tuple((stage, label) for stages in STAGES.values() for stage, (label, _) in stages.items())


def _own(modified: str = "hs_lastmodifieddate", created: str = "createdate") -> tuple[Property, ...]:
    return (
        Property("hs_object_id", "Record ID", "number", read_only=True),
        Property("hs_merged_object_ids", "Merged record IDs", read_only=True),
        Property(created, "Create date", "datetime"),
        Property(modified, "Last modified date", "datetime", read_only=True),
        Property("hubspot_owner_id", "Owner", "enumeration"),
    )


_PROPERTIES: dict[str, tuple[Property, ...]] = {
    "deals": (
        Property("dealname", "Deal Name"),
        Property("dealstage", "Deal Stage", "enumeration", _all_stages()),
        Property("pipeline", "Pipeline", "enumeration", tuple(PIPELINES.items())),
        Property("amount", "Amount", "number"),
        Property("deal_currency_code", "Currency", "enumeration", tuple((code, code) for code in ("EUR", "USD", "GBP", "DKK"))),
        Property("closedate", "Close Date", "datetime"),
        Property("description", "Deal Description"),
        Property(
            "dealtype", "Deal Type", "enumeration", (("newbusiness", "New Business"), ("existingbusiness", "Existing Business"))
        ),
        Property("hs_is_closed_won", "Is Closed Won", "bool", read_only=True),
        Property("num_notes", "Number of Sales Activities", "number", read_only=True),
        Property("service_line", "Service line"),  # a custom property of this business
        *_own(),
    ),
    "companies": (
        Property("name", "Company name"),
        Property("domain", "Company Domain Name"),
        Property("phone", "Phone Number"),
        Property("country", "Country/Region"),
        Property("city", "City"),
        Property("lifecyclestage", "Lifecycle Stage", "enumeration", tuple((stage, stage.capitalize()) for stage in LIFECYCLE)),
        *_own(),
    ),
    "contacts": (
        Property("firstname", "First Name"),
        Property("lastname", "Last Name"),
        Property("email", "Email"),
        Property("phone", "Phone Number"),
        Property("mobilephone", "Mobile Phone Number"),
        *_own("lastmodifieddate"),
    ),
    "notes": (
        Property("hs_note_body", "Note body"),
        Property("hs_timestamp", "Activity date", "datetime"),
        *_own(created="hs_createdate"),
    ),
    "tasks": (
        Property("hs_task_subject", "Task Title"),
        Property("hs_task_body", "Task Notes"),
        Property("hubspot_owner_id", "Assigned to", "enumeration"),
        Property(
            "hs_task_status",
            "Task Status",
            "enumeration",
            (("NOT_STARTED", "Not started"), ("IN_PROGRESS", "In progress"), ("COMPLETED", "Completed")),
        ),
        Property("hs_task_type", "Task Type", "enumeration", (("TODO", "To-do"), ("CALL", "Call"), ("EMAIL", "Email"))),
        Property("hs_timestamp", "Due date", "datetime"),
        *_own(created="hs_createdate"),
    ),
}
PROPERTIES = {path: {one.name: one for one in listed} for path, listed in _PROPERTIES.items()}
REQUIRED = {"deals": ("dealname",), "notes": ("hs_timestamp",), "tasks": ("hs_timestamp",)}
MODIFIED = {path: "lastmodifieddate" if path == "contacts" else "hs_lastmodifieddate" for path in WORDS}
CREATED = {path: "hs_createdate" if path in ("notes", "tasks") else "createdate" for path in WORDS}

# (from, to): association type id and its name in the older association lists; the first is the plain one.
ASSOCIATIONS: dict[tuple[str, str], dict[int, str]] = {
    ("deals", "companies"): {341: "deal_to_company_unlabeled", 5: "deal_to_company"},
    ("companies", "deals"): {342: "company_to_deal_unlabeled", 6: "company_to_deal"},
    ("contacts", "companies"): {279: "contact_to_company_unlabeled", 1: "contact_to_company"},
    ("companies", "contacts"): {280: "company_to_contact_unlabeled", 2: "company_to_contact"},
    ("deals", "contacts"): {3: "deal_to_contact"},
    ("contacts", "deals"): {4: "contact_to_deal"},
    ("notes", "deals"): {214: "note_to_deal"},
    ("deals", "notes"): {213: "deal_to_note"},
    ("tasks", "deals"): {216: "task_to_deal"},
    ("deals", "tasks"): {215: "deal_to_task"},
}


def stamp(moment: datetime) -> str:
    """Write a time as the API does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def millis(text: str | None) -> int | None:
    """Read a property's time (ISO or milliseconds), None for anything else."""
    if not text:
        return None
    if text.isdigit():
        return int(text)
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None


def error(status: int, category: str, message: str, **more: Any) -> VendorError:
    """Make a refusal as HubSpot words it."""
    body = {"status": "error", "message": message, "correlationId": str(uuid.uuid4()), "category": category, **more}
    return VendorError(status, body)


def not_found(path: str, record_id: str) -> VendorError:
    """Make the refusal of a record that is not there."""
    return error(404, "OBJECT_NOT_FOUND", f"Object not found. objectType {path}, objectId {record_id}.")


def refuse_unknown(body: Any, allowed: Iterable[str]) -> dict[str, Any]:
    """Give the body when it is an object with no other members than these."""
    if not isinstance(body, dict):
        raise error(400, "VALIDATION_ERROR", "Invalid input JSON: an object is expected")
    for name in body:
        if name not in allowed:
            raise error(400, "VALIDATION_ERROR", f'Invalid input JSON on line 1, column 2: Unrecognized field "{name}"')
    return body


def check_properties(path: str, properties: Any) -> dict[str, str]:
    """Give the properties as text, refusing unknown ones, read-only ones, and options that do not exist."""
    if not isinstance(properties, dict):
        raise error(400, "VALIDATION_ERROR", "Invalid input JSON: properties must be an object")
    wrong = [found for name, value in properties.items() if (found := _wrong(path, name, value))]
    if wrong:
        raise error(400, "VALIDATION_ERROR", f"Property values were not valid: {wrong}", errors=wrong)
    return {name: "" if value is None else str(value) for name, value in properties.items()}


def _wrong(path: str, name: str, value: Any) -> dict[str, Any] | None:
    known = PROPERTIES[path].get(name)
    if known is None:
        return {
            "message": f'Property "{name}" does not exist',
            "code": "PROPERTY_DOESNT_EXIST",
            "context": {"propertyName": [name]},
        }
    if known.read_only:
        return {"message": f'"{name}" is a read only property', "code": "READ_ONLY_VALUE", "context": {"propertyName": [name]}}
    text = "" if value is None else str(value)
    if text and known.options and text not in dict(known.options):
        return {
            "message": f"{text} was not one of the allowed options",
            "code": "INVALID_OPTION",
            "context": {"propertyName": [name]},
        }
    if text and known.type == "datetime" and millis(text) is None:
        return {"message": f"{text} was not a valid long.", "code": "INVALID_LONG", "context": {"propertyName": [name]}}
    return None


def described_pipelines() -> list[dict[str, Any]]:
    """Give the deal pipelines with their stages, as the pipelines API does."""
    return [
        {
            "id": pipeline,
            "label": PIPELINES[pipeline],
            "displayOrder": place,
            "archived": False,
            "stages": [
                {
                    "id": stage,
                    "label": label,
                    "displayOrder": order,
                    "archived": False,
                    "metadata": {"isClosed": "true" if probability in ("0.0", "1.0") else "false", "probability": probability},
                }
                for order, (stage, (label, probability)) in enumerate(stages.items())
            ],
        }
        for place, (pipeline, stages) in enumerate(STAGES.items())
    ]
