"""Xero's Accounting API as plain functions: requests, replies, pages, times, documents."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from lifecyclehub.connector import Call, said_by, wished_by
from lifecyclehub.errors import Forbidden, NeedsReauthorization, NotOurJson, RecordGone, TryAgain
from lifecyclehub.messages import Document, Reply, Request, marker_in

INVOICE, CONTACT = "xero.invoice", "xero.contact"
ACCOUNT_HEADER = "xero-tenant-id"
JSON = ("accept", "application/json")  # Xero answers XML unless it is asked for JSON
ALL_STATUSES = "DRAFT,SUBMITTED,AUTHORISED,PAID,VOIDED,DELETED"
NO_ID = "00000000-0000-0000-0000-000000000000"
"""What Xero writes as the id of a record that it refused to make."""

_MS_DATE = re.compile(r"/Date\((-?\d{1,15})(?:[+-]\d{4})?\)/")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_PAGES = 2000


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a kind stands in Xero: its path, the list's name in replies, the id's name, and the page people open.

    `page_size`: at most 1,000; invoices come with all their lines, so fewer of them fit into one reply.
    """

    path: str
    plural: str
    id_name: str
    page: str
    page_size: int

    def url(self, record_id: str) -> str:
        """Give the address in Xero's own app."""
        return f"https://go.xero.com{self.page}{record_id}"


SHELVES: dict[str, Shelf] = {
    INVOICE: Shelf("/Invoices", "Invoices", "InvoiceID", "/AccountsReceivable/View.aspx?InvoiceID=", 250),
    CONTACT: Shelf("/Contacts", "Contacts", "ContactID", "/Contacts/View/", 1000),
}


def get(path: str, *query: tuple[str, str], headers: tuple[tuple[str, str], ...] = (), host: str = "api") -> Request:
    """Make a request that reads."""
    return Request(method="GET", path=path, query=query, headers=(JSON, *headers), host=host)


def moment(value: Any) -> datetime | None:
    """Read one of Xero's times: `/Date(1573755038314+0000)/` (milliseconds; the offset changes nothing) or ISO in UTC."""
    if not isinstance(value, str):
        return None
    if found := _MS_DATE.fullmatch(value):
        try:
            return _EPOCH + timedelta(milliseconds=int(found.group(1)))
        except OverflowError:
            return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def body_of(reply: Reply, what: str) -> Any:
    """Give the JSON of a good answer. Raises RecordGone for 404 and 410, Forbidden for 403, else TryAgain.

    Raises NeedsReauthorization where the organisation is not connected to our app any more.
    """
    refuse_if_not_connected(reply)
    if reply.status in (404, 410):
        raise RecordGone(f"Xero has no {what}")
    if reply.status == 403:
        raise Forbidden(f"Xero refuses {what}: {said_by(reply)}")
    if not 200 <= reply.status < 300:
        raise TryAgain(f"Xero answered {reply.status} for {what}: {said_by(reply)}", after=wished_by(reply))
    try:
        return reply.json()
    except NotOurJson as error:
        raise TryAgain(f"Xero's answer for {what} is not JSON ({error.reason})") from error


def refuse_if_not_connected(reply: Reply) -> None:
    """Raise NeedsReauthorization for the 403 by which Xero says of every call that the organisation is not ours to see.

    Somebody disconnected our app there, or the person who authorised it left. Nothing was done.
    """
    if reply.status == 403 and b"AuthenticationUnsuccessful" in reply.body:
        raise NeedsReauthorization(
            "Xero says that the organisation is not connected to this app any more (status 403, AuthenticationUnsuccessful). "
            "Connect it again in Xero, then resume the connection."
        )


def items_of(body: Any, plural: str, what: str) -> list[Mapping[str, Any]]:
    """Give the list in an answer's envelope. Raises TryAgain when it is not there."""
    items = body.get(plural) if isinstance(body, Mapping) else None
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise TryAgain(f"Xero's answer for {what} holds no list of {plural}")
    return items


async def one(call: Call, kind: str, record_id: str) -> Mapping[str, Any]:
    """Fetch one record and make sure that it is the one that was asked for."""
    shelf = SHELVES[kind]
    what = f"{shelf.path[1:]} {record_id}"
    body = body_of(await call.send(get(f"{shelf.path}/{quote(record_id, safe='')}")), what)
    items = items_of(body, shelf.plural, what)
    if len(items) != 1 or items[0].get(shelf.id_name) != record_id:
        raise TryAgain(f"Xero answered with another record than {what}")
    return items[0]


async def page_of(
    call: Call, kind: str, number: int, query: tuple[tuple[str, str], ...], since: str | None = None
) -> tuple[list[Mapping[str, Any]], bool]:
    """List one page of a kind: its records, and whether there is another page."""
    shelf = SHELVES[kind]
    headers = (("if-modified-since", since),) if since else ()
    asked = (*query, ("page", str(number)), ("pageSize", str(shelf.page_size)))
    what = f"page {number} of {shelf.plural}"
    reply = await call.send(get(shelf.path, *asked, headers=headers))
    if reply.status == 304:
        return [], False
    if reply.status in (404, 410):  # a list is never gone: this is no news about any record
        raise TryAgain(f"Xero answered {reply.status} for {what}")
    body = body_of(reply, what)
    items = items_of(body, shelf.plural, what)
    paging = body.get("pagination")
    pages = paging.get("pageCount") if isinstance(paging, Mapping) else None
    return items, bool(items) and (not isinstance(pages, int) or number < pages)


async def every(call: Call, kind: str, *query: tuple[str, str]) -> AsyncIterator[Mapping[str, Any]]:
    """Give all records of a kind that match, page by page, in the order of their ids.

    Ids are random and records are never removed, so one that is made meanwhile moves others to a later page, never to
    an earlier one, and none is missed. Raises what `body_of` raises.
    """
    query = (*query, ("order", f"{SHELVES[kind].id_name} ASC"))
    for number in range(1, _MOST_PAGES + 1):
        items, more = await page_of(call, kind, number, query)
        for item in items:
            yield item
        if not more:
            return
    raise TryAgain(f"more than {_MOST_PAGES} pages of {SHELVES[kind].plural}")


def document(kind: str, data: Mapping[str, Any], account: str, related: tuple[Document, ...] = ()) -> Document:
    """Make the document of a record as Xero gave it."""
    shelf = SHELVES[kind]
    record_id = str(data[shelf.id_name])
    return Document(
        kind=kind,
        id=record_id,
        account=account,
        changed_at=moment(data.get("UpdatedDateUTC")),
        data=data,
        related=related,
        marker=marker_of(kind, data),
        url=shelf.url(record_id),
    )


def marker_of(kind: str, data: Mapping[str, Any]) -> str | None:
    """Find our marker: an invoice carries it in its link, a contact in its contact number."""
    text = data.get("Url" if kind == INVOICE else "ContactNumber")
    return marker_in(text) if isinstance(text, str) else None
