"""The simulated Zendesk's desk: who and what is there, how it changes, and what people do at it."""

from __future__ import annotations

import html
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lifecyclehub.messages import marker_in
from lifecyclehub.sandbox.tool import Tool
from lifecyclehub.sandbox.zendesk_door import Door
from lifecyclehub.sandbox.zendesk_records import (
    PROJECT_FIELD,
    Comment,
    Organization,
    Record,
    Records,
    Shown,
    Ticket,
    User,
    invalid,
    not_found,
)

_DIGITS = 18


class Desk(Tool):
    """A helpdesk account `northwind` with two agents; the OAuth client acts as one of them."""

    name = "zendesk"
    auth = "oauth_client"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.account_id = "northwind"
        self.credentials = {"client_id": "lifecyclehub", "client_secret": secrets.token_hex(24)}
        self.signing_secret: str | None = secrets.token_urlsafe(30)
        self.records = Records(self.base_url)
        self.door = Door(self)
        self.hub_user = self._person("Hub Agent", "hub@northwind.example", "admin")
        self.agent = self._person("Mette Holm", "mette@northwind.example", "agent")

    @property
    def acts(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Give what people do here."""
        return {
            "open_ticket": self.open_ticket,
            "comment": self.comment,
            "solve_ticket": self.solve_ticket,
            "close_ticket": self.close_ticket,
            "set_project": self.set_project,
            "delete_ticket": self.delete_ticket,
            "restore_ticket": self.restore_ticket,
            "rename_user": self.rename_user,
            "set_webhook": self.door.set_webhook,
            "expire_tokens": self.door.expire_tokens,
            "list": self.everything,
        }

    # --- what people do -----------------------------------------------------------------------------------------------

    async def open_ticket(
        self,
        subject: str,
        text: str,
        requester_name: str,
        requester_email: str,
        organization: str | None = None,
        project_ref: str | None = None,
    ) -> Shown:
        """Somebody outside writes; organization and requester are made when they are new."""
        place = self._organization(organization, requester_email) if organization else None
        requester = self._requester(requester_name, requester_email, place)
        now = self.now()
        ticket = Ticket(
            id=self.records.new_ticket_id(),
            created_at=now,
            updated_at=now,
            subject=subject,
            description=text,
            requester_id=requester.id,
            organization_id=requester.organization_id,
            channel="web",
            assignee_id=self.agent.id,
            custom={PROJECT_FIELD: project_ref},
        )
        self.records.tickets[ticket.id] = ticket
        self.say("created", ticket, by="person", subject=subject, marker=marker_in(subject, text))
        comment = self.add_comment(ticket, requester, text, html.escape(text), public=True, channel="web")
        self.ring_for(ticket, requester.id, ("ticket.created", {}), ("ticket.comment_added", comment_event(comment)))
        return {
            "ticket": str(ticket.id),
            "requester": str(requester.id),
            "organization": None if ticket.organization_id is None else str(ticket.organization_id),
            "url": f"{self.base_url()}/agent/tickets/{ticket.id}",
        }

    async def comment(self, ticket: str, text: str, *, public: bool = True) -> Shown:
        """An agent answers, or notes something."""
        found = self._open_to_people(ticket)
        made = self.add_comment(found, self.agent, text, html.escape(text), public=public, channel="web")
        self.touch(found)
        self.say("commented", found, by="person", comment=made.id, public=public, marker=marker_in(text))
        self.ring_for(found, self.agent.id, ("ticket.comment_added", comment_event(made)))
        return {"ticket": str(found.id), "comment": str(made.id)}

    async def solve_ticket(self, ticket: str) -> Shown:
        """An agent solves a ticket."""
        return self.set_status(self._open_to_people(ticket), "solved", self.agent, by="person")

    async def close_ticket(self, ticket: str) -> Shown:
        """A solved ticket is closed for good: from then on it refuses every change."""
        return self.set_status(self._open_to_people(ticket), "closed", self.agent, by="person")

    async def set_project(self, ticket: str, project_ref: str | None) -> Shown:
        """An agent fills the ticket field that names the project."""
        found = self._open_to_people(ticket)
        self.set_custom(found, PROJECT_FIELD, project_ref, self.agent, by="person")
        return {"ticket": str(found.id), "project_ref": project_ref}

    async def delete_ticket(self, ticket: str) -> Shown:
        """An agent deletes a ticket: the API answers 404 for it, exports show it as deleted."""
        found = self._open_to_people(ticket)
        found.deleted = True
        self.touch(found)
        self.say("deleted", found, by="person")
        self.ring_for(found, self.agent.id, ("ticket.soft_deleted", {}))
        return {"ticket": str(found.id)}

    async def restore_ticket(self, ticket: str) -> Shown:
        """An agent takes a ticket back out of the deleted ones."""
        found = self.records.tickets.get(number_of(ticket))
        if found is None or not found.deleted:
            raise not_found()
        found.deleted = False
        self.touch(found)
        self.say("restored", found, by="person")
        self.ring_for(found, self.agent.id, ("ticket.undeleted", {}))
        return {"ticket": str(found.id)}

    async def rename_user(self, user: str, name: str) -> Shown:
        """An agent corrects a requester's name."""
        found = self.records.users[number_of(user)]
        before, found.name = found.name, name
        self.touch(found)
        self.say("changed", found, by="person", field="name", value=name)
        self.ring_for(found, self.agent.id, ("user.name_changed", {"current": name, "previous": before}))
        return {"user": str(found.id)}

    async def everything(self) -> Shown:
        """Show all tickets with all their comments, deleted ones too."""
        return {
            "tickets": [
                {**self.records.ticket(ticket), "comments": [self.records.comment(comment) for comment in ticket.comments]}
                for ticket in self.records.tickets.values()
            ],
            "users": [self.records.user(user) for user in self.records.users.values()],
            "organizations": [self.records.organization(one) for one in self.records.organizations.values()],
            "webhooks": [self.records.webhook(hook) for hook in self.records.webhooks.values()],
        }

    # --- changes ------------------------------------------------------------------------------------------------------

    def tagged(self, ticket: Ticket, tags: list[str], *, only: bool) -> None:
        """Add tags, or with `only` leave no others. What is there already changes nothing."""
        added = [tag for tag in dict.fromkeys(tags) if tag not in ticket.tags]
        removed = [tag for tag in ticket.tags if tag not in tags] if only else []
        if not added and not removed:
            return
        ticket.tags = [tag for tag in ticket.tags if tag not in removed] + added
        self.touch(ticket)
        self.say("tagged", ticket, by="api", added=added, removed=removed)
        self.ring_for(ticket, self.hub_user.id, ("ticket.tags_changed", {"tags_added": added, "tags_removed": removed}))

    def set_status(self, ticket: Ticket, status: str, actor: User, *, by: str) -> Shown:
        if ticket.status != status:
            before, ticket.status = ticket.status, status
            self.touch(ticket)
            self.say("changed", ticket, by=by, field="status", value=status)
            event = {"current": status.upper(), "previous": before.upper()}
            self.ring_for(ticket, actor.id, ("ticket.status_changed", event))
        return {"ticket": str(ticket.id), "status": ticket.status}

    def set_custom(self, ticket: Ticket, number: int, value: Any, actor: User, *, by: str) -> None:
        if ticket.custom.get(number) == value:
            return
        before, ticket.custom[number] = ticket.custom.get(number), value
        self.touch(ticket)
        self.say("changed", ticket, by=by, field=str(number), value=value)
        event = {"current": value, "previous": before, "field": {"id": str(number), "title": "Project", "type": "text"}}
        self.ring_for(ticket, actor.id, ("ticket.custom_field_changed", event))

    def refuse_closed(self, ticket: Ticket) -> None:
        if ticket.status == "closed":
            raise invalid({"status": "Status: closed prevents ticket update"})

    def add_comment(
        self, ticket: Ticket, author: User, text: str, html_body: str, *, public: bool, channel: str, audit_id: int = 0
    ) -> Comment:
        comment = Comment(
            id=self.records.new_id(),
            audit_id=audit_id or self.records.new_id(),
            author_id=author.id,
            body=text,
            html_body=html_body,
            public=public,
            channel=channel,
            created_at=self.now(),
        )
        ticket.comments.append(comment)
        return comment

    # --- small help ---------------------------------------------------------------------------------------------------

    def shown(self, record: Record) -> Shown:
        """Show a record as the API does."""
        match record:
            case Ticket():
                return self.records.ticket(record)
            case User():
                return self.records.user(record)
            case Organization():
                return self.records.organization(record)
        raise AssertionError(type(record))

    def _person(self, name: str, email: str, role: str = "end-user", place: Organization | None = None) -> User:
        now = self.now()
        user = User(id=self.records.new_id(), created_at=now, updated_at=now, name=name, email=email, role=role)
        user.organization_id = place.id if place else None
        self.records.users[user.id] = user
        return user

    def _requester(self, name: str, email: str, place: Organization | None) -> User:
        for user in self.records.users.values():
            if user.email == email:
                return user
        user = self._person(name, email, place=place)
        self.say("created", user, by="person", name=name)
        self.ring_for(user, user.id, ("user.created", {}))
        return user

    def _organization(self, name: str, email: str) -> Organization:
        for one in self.records.organizations.values():
            if one.name == name:
                return one
        now = self.now()
        domain = email.rpartition("@")[2]
        made = Organization(id=self.records.new_id(), created_at=now, updated_at=now, name=name, domain_names=[domain])
        self.records.organizations[made.id] = made
        self.say("created", made, by="person", name=name)
        self.ring_for(made, self.agent.id, ("organization.created", {}))
        return made

    def _open_to_people(self, ticket: str) -> Ticket:
        found = self.records.tickets.get(number_of(ticket))
        if found is None or found.deleted:
            raise not_found()
        self.refuse_closed(found)
        return found

    def touch(self, record: Record) -> None:
        record.updated_at = self.now()

    def visible(self, made: datetime) -> bool:
        return made + timedelta(seconds=self.misbehaviour.lag_s) <= self.now()

    def say(self, what: str, record: Record, *, by: str, **facts: Any) -> None:
        self.history.add(what, kind=type(record).__name__.lower(), id=str(record.id), by=by, **facts)

    def ring_for(self, record: Record, actor_id: int, *events: tuple[str, Shown]) -> None:
        kind = type(record).__name__.lower()
        self.ring(*self.door.hooks(kind, self.shown(record), actor_id, events))


def number_of(typed: str) -> int:
    """Read an id. Raises KeyError for what is none: there is no such record."""
    if not typed.isdecimal() or len(typed) > _DIGITS:
        raise KeyError(typed)
    return int(typed)


def comment_event(comment: Comment) -> Shown:
    author = {"id": str(comment.author_id), "is_staff": comment.channel == "api" or not comment.public}
    return {"comment": {"id": str(comment.id), "body": comment.body, "is_public": comment.public, "author": author}}
