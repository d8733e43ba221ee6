"""What the hub does in Zendesk: an internal comment and a tag on a ticket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel

from lifecyclehub.connector import Action, Call, Marker, Natural, Once, usual_judgement
from lifecyclehub.connector.roles import AddInternalComment, AddTag
from lifecyclehub.errors import CallFailed, NeedsReauthorization, NotOurJson
from lifecyclehub.messages import (
    MARKER,
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
from lifecyclehub_zendesk.calls import get, id_text, pages, said, segment
from lifecyclehub_zendesk.records import agent_url

LAG_S = 10.0


class AddInternalCommentAction(Action[AddInternalComment]):
    """Comment on a ticket so that only agents see it. Comments are written by updating the ticket."""

    name: ClassVar[str] = "add_internal_comment"
    input: ClassVar[type[BaseModel]] = AddInternalComment
    once: ClassVar[Once] = Marker(field="ticket.comment.body", lag_s=LAG_S)
    creates: ClassVar[str | None] = "zendesk.comment"
    target: ClassVar[str | None] = "zendesk.ticket"
    target_field: ClassVar[str | None] = "ticket"

    def render(self, v: AddInternalComment, body: Json, key: Key) -> Request:
        """Add the marker, and `public: false` whatever the mapping says."""
        ticket = dict(body)
        comment = {**ticket.get("comment", {}), "public": False}
        comment["body"] = f"{comment.get('body', v.text)}\n\n{key.marker}"
        if comment.get("html_body"):  # Zendesk shows html_body instead of body where both are given
            comment["html_body"] = f"{comment['html_body']}<p>{key.marker}</p>"
        ticket["comment"] = comment
        return Request(method="PUT", path=_ticket_path(v.ticket), json={"ticket": ticket})

    def judge(self, reply: Reply, request: Request) -> Outcome:
        """Take it for done only when the reply's audit shows the comment with our marker."""
        verdict = _judged(reply, creates=True)
        if verdict is not None:
            return verdict
        body = _object(reply)
        ticket, audit = body.get("ticket"), body.get("audit")
        marker = MARKER.findall(request.json["ticket"]["comment"]["body"])[-1]  # the text may quote another one
        if not isinstance(ticket, dict) or not isinstance(audit, dict) or _ticket_path(ticket.get("id")) != request.path:
            return Unknown(f"status {reply.status}, but without the ticket and its audit: {said(reply)}")
        events = audit.get("events")
        for event in events if isinstance(events, list) else []:
            if isinstance(event, dict) and event.get("type") == "Comment" and _carries(event, marker):
                comment_id = id_text(event.get("id"))
                if comment_id is not None:
                    return Done(record_id=comment_id, url=_ticket_url(ticket))
        return Unknown(f"status {reply.status}, but the audit does not show our comment")

    async def find(self, call: Call, v: AddInternalComment, key: Key) -> Sighting:
        """Look through all comments of the ticket, internal ones included."""
        url = agent_url(None, "tickets", v.ticket, call.settings.get("subdomain", ""))
        found: list[Done] = []
        try:
            async for page in pages(call, f"/api/v2/tickets/{segment(v.ticket)}/comments.json", record=f"ticket {v.ticket}"):
                comments = page.get("comments")
                if not isinstance(comments, list):
                    return CannotTell("Zendesk answered without comments")
                for comment in comments:
                    if not isinstance(comment, dict) or (comment_id := id_text(comment.get("id"))) is None:
                        return CannotTell("Zendesk listed a comment without an id")
                    if _is_ours(comment, key.marker):
                        found.append(Done(record_id=comment_id, url=url))
        except NeedsReauthorization:
            raise
        except CallFailed as error:
            return CannotTell(f"the comments of ticket {v.ticket} could not be listed: {error}")
        return Found(tuple(found)) if found else Absent()


class AddTagAction(Action[AddTag]):
    """Tag a ticket. PUT on a ticket's tags adds, and a tag that is there stays there once."""

    name: ClassVar[str] = "add_tag"
    input: ClassVar[type[BaseModel]] = AddTag
    once: ClassVar[Once] = Natural()
    target: ClassVar[str | None] = "zendesk.ticket"
    target_field: ClassVar[str | None] = "ticket"

    def render(self, v: AddTag, body: Json, key: Key) -> Request:
        """Put the tags to those that are there."""
        return Request(method="PUT", path=f"/api/v2/tickets/{segment(v.ticket)}/tags.json", json=dict(body))

    def judge(self, reply: Reply, request: Request) -> Outcome:
        """Take it for done when every tag is in the list that comes back."""
        verdict = _judged(reply, creates=False)
        if verdict is not None:
            return verdict
        tags = _object(reply).get("tags")
        if isinstance(tags, list) and set(request.json["tags"]) <= {tag for tag in tags if isinstance(tag, str)}:
            return Done()
        return Unknown(f"status {reply.status}, but without the tag: {said(reply)}")

    async def find(self, call: Call, v: AddTag, key: Key) -> Sighting:
        """Look whether the ticket has the tag."""
        try:
            body = await get(call, _ticket_path(v.ticket), record=f"ticket {v.ticket}")
        except NeedsReauthorization:
            raise
        except CallFailed as error:
            return CannotTell(f"the tags of ticket {v.ticket} could not be read: {error}")
        ticket = body.get("ticket")
        tags = ticket.get("tags") if isinstance(ticket, dict) else None
        if not isinstance(ticket, dict) or not isinstance(tags, list) or id_text(ticket.get("id")) != v.ticket:
            return CannotTell("Zendesk answered without the ticket's tags")
        return Found((Done(url=_ticket_url(ticket)),)) if v.tag in tags else Absent()


def _judged(reply: Reply, *, creates: bool) -> Refused | Retry | Unknown | None:
    """Judge what is alike for both, with Zendesk's own description. A closed ticket refuses changes with 422."""
    if reply.status == 409:
        # Zendesk gives up on colliding updates of one ticket. Nothing "exists already", and it does not promise
        # that nothing was kept: a comment is looked for before it is sent again.
        reason = f"status 409: {said(reply)}"
        return Unknown(reason) if creates else Retry(reason)
    usual = usual_judgement(reply, creates=creates)
    if isinstance(usual, Refused):
        return Refused(f"status {reply.status}: {said(reply)}")
    return usual


def _object(reply: Reply) -> Mapping[str, Any]:
    """Read a 2xx body, empty when it is no JSON object (a log-in page): the caller then finds nothing in it."""
    try:
        body = reply.json()
    except NotOurJson:
        return {}
    return body if isinstance(body, dict) else {}


def _carries(comment: Mapping[str, Any], marker: str) -> bool:
    return any(marker in text for name in ("body", "plain_body", "html_body") if isinstance(text := comment.get(name), str))


def _is_ours(comment: Mapping[str, Any], marker: str) -> bool:
    """Tell our comment from an agent's mailed answer that quotes it: ours is internal and did not come by e-mail."""
    via = comment.get("via")
    mailed = isinstance(via, dict) and via.get("channel") == "email"
    return _carries(comment, marker) and comment.get("public") is False and not mailed


def _ticket_path(ticket_id: Any) -> str:
    return f"/api/v2/tickets/{segment(id_text(ticket_id) or '')}.json"


def _ticket_url(ticket: Mapping[str, Any]) -> str | None:
    return agent_url(ticket.get("url"), "tickets", id_text(ticket.get("id")) or "")
