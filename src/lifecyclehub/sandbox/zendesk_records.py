"""What the simulated Zendesk keeps, and the JSON it shows of it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lifecyclehub.sandbox.tool import VendorError

OPEN_STATUSES = ("new", "open", "pending", "hold", "solved")
PROJECT_FIELD = 360_000_000_001

Shown = dict[str, Any]


def not_found() -> VendorError:
    """The answer for a record that is not there."""
    return VendorError(404, {"error": "RecordNotFound", "description": "Not found"})


def invalid(details: dict[str, str]) -> VendorError:
    """The answer for values that Zendesk does not take, one sentence per field."""
    shown = {name: [{"description": sentence, "error": "InvalidValue"}] for name, sentence in details.items()}
    return VendorError(422, {"error": "RecordInvalid", "description": "Record validation errors", "details": shown})


def iso(moment: datetime) -> str:
    """Write a time as the API does, in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(kw_only=True)
class Record:
    """A record with its times, kept to the microsecond; the API shows whole seconds."""

    id: int
    created_at: datetime
    updated_at: datetime
    deleted: bool = False


@dataclass(kw_only=True)
class User(Record):
    name: str
    email: str | None
    role: str = "end-user"
    organization_id: int | None = None
    phone: str | None = None


@dataclass(kw_only=True)
class Organization(Record):
    name: str
    domain_names: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Comment:
    id: int
    audit_id: int
    author_id: int
    body: str
    html_body: str
    public: bool
    channel: str
    created_at: datetime


@dataclass(kw_only=True)
class Ticket(Record):
    subject: str
    description: str
    requester_id: int
    organization_id: int | None
    channel: str
    assignee_id: int | None = None
    status: str = "open"
    tags: list[str] = field(default_factory=list)
    custom: dict[int, Any] = field(default_factory=dict)
    comments: list[Comment] = field(default_factory=list)


@dataclass(kw_only=True)
class Webhook:
    id: str
    name: str
    endpoint: str
    subscriptions: list[str]
    secret: str
    status: str = "active"
    created_at: datetime


