"""What Xero can do for us: enter a customer, draft an invoice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel

from lifecyclehub.connector import Action, Call, NativeKey, usual_judgement
from lifecyclehub.connector.roles import CreateCustomer, CreateDraftInvoice
from lifecyclehub.errors import CallFailed, MappingError, NeedsReauthorization, NotOurJson
from lifecyclehub.messages import Absent, CannotTell, Done, Found, Json, Key, Outcome, Refused, Reply, Request, Sighting, Unknown
from lifecyclehub_xero.api import ALL_STATUSES, CONTACT, INVOICE, JSON, NO_ID, SHELVES, every, marker_of, refuse_if_not_connected
from lifecyclehub_xero.texts import contact_name, link

KEY_HEADER = "idempotency-key"

# Xero keeps a key for six minutes from the first call, errors included (guides/idempotent-requests/idempotency). A
# minute is taken off: a repeat has to arrive there before the end.
ONCE = NativeKey(KEY_HEADER, window_s=300, caches_errors=True, marker_after=True)

CONTACT_NUMBER_LENGTH = 50

V = TypeVar("V", bound=BaseModel)


class _Create(Action[V]):
    """Makes one record with PUT, which only ever creates; POST would update one that matches."""

    once: ClassVar[NativeKey] = ONCE

    def judge(self, reply: Reply, request: Request) -> Outcome:
        """Say what the reply means: only a record with an id and without an error is done."""
        refuse_if_not_connected(reply)
        usual = usual_judgement(reply, creates=True)
        if isinstance(usual, Refused):
            return _refusal(reply, usual)
        return usual or _made(reply, str(self.creates))


class CreateCustomerAction(_Create[CreateCustomer]):
    """Enter a customer as a contact. The marker stands in its contact number, which only the API can write."""

    name = "create_customer"
    input = CreateCustomer
    creates = CONTACT
    adopts_twin = True

    def render(self, v: CreateCustomer, body: Json, key: Key) -> Request:
        """Make the request; a contact number from the mapping stays before the marker."""
        given = str(body.get("ContactNumber") or "").strip()
        number = f"{given} {key.marker}".strip()
        if len(number) > CONTACT_NUMBER_LENGTH:
            raise MappingError(
                f"ContactNumber {given!r} leaves no room for our marker.",
                where="xero/create_customer.toml",
                mend=f"Give it at most {CONTACT_NUMBER_LENGTH - len(key.marker) - 1} characters.",
            )
        return _put(CONTACT, {**body, "ContactNumber": number}, key)

    async def find(self, call: Call, v: CreateCustomer, key: Key) -> Sighting:
        """Look through all contacts, archived ones too: by marker, else by our reference, name, tax number or e-mail address.

        A merged contact gives the one that it was merged into. Archived twins that are not ours are left alone: Xero
        takes no invoice for them.
        """
        try:
            contacts = [contact async for contact in every(call, CONTACT, ("includeArchived", "true"))]
        except NeedsReauthorization:
            raise
        except CallFailed as error:
            return CannotTell(str(error))
        for twins in (_marked(CONTACT, contacts, key.marker), *_natural_twins(contacts, v)):
            if twins:
                return _found(CONTACT, twins)
        return Absent()


class CreateDraftInvoiceAction(_Create[CreateDraftInvoice]):
    """Draft a sales invoice. The marker stands in its link, which Xero shows to its own users only."""

    name = "create_draft_invoice"
    input = CreateDraftInvoice
    creates = INVOICE
    target = CONTACT
    target_field = "customer"

    def render(self, v: CreateDraftInvoice, body: Json, key: Key) -> Request:
        """Make the request. Whatever the mapping says, it is a sales invoice and a draft: a person approves it."""
        url = body.get("Url")
        if not isinstance(url, str) or not urlsplit(url).netloc:
            raise MappingError(
                f"Url {url!r} is no address, and the invoice's marker needs one.",
                where="xero/create_draft_invoice.toml",
                mend="Map Url to the project's address, or fill the connection's setting `link`.",
            )
        invoice = {**body, "Type": "ACCREC", "Status": "DRAFT", "Url": link(url, key.marker)}
        return _put(INVOICE, invoice, key, ("unitdp", "4"))  # else Xero rounds prices to two decimals

    async def find(self, call: Call, v: CreateDraftInvoice, key: Key) -> Sighting:
        """Look through the customer's invoices and all that our app made, in every status.

        Both, because a draft may be moved to another customer, and an app may have been replaced by a new one.
        """
        found: dict[str, Mapping[str, Any]] = {}
        try:
            for where in (("ContactIDs", v.customer), ("createdByMyApp", "true")):
                async for invoice in every(call, INVOICE, where, ("Statuses", ALL_STATUSES)):
                    if marker_of(INVOICE, invoice) == key.marker:
                        found[str(invoice["InvoiceID"])] = invoice
        except NeedsReauthorization:
            raise
        except CallFailed as error:
            return CannotTell(str(error))
        return _found(INVOICE, found.values()) if found else Absent()


def _put(kind: str, record: Mapping[str, Any], key: Key, *query: tuple[str, str]) -> Request:
    shelf = SHELVES[kind]
    headers = (JSON, (KEY_HEADER, key.idempotency))
    return Request(method="PUT", path=shelf.path, query=query, headers=headers, json={shelf.plural: [dict(record)]})


def _marked(kind: str, records: Iterable[Mapping[str, Any]], marker: str) -> list[Mapping[str, Any]]:
    return [record for record in records if marker_of(kind, record) == marker]


def _natural_twins(contacts: list[Mapping[str, Any]], v: CreateCustomer) -> list[list[Mapping[str, Any]]]:
    """Give the active contacts that are alike, the surest likeness first."""
    wanted = (
        ("ContactNumber", v.reference),
        ("Name", contact_name(v.name)),  # unique; a tax number may be that of several branches
        ("TaxNumber", v.tax_id),
        ("EmailAddress", v.email),
    )
    active = [contact for contact in contacts if contact.get("ContactStatus", "ACTIVE") == "ACTIVE"]
    return [[contact for contact in active if _alike(contact.get(field), value)] for field, value in wanted if value]


def _alike(theirs: Any, ours: str) -> bool:
    return isinstance(theirs, str) and theirs.strip().casefold() == ours.strip().casefold()


def _found(kind: str, records: Iterable[Mapping[str, Any]]) -> Found:
    shelf = SHELVES[kind]
    ids = dict.fromkeys(str(record.get("MergedToContactID") or record[shelf.id_name]) for record in records)
    return Found(tuple(Done(record_id=one, url=shelf.url(one)) for one in ids))


def _complaints(value: Any) -> list[str]:
    """Give the messages of all `ValidationErrors` in an answer, also those of lines and addresses."""
    if isinstance(value, list):
        return [text for one in value for text in _complaints(one)]
    if not isinstance(value, Mapping):
        return []
    own = value.get("ValidationErrors")
    named = own if isinstance(own, list) else []
    said = [str(one["Message"]) for one in named if isinstance(one, Mapping) and one.get("Message")]
    return said + [text for name, inner in value.items() if name != "ValidationErrors" for text in _complaints(inner)]


def _refused(complaints: list[str]) -> Refused:
    said = "; ".join(dict.fromkeys(complaints))
    return Refused(said[:500], exists="already assigned to another contact" in said)


def _refusal(reply: Reply, usual: Refused) -> Outcome:
    """Read Xero's own sentences; a key that was used for another request proves nothing."""
    if "different request" in usual.reason.lower():
        return Unknown(f"the idempotency key was used before: {usual.reason}")
    try:
        complaints = _complaints(reply.json())
    except NotOurJson:
        return usual
    return _refused(complaints) if complaints else usual


def _made(reply: Reply, kind: str) -> Outcome:
    """Judge a 2xx: the record, a refusal in the record's place, or nothing that can be understood."""
    shelf = SHELVES[kind]
    try:
        body = reply.json()
    except NotOurJson as error:
        return Unknown(f"the answer is not JSON ({error.reason})")
    made = body.get(shelf.plural) if isinstance(body, Mapping) else None
    if not isinstance(made, list) or len(made) != 1 or not isinstance(made[0], Mapping):
        return Unknown(f"the answer does not hold one of {shelf.plural}")
    record = made[0]
    record_id = record.get(shelf.id_name)
    has_id = isinstance(record_id, str) and record_id not in ("", NO_ID)
    complaints = _complaints(record)
    if record.get("StatusAttributeString") == "ERROR" or (complaints and not has_id):
        return _refused(complaints or ["Xero says ERROR and no more"])
    if not has_id or complaints or record.get("HasErrors") is True or record.get("HasValidationErrors") is True:
        return Unknown(f"the answer is neither a record nor a refusal: {'; '.join(complaints) or 'no id'}")
    return Done(record_id=record_id, url=shelf.url(str(record_id)))
