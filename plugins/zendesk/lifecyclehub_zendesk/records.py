"""Fetching tickets, users and organizations, each with what its mapping needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifecyclehub.connector import Call
from lifecyclehub.errors import RecordGone, TryAgain
from lifecyclehub.messages import Document
from lifecyclehub_zendesk.calls import get, id_text, instant, segment


async def fetch_ticket(call: Call, record_id: str) -> Document:
    """Fetch a ticket with its requester and organization.

    `data` is Zendesk's ticket and, beside its own members: `requester`, `assignee` and `organization` (whole
    documents or null), `custom` (values of custom fields by the field's id) and `project_ref`.
    """
    path = f"/api/v2/tickets/{segment(record_id)}.json"
    body = await get(call, path, (("include", "users,organizations"),), record=f"ticket {record_id}")
    ticket = _the_one(body, "ticket", record_id)
    if ticket.get("status") == "deleted":
        raise RecordGone(f"ticket {record_id} is deleted")
    people = _by_id(body.get("users"))
    requester = people.get(id_text(ticket.get("requester_id")))
    organization = _by_id(body.get("organizations")).get(id_text(ticket.get("organization_id")))
    custom = custom_values(ticket)
    data = {
        **ticket,
        "requester": requester,
        "assignee": people.get(id_text(ticket.get("assignee_id"))),
        "organization": organization,
        "custom": custom,
        "project_ref": _project_ref(custom, call.settings.get("project_field", "")),
    }
    related = []
    if requester is not None and requester.get("role") == "end-user":
        related.append(_document(call, "zendesk.user", requester))
    if organization is not None:
        related.append(_document(call, "zendesk.organization", organization))
    return _document(call, "zendesk.ticket", data, tuple(related))


async def fetch_user(call: Call, record_id: str) -> Document:
    """Fetch a user with the organization. A deleted user is still shown, as not active."""
    path = f"/api/v2/users/{segment(record_id)}.json"
    body = await get(call, path, (("include", "organizations"),), record=f"user {record_id}")
    user = _the_one(body, "user", record_id)
    if user.get("active") is False:
        raise RecordGone(f"user {record_id} is deleted")
    organization = _by_id(body.get("organizations")).get(id_text(user.get("organization_id")))
    related = () if organization is None else (_document(call, "zendesk.organization", organization),)
    return _document(call, "zendesk.user", user, related)


async def fetch_organization(call: Call, record_id: str) -> Document:
    """Fetch an organization."""
    path = f"/api/v2/organizations/{segment(record_id)}.json"
    organization = _the_one(await get(call, path, record=f"organization {record_id}"), "organization", record_id)
    if organization.get("deleted_at"):
        raise RecordGone(f"organization {record_id} is deleted")
    return _document(call, "zendesk.organization", organization)


FETCHES = {"zendesk.ticket": fetch_ticket, "zendesk.user": fetch_user, "zendesk.organization": fetch_organization}

_PAGES = {"zendesk.ticket": "tickets", "zendesk.user": "users", "zendesk.organization": "organizations"}


def agent_url(api_url: Any, page: str, record_id: str, subdomain: str = "") -> str | None:
    """Give the address that a person opens, from a record's own `url` or, without one, from the subdomain."""
    base, found, _ = api_url.partition("/api/v2/") if isinstance(api_url, str) else ("", "", "")
    if not found:
        base = f"https://{subdomain}.zendesk.com" if subdomain else ""
    return f"{base}/agent/{page}/{record_id}" if base else None


def custom_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the list of custom fields, {"id", "value"} each, into values by id."""
    entries = record.get("custom_fields")
    listed = entries if isinstance(entries, list) else []
    return {
        field_id: entry.get("value")
        for entry in listed
        if isinstance(entry, dict) and (field_id := id_text(entry.get("id"))) is not None
    }


def _project_ref(custom: Mapping[str, Any], field: str) -> str | None:
    return id_text(custom.get(field)) if field else None


def _the_one(body: Mapping[str, Any], name: str, record_id: str) -> Mapping[str, Any]:
    record = body.get(name)
    if not isinstance(record, dict) or id_text(record.get("id")) != record_id:
        raise TryAgain(f"asked for {name} {record_id}, Zendesk answered something else")
    return record


def _by_id(records: Any) -> dict[str | None, Mapping[str, Any]]:
    listed = records if isinstance(records, list) else []
    return {id_text(record.get("id")): record for record in listed if isinstance(record, dict)}


def _document(call: Call, kind: str, data: Mapping[str, Any], related: tuple[Document, ...] = ()) -> Document:
    record_id = id_text(data.get("id"))
    if record_id is None:
        raise TryAgain(f"Zendesk gave a {kind} without an id")
    return Document(
        kind=kind,
        id=record_id,
        account=call.account or None,
        changed_at=instant(data.get("updated_at")),
        data=data,
        related=related,
        url=agent_url(data.get("url"), _PAGES[kind], record_id, call.settings.get("subdomain", "")),
    )