class Records:
    """All records of the account, with ids that are unique to this start."""

    def __init__(self, base_url: Callable[[], str]) -> None:
        self._base_url = base_url
        start = secrets.randbelow(9_000_000) * 1_000
        self._ids = itertools.count(20_000_000_000 + start)
        self._ticket_ids = itertools.count(1_000 + secrets.randbelow(900) * 100)
        self.users: dict[int, User] = {}
        self.organizations: dict[int, Organization] = {}
        self.tickets: dict[int, Ticket] = {}
        self.webhooks: dict[str, Webhook] = {}
        self.ticket_fields: list[Shown] = ticket_fields()

    def new_id(self) -> int:
        """Give an id for anything but a ticket."""
        return next(self._ids)

    def new_ticket_id(self) -> int:
        """Give a ticket's number."""
        return next(self._ticket_ids)

    # --- shapes -------------------------------------------------------------------------------------------------------

    def user(self, one: User) -> Shown:
        """Show a user. A deleted one is shown as not active."""
        return {
            "id": one.id,
            "url": f"{self._base_url()}/api/v2/users/{one.id}.json",
            "name": one.name,
            "email": one.email,
            "created_at": iso(one.created_at),
            "updated_at": iso(one.updated_at),
            "time_zone": "Copenhagen",
            "iana_time_zone": "Europe/Copenhagen",
            "phone": one.phone,
            "locale": "en-US",
            "organization_id": one.organization_id,
            "role": one.role,
            "verified": False,
            "external_id": None,
            "tags": [],
            "alias": "",
            "active": not one.deleted,
            "shared": False,
            "suspended": False,
            "details": "",
            "notes": "",
            "user_fields": {},
        }

    def organization(self, one: Organization) -> Shown:
        """Show an organization."""
        shown: Shown = {
            "id": one.id,
            "url": f"{self._base_url()}/api/v2/organizations/{one.id}.json",
            "name": one.name,
            "domain_names": one.domain_names,
            "created_at": iso(one.created_at),
            "updated_at": iso(one.updated_at),
            "shared_tickets": False,
            "shared_comments": False,
            "external_id": None,
            "details": None,
            "notes": None,
            "group_id": None,
            "tags": [],
            "organization_fields": {},
        }
        return {**shown, "deleted_at": iso(one.updated_at)} if one.deleted else shown

    def ticket(self, one: Ticket) -> Shown:
        """Show a ticket."""
        custom = [{"id": number, "value": value} for number, value in sorted(one.custom.items())]
        return {
            "id": one.id,
            "url": f"{self._base_url()}/api/v2/tickets/{one.id}.json",
            "external_id": None,
            "via": {"channel": one.channel, "source": {"from": {}, "to": {}, "rel": None}},
            "created_at": iso(one.created_at),
            "updated_at": iso(one.updated_at),
            "generated_timestamp": int(one.updated_at.timestamp()),
            "type": None,
            "subject": one.subject,
            "raw_subject": one.subject,
            "description": one.description,
            "priority": None,
            "status": "deleted" if one.deleted else one.status,
            "recipient": None,
            "requester_id": one.requester_id,
            "submitter_id": one.requester_id,
            "assignee_id": one.assignee_id,
            "organization_id": one.organization_id,
            "group_id": None,
            "collaborator_ids": [],
            "follower_ids": [],
            "email_cc_ids": [],
            "problem_id": None,
            "has_incidents": False,
            "is_public": any(comment.public for comment in one.comments),
            "due_at": None,
            "tags": sorted(one.tags),
            "custom_fields": custom,
            "fields": custom,
            "satisfaction_rating": None,
            "allow_channelback": False,
            "from_messaging_channel": False,
        }

    def comment(self, one: Comment) -> Shown:
        """Show a comment as the list of comments does."""
        return {
            "id": one.id,
            "type": "Comment",
            "author_id": one.author_id,
            "body": one.body,
            "html_body": one.html_body,
            "plain_body": one.body,
            "public": one.public,
            "attachments": [],
            "audit_id": one.audit_id,
            "via": {"channel": one.channel, "source": {"from": {}, "to": {}, "rel": None}},
            "created_at": iso(one.created_at),
            "metadata": {"system": {}, "custom": {}},
        }

    def webhook(self, one: Webhook) -> Shown:
        """Show a webhook, without its secret."""
        return {
            "id": one.id,
            "name": one.name,
            "endpoint": one.endpoint,
            "http_method": "POST",
            "request_format": "json",
            "status": one.status,
            "subscriptions": one.subscriptions,
            "created_at": iso(one.created_at),
            "created_by": "-1",
        }


def event_detail(kind: str, shown: Shown, actor_id: int) -> Shown:
    """Give the part of a record that events carry: ids as text, statuses in capitals, no custom fields."""
    plain: tuple[str, ...]
    ids: tuple[str, ...]
    if kind == "ticket":
        ids = ("assignee_id", "organization_id", "requester_id", "submitter_id", "group_id")
        plain = ("created_at", "updated_at", "description", "external_id", "is_public", "subject", "tags", "type")
        return {
            **{name: shown[name] for name in plain},
            **{name: _text(shown[name]) for name in ids},
            "id": _text(shown["id"]),
            "actor_id": _text(actor_id),
            "brand_id": "360000000777",
            "form_id": "360000000778",
            "status": shown["status"].upper(),
            "priority": None,
            "custom_status": None,
            "via": {"channel": "web_service" if shown["via"]["channel"] == "api" else shown["via"]["channel"]},
        }
    if kind == "user":
        plain = ("created_at", "updated_at", "email", "external_id", "role")
        ids = ("id", "organization_id")
    else:
        plain = ("created_at", "updated_at", "name", "external_id", "shared_comments", "shared_tickets")
        ids = ("id", "group_id")
    return {**{name: shown[name] for name in plain}, **{name: _text(shown[name]) for name in ids}}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def ticket_fields() -> list[Shown]:
    """Give the ticket fields of the account, Zendesk's own and the one that names the project."""
    status = [{"name": name.capitalize(), "value": name} for name in OPEN_STATUSES]
    return [
        {"id": 360_000_000_101, "type": "subject", "title": "Subject", "active": True, "required": True},
        {"id": 360_000_000_102, "type": "status", "title": "Status", "active": True, "system_field_options": status},
        {"id": PROJECT_FIELD, "type": "text", "title": "Project", "active": True, "required": False},
        {"id": 360_000_000_103, "type": "text", "title": "Old reference", "active": False, "required": False},
    ]
