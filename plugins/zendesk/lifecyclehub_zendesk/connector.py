"""The Zendesk connector."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from lifecyclehub.connector import About, Account, ByHand, Call, Connector, Endpoint, FieldInfo, Health, Page, Subscription
from lifecyclehub.errors import NeedsReauthorization, TryAgain, Unsupported
from lifecyclehub.messages import Delivery, Document, Notice, Ref
from lifecyclehub_zendesk import hooks, sweeping
from lifecyclehub_zendesk.about import ABOUT
from lifecyclehub_zendesk.calls import get, id_text, pages
from lifecyclehub_zendesk.events import notice_of
from lifecyclehub_zendesk.records import FETCHES


class Zendesk(Connector):
    """Tickets with their requesters and organizations."""

    about: ClassVar[About] = ABOUT

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        """Give the one notice of an event.

        The account stays open: an event carries an account number that no documented call tells, and the signing
        secret belongs to one webhook of one account anyway.
        """
        return (notice_of(delivery.json),)

    async def accounts(self, call: Call) -> Sequence[Account]:
        """Give the one account, named by its subdomain, once Zendesk has told whom we act as."""
        user = (await get(call, "/api/v2/users/me.json")).get("user")
        if not isinstance(user, dict):
            raise TryAgain("Zendesk did not say whom we act as")
        if id_text(user.get("id")) is None or user.get("role") not in ("agent", "admin"):
            # A token that stands for nobody is answered 200 with an anonymous user.
            raise NeedsReauthorization("the OAuth client does not act as an agent; let an agent or admin make it")
        subdomain = call.settings["subdomain"]
        return [Account(id=subdomain, name=f"{subdomain}.zendesk.com")]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        """Fetch a record by kind. Raises RecordGone, Forbidden; TryAgain for anything that is no clear answer."""
        fetch = FETCHES.get(ref.kind)
        if fetch is None:
            raise Unsupported(f"Zendesk gives no {ref.kind} by its id alone")
        return await fetch(call, ref.id)

    def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        """Look for changed and deleted records with the incremental export of the kind."""
        return sweeping.sweep(call, kind, cursor, full=full)

    async def fields(self, call: Call, kind: str) -> Sequence[FieldInfo]:
        """List the active fields of a kind; ticket fields of our own by their number, as `custom."360001"`."""
        source = _FIELDS.get(kind)
        if source is None:
            raise Unsupported(f"Zendesk has no fields of {kind}")
        path, listed = source
        found: list[FieldInfo] = []
        async for page in pages(call, path):
            entries = page.get(listed)
            found.extend(
                _field(kind, entry)
                for entry in (entries if isinstance(entries, list) else [])
                if isinstance(entry, dict) and entry.get("active") is not False
            )
        return found

    async def subscribe(self, call: Call, endpoint: Endpoint) -> Subscription | ByHand:
        """Make the webhook, or give the steps where the client may not."""
        return await hooks.subscribe(call, endpoint)

    async def probe(self, call: Call, subscription: Subscription) -> Health:
        """Ask whether the webhook is there, active and whole."""
        return await hooks.probe(call, subscription)

    async def unsubscribe(self, call: Call, subscription: Subscription) -> None:
        """Delete the webhook."""
        await hooks.unsubscribe(call, subscription)


_FIELDS: Final = {
    "zendesk.ticket": ("/api/v2/ticket_fields.json", "ticket_fields"),
    "zendesk.user": ("/api/v2/user_fields.json", "user_fields"),
    "zendesk.organization": ("/api/v2/organization_fields.json", "organization_fields"),
}

# Zendesk lists its own ticket fields beside custom ones; these types stand in the ticket itself.
_SYSTEM: Final = {
    "subject": "subject",
    "description": "description",
    "status": "status",
    "custom_status": "custom_status_id",
    "tickettype": "type",
    "priority": "priority",
    "group": "group_id",
    "assignee": "assignee_id",
}


def _field(kind: str, entry: Mapping[str, Any]) -> FieldInfo:
    shown = str(entry.get("type"))
    if kind == "zendesk.ticket":
        path = _SYSTEM.get(shown) or f'custom."{entry.get("id")}"'
    else:
        path = f"{kind.removeprefix('zendesk.')}_fields.{entry.get('key')}"
    options = entry.get("custom_field_options") or entry.get("system_field_options")
    pairs = tuple(
        (str(option.get("value")), str(option.get("name")))
        for option in (options if isinstance(options, list) else [])
        if isinstance(option, dict)
    )
    return FieldInfo(path=path, label=str(entry.get("title")), type=shown, options=pairs)
