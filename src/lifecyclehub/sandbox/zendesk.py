"""The simulated Zendesk: its API for tickets, users and organizations."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lifecyclehub.messages import MARKER
from lifecyclehub.sandbox.tool import Handler, VendorError
from lifecyclehub.sandbox.zendesk_desk import Desk, comment_event
from lifecyclehub.sandbox.zendesk_door import json_body, path_number
from lifecyclehub.sandbox.zendesk_pages import exported, page_of
from lifecyclehub.sandbox.zendesk_records import OPEN_STATUSES, PROJECT_FIELD, Shown, Ticket, invalid, not_found

_TICKET_CHANGES = frozenset({"comment", "status", "tags", "custom_fields"})
_COMMENT_PARTS = frozenset({"body", "html_body", "public"})


class ZendeskTool(Desk):
    """Zendesk Support: tokens, tickets, users, organizations, incremental exports, webhooks."""

    def settings(self) -> dict[str, str]:
        """Give the connection's settings, with the simulated address for every host."""
        return {
            "subdomain": self.account_id,
            "project_field": str(PROJECT_FIELD),
            "base_url.api": self.base_url(),
            "self_hosted": "yes",
        }

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Give the API."""
        return [
            *self.door.routes(),
            ("GET", "/api/v2/users/me.json", self._me),
            ("GET", "/api/v2/users/{id}.json", self._get_user),
            ("GET", "/api/v2/organizations/{id}.json", self._get_organization),
            ("GET", "/api/v2/tickets/{id}.json", self._get_ticket),
            ("PUT", "/api/v2/tickets/{id}.json", self._put_ticket),
            ("GET", "/api/v2/tickets/{id}/comments.json", self._list_comments),
            ("PUT", "/api/v2/tickets/{id}/tags.json", self._put_tags),
            ("GET", "/api/v2/ticket_fields.json", self._list_ticket_fields),
            ("GET", "/api/v2/user_fields.json", self._no_fields),
            ("GET", "/api/v2/organization_fields.json", self._no_fields),
            ("GET", "/api/v2/incremental/tickets/cursor.json", self._export_tickets),
            ("GET", "/api/v2/incremental/users/cursor.json", self._export_users),
            ("GET", "/api/v2/incremental/organizations.json", self._export_organizations),
        ]

    def check_auth(self, request: Request) -> None:
        """Want a bearer token that lives and may do this."""
        self.door.check(request)

    # --- the API ------------------------------------------------------------------------------------------------------

    async def _me(self, _: Request) -> Response:
        return JSONResponse({"user": self.shown(self.hub_user)})

    async def _get_user(self, request: Request) -> Response:
        user = _found(self.records.users, request)
        organization = self.records.organizations.get(user.organization_id or 0)
        beside = _include(request, {"organizations": [] if organization is None else [self.shown(organization)]})
        return JSONResponse({"user": self.shown(user), **beside})

    async def _get_organization(self, request: Request) -> Response:
        organization = _found(self.records.organizations, request)
        if organization.deleted:
            raise not_found()
        return JSONResponse({"organization": self.shown(organization)})

    async def _get_ticket(self, request: Request) -> Response:
        ticket = self._ticket(request)
        numbers = dict.fromkeys(number for number in (ticket.requester_id, ticket.assignee_id) if number is not None)
        organization = self.records.organizations.get(ticket.organization_id or 0)
        beside = {
            "users": [self.shown(self.records.users[number]) for number in numbers],
            "organizations": [] if organization is None else [self.shown(organization)],
        }
        return JSONResponse({"ticket": self.shown(ticket), **_include(request, beside)})

    async def _put_ticket(self, request: Request) -> Response:
        ticket = self._ticket(request)
        changes = (await json_body(request, {"ticket"}))["ticket"]
        self._refuse_change(ticket, changes)
        audit_id, events = self.records.new_id(), []
        if "comment" in changes:
            events.append(self._commented(ticket, changes["comment"], audit_id))
        if "status" in changes:
            self.set_status(ticket, changes["status"], self.hub_user, by="api")
        if "tags" in changes:
            self.tagged(ticket, changes["tags"], only=True)
        for entry in changes.get("custom_fields", ()):
            self.set_custom(ticket, int(entry["id"]), entry["value"], self.hub_user, by="api")
        self.touch(ticket)
        audit = {"id": audit_id, "ticket_id": ticket.id, "author_id": self.hub_user.id, "events": events}
        return JSONResponse({"ticket": self.shown(ticket), "audit": audit})

    async def _list_comments(self, request: Request) -> Response:
        ticket = self._ticket(request)
        visible = [self.records.comment(comment) for comment in ticket.comments if self.visible(comment.created_at)]
        return JSONResponse(page_of(visible, dict(request.query_params), "comments"))

    async def _put_tags(self, request: Request) -> Response:
        ticket = self._ticket(request)
        tags = (await json_body(request, {"tags"}))["tags"]
        self.refuse_closed(ticket)
        if not isinstance(tags, list) or not all(isinstance(tag, str) and tag and " " not in tag for tag in tags):
            raise invalid({"tags": "Tags: are not valid"})
        self.tagged(ticket, tags, only=False)
        return JSONResponse({"tags": sorted(ticket.tags)})

    async def _list_ticket_fields(self, request: Request) -> Response:
        return JSONResponse(page_of(self.records.ticket_fields, dict(request.query_params), "ticket_fields"))

    async def _no_fields(self, request: Request) -> Response:
        name = request.url.path.rpartition("/")[2].removesuffix(".json")
        return JSONResponse(page_of([], dict(request.query_params), name))

    async def _export_tickets(self, request: Request) -> Response:
        return self._export(request, list(self.records.tickets.values()), "tickets")

    async def _export_users(self, request: Request) -> Response:
        return self._export(request, list(self.records.users.values()), "users")

    async def _export_organizations(self, request: Request) -> Response:
        return self._export(request, list(self.records.organizations.values()), "organizations")

    def _commented(self, ticket: Ticket, given: Shown, audit_id: int) -> Shown:
        body = given.get("html_body") or given.get("body") or ""
        text = given.get("body") or body
        public = given.get("public", True)
        made = self.add_comment(ticket, self.hub_user, text, body, public=public, channel="api", audit_id=audit_id)
        markers = MARKER.findall(text)  # the text may quote another one; whoever writes it puts his own last
        marker = markers[-1] if markers else None
        self.say("commented", ticket, by="api", comment=made.id, public=public, marker=marker, text=text)
        self.ring_for(ticket, self.hub_user.id, ("ticket.comment_added", comment_event(made)))
        return {**self.records.comment(made), "type": "Comment"}

    def _refuse_change(self, ticket: Ticket, changes: Any) -> None:
        """Refuse what Zendesk does not know or take, before anything is changed."""
        self.refuse_closed(ticket)
        if not isinstance(changes, dict) or not changes:
            raise VendorError(400, {"error": {"title": "Invalid attribute", "message": "ticket must be an object with changes"}})
        wrong = {name: f"{name}: is unknown" for name in sorted(set(changes) - _TICKET_CHANGES)}
        comment = changes.get("comment")
        if comment is not None:
            wrong |= _wrong_comment(comment)
        if "status" in changes and changes["status"] not in OPEN_STATUSES:
            wrong["status"] = f"Status: {changes['status']} is not a valid status"
        known = {field["id"] for field in self.records.ticket_fields}
        for entry in changes.get("custom_fields", ()):
            if not isinstance(entry, dict) or set(entry) != {"id", "value"} or entry["id"] not in known:
                wrong["custom_fields"] = "Custom field: is unknown"
        if wrong:
            raise invalid(wrong)

    def _ticket(self, request: Request) -> Ticket:
        ticket: Ticket = _found(self.records.tickets, request)
        if ticket.deleted:
            raise not_found()
        return ticket

    def _export(self, request: Request, records: list[Any], name: str) -> Response:
        rows = [(one.updated_at, one.id, self.shown(one)) for one in records if self.visible(one.created_at)]
        by_cursor = name != "organizations"
        return JSONResponse(exported(rows, dict(request.query_params), name, self.now(), by_cursor=by_cursor))


def _wrong_comment(comment: Any) -> dict[str, str]:
    if not isinstance(comment, dict):
        return {"comment": "Comment: is invalid"}
    wrong = {name: f"{name}: is unknown" for name in sorted(set(comment) - _COMMENT_PARTS)}
    if not (comment.get("body") or comment.get("html_body")):
        wrong["comment"] = "Comment: cannot be blank"
    return wrong


def _found(records: dict[int, Any], request: Request) -> Any:
    found = records.get(path_number(request))
    if found is None:
        raise not_found()
    return found


def _include(request: Request, beside: Shown) -> Shown:
    """Give what was asked for with `include`. Other parameters are refused."""
    unknown = sorted(set(request.query_params) - {"include"})
    wanted = [name for name in request.query_params.get("include", "").split(",") if name]
    strange = unknown or sorted(set(wanted) - set(beside))
    if strange:
        raise VendorError(400, {"error": "InvalidParameter", "description": f"Unknown parameter {strange[0]}"})
    return {name: beside[name] for name in wanted}
