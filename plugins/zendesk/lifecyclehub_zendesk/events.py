"""Zendesk's event subscriptions: which we ask for, and how one event becomes a notice.

An event webhook sends one event per request: developer.zendesk.com, "Webhook event types".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from lifecyclehub.messages import Notice
from lifecyclehub_zendesk.calls import id_text, instant

PREFIX: Final = "zen:event-type:"

_TICKET = (
    "created",
    "status_changed",
    "custom_status_changed",
    "subject_changed",
    "description_changed",
    "priority_changed",
    "type_changed",
    "tags_changed",
    "custom_field_changed",
    "form_changed",
    "brand_changed",
    "external_id_changed",
    "agent_assignment_changed",
    "group_assignment_changed",
    "requester_changed",
    "submitter_changed",
    "organization_changed",
    "problem_link_changed",
    "comment_added",
    "merged",
    "marked_as_spam",
    "soft_deleted",
    "undeleted",
    "permanently_deleted",
)
_USER = (
    "created",
    "name_changed",
    "details_changed",
    "identity_created",
    "identity_changed",
    "identity_deleted",
    "role_changed",
    "active_changed",
    "organization_membership_created",
    "organization_membership_deleted",
    "merged",
    "deleted",
)
_ORGANIZATION = ("created", "name_changed", "custom_field_changed", "external_id_changed", "tags_changed", "deleted")

SUBSCRIPTIONS: Final = tuple(
    f"{PREFIX}{domain}.{what}"
    for domain, whats in (("ticket", _TICKET), ("user", _USER), ("organization", _ORGANIZATION))
    for what in whats
)

# A merged ticket stays where it is, closed, and a merged user answers 404: both are told by the fetch.
_DELETES: Final = frozenset({"ticket.soft_deleted", "ticket.permanently_deleted", "user.deleted", "organization.deleted"})
_STAFF: Final = frozenset({"agent", "admin"})
_NAME = re.compile(r"([a-z_]+)\.([a-z_]+)")


def notice_of(event: Any) -> Notice:
    """Make the notice of one event. Raises TypeError or ValueError for a body that is no event, saying what it may be."""
    if not isinstance(event, dict):
        raise TypeError("the body is no Zendesk event: it is not a JSON object")
    kind_of_event = event.get("type")
    if not isinstance(kind_of_event, str):
        raise TypeError(
            "the body is no Zendesk event: it has no type. The webhook is connected to a trigger or an automation; "
            "make one that is subscribed to Zendesk events instead."
        )
    name = re.split("[:/]", kind_of_event)[-1]
    known = _NAME.fullmatch(name)
    detail = event.get("detail")
    details: Mapping[str, Any] = detail if isinstance(detail, dict) else {}
    record_id = id_text(details.get("id")) or _from_subject(event.get("subject"))
    if record_id is None:
        raise ValueError(f"the event {kind_of_event!r} names no record")
    change: Literal["changed", "deleted"] = "deleted" if name in _DELETES else "changed"
    return Notice(
        kind="zendesk." + (_kind(known[1], details) if known else "unknown"),
        record_id=record_id,
        key=id_text(event.get("id")),
        at=instant(event.get("time")),
        actor=id_text(details.get("actor_id")),
        change=change,
    )


def _kind(domain: str, detail: Mapping[str, Any]) -> str:
    """Our own agents are users too, but no contacts of a client: they get a kind of their own, which we do not keep."""
    role = detail.get("role")
    return "agent" if domain == "user" and isinstance(role, str) and role.lower() in _STAFF else domain


def _from_subject(subject: Any) -> str | None:
    """Read the id from a subject such as `zen:ticket:35436`."""
    if not isinstance(subject, str) or subject.count(":") < 2:
        return None
    return subject.rpartition(":")[2].strip() or None
