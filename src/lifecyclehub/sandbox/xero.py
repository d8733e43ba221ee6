"""A simulated Xero: the token endpoint, connections, contacts, invoices, thin webhooks and the intent to receive."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
from starlette.requests import Request
from starlette.responses import Response

from lifecyclehub import jsonio
from lifecyclehub.errors import NotOurJson
from lifecyclehub.messages import marker_in
from lifecyclehub.sandbox.tool import Handler, Hook, Tool, VendorError
from lifecyclehub.sandbox.xero_access import Answered, Asked, KeyShelf, TokenDesk, Way
from lifecyclehub.sandbox.xero_books import Books, Record, amount_of, bad_post, bad_query, ms_date, pay, set_due, touched

API = "/api.xro/2.0"
QUERY = {
    "Contact": frozenset(["where", "order", "IDs", "page", "pageSize", "includeArchived", "summaryOnly", "searchTerm"]),
    "Invoice": frozenset(
        [
            "where",
            "order",
            "IDs",
            "ContactIDs",
            "Statuses",
            "page",
            "pageSize",
            "includeArchived",
            "createdByMyApp",
            "unitdp",
            "summaryOnly",
        ]
    ),
}
CATEGORY = {"Contact": "CONTACT", "Invoice": "INVOICE"}


class Xero(Tool):
    """The tool. `auth` names the way in that `credentials` are for; a web app reaches two organisations."""

    name = "xero"
    account_id = "5e2b7a10-3c4d-4f6a-9b1e-0d7c8a9f1e21"
    signing_secret = "invented-webhook-key-for-the-sandbox"

    def __init__(
        self, home: Path, *, auth: Way = "custom_connection", key_window_s: float = 360.0, token_life_s: float = 1800.0
    ) -> None:
        super().__init__(home)
        self.auth = auth
        self.credentials = {"client_id": "SANDBOXCLIENT", "client_secret": "sandbox-client-secret"}
        self._desk = TokenDesk(auth, self.credentials, token_life_s, self._seconds)
        self.books = {self.account_id: Books(self.account_id, "Northwind Atelier")}
        if auth == "refresh_grant":
            second = "c6d7e8f9-0a1b-4c2d-8e3f-4a5b6c7d8e9f"
            self.books[second] = Books(second, "Northwind Prints", currency="GBP")
        self._keys = KeyShelf(key_window_s)
        self._hook_url: str | None = None
        self._sequence = 0

    def settings(self) -> dict[str, str]:
        """Give the connection settings that lead to this tool."""
        base = self.base_url()
        bases = {"base_url.api": base + API, "base_url.identity": base, "base_url.auth": base}
        return {**bases, "self_hosted": "yes", "link": "https://hub.example.test/"}

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Give the part of Xero's API that is simulated."""
        return [
            ("POST", "/connect/token", self._token),
            ("GET", "/connections", self._connections),
            ("GET", f"{API}/Organisation", self._organisation),
            *[
                route
                for kind in ("Contact", "Invoice")
                for route in (
                    ("GET", f"{API}/{kind}s", self._lister(kind)),
                    ("PUT", f"{API}/{kind}s", self._maker(kind)),
                    ("GET", f"{API}/{kind}s/{{record_id}}", self._getter(kind)),
                )
            ],
        ]

    # --- credentials ----------------------------------------------------------------------------------------------

    def check_auth(self, request: Request) -> None:
        """Refuse without a living access token or, for the accounting API, without an organisation it reaches."""
        path = request.url.path
        if path == "/connect/token":
            return
        if not self._desk.lets_in(request.headers.get("authorization", "").removeprefix("Bearer ")):
            raise _problem(401, "Unauthorized", "TokenExpired: token expired or unknown")
        if path.startswith(API) and request.headers.get("xero-tenant-id") not in self.books:
            raise _problem(403, "Forbidden", "AuthenticationUnsuccessful")

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        granted = self._desk.grant(request.headers.get("authorization", ""), form)
        self.history.add("granted", grant=form["grant_type"])
        return _json(granted)

    async def expire_access(self) -> dict[str, Any]:
        """Let all access tokens end now."""
        return {"expired": self._desk.expire()}

    # --- the accounting API ---------------------------------------------------------------------------------------

    async def _connections(self, request: Request) -> Response:
        made = self.now().strftime("%Y-%m-%dT%H:%M:%S.0000000")
        listed = [(one.organisation_id, "ORGANISATION", one.name) for one in self.books.values()]
        if self.auth == "refresh_grant":
            listed.append(("d9e8f7a6-b5c4-4d3e-8f2a-1b0c9d8e7f6a", "PRACTICE", "Harbour Accountants"))
        return _json(
            [
                {"id": f"con-{one}", "authEventId": "evt", "tenantId": one, "tenantType": kind, "tenantName": name}
                | {"createdDateUtc": made, "updatedDateUtc": made}
                for one, kind, name in listed
            ]
        )

    async def _organisation(self, request: Request) -> Response:
        books = self._books(request)
        described = {
            "OrganisationID": books.organisation_id,
            "Name": books.name,
            "LegalName": books.name,
            "BaseCurrency": books.currency,
            "CountryCode": "DK",
            "OrganisationStatus": "ACTIVE",
            "Timezone": "ROMANCESTANDARDTIME",
            "ShortCode": "!nW4t1",
        }
        return self._envelope({"Organisations": [described]})

    def _lister(self, kind: str) -> Handler:
        async def answer(request: Request) -> Response:
            query = dict(request.query_params)
            if unknown := sorted(set(query) - QUERY[kind]):
                raise bad_query(f"unknown parameters: {', '.join(unknown)}")
            since = request.headers.get("if-modified-since")
            books = self._books(request)
            return self._envelope(books.listed(kind, query, since, self.now(), self.misbehaviour.lag_s))

        return answer

    def _getter(self, kind: str) -> Handler:
        async def answer(request: Request) -> Response:
            wanted = request.path_params["record_id"]
            records = self._of(self._books(request), kind)
            numbers = (
                one for one in records.values() if wanted in (one.data.get("ContactNumber"), one.data.get("InvoiceNumber"))
            )
            record = records.get(wanted) or next(numbers, None)
            if record is None:
                raise _problem(404, "NotFound", "The resource you're looking for cannot be found")
            return self._envelope({f"{kind}s": [record.data]})

        return answer

    def _maker(self, kind: str) -> Handler:
        async def answer(request: Request) -> Response:
            asked = (request.method, str(request.url), await request.body())
            key = request.headers.get("idempotency-key")
            answered = self._keys.recall(key, asked, self._seconds())
            if answered is None:
                answered = self._make(kind, self._books(request), asked)
                self._keys.keep(key, answered)
            elif answered.status == 200:
                self.history.add("repeated", kind=kind.lower(), key=key)
            if answered.status != 200:
                raise VendorError(answered.status, answered.body)
            return _json(answered.body)

        return answer

    def _make(self, kind: str, books: Books, asked: Asked) -> Answered:
        try:
            made = [self._enter(kind, books, one, mine=True) for one in _elements(asked[2], f"{kind}s")]
        except VendorError as refusal:
            return Answered(asked, refusal.status, refusal.body, self._seconds())
        self._tell(books, [(kind, one, "CREATE") for one in made])
        body = self._wrapped({f"{kind}s": [one.data | {"StatusAttributeString": "OK"} for one in made]})
        # Kept as it was at that moment: a repeat shows the record as it was made, not as it has become.
        return Answered(asked, 200, jsonio.loads(jsonio.dumps(body)), self._seconds())

    def _enter(self, kind: str, books: Books, given: Mapping[str, Any], *, mine: bool) -> Record:
        make = books.make_invoice if kind == "Invoice" else books.make_contact
        record = make(given, self.now(), mine=mine)
        data = record.data
        self.history.add(
            "created",
            kind=kind.lower(),
            id=data[f"{kind}ID"],
            name=data.get("Name") or data.get("Reference") or data.get("InvoiceNumber"),
            marker=marker_in(data.get("Url"), data.get("ContactNumber")),
            by="api" if mine else "person",
            account=books.organisation_id,
            **({"total": str(data["Total"]), "contact": data["Contact"]["ContactID"]} if kind == "Invoice" else {}),
        )
        return record

    # --- webhooks -------------------------------------------------------------------------------------------------

    def _tell(self, books: Books, changes: list[tuple[str, Record, str]]) -> None:
        """Send one batch for what changed together."""
        if self._hook_url is None:
            return
        first = self._sequence + 1
        self._sequence += len(changes)
        now = self.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]  # Xero leaves the zone out and means UTC
        events = [
            {
                "resourceUrl": f"https://api.xero.com{API}/{kind}s/{record.data[f'{kind}ID']}",
                "resourceId": record.data[f"{kind}ID"],
                "tenantId": books.organisation_id,
                "tenantType": "ORGANISATION",
                "eventCategory": CATEGORY[kind],
                "eventType": change,
                "eventDateUtc": now,
            }
            for kind, record, change in changes
        ]
        body = _batch(events, first, self._sequence)
        told = {"ids": [one["resourceId"] for one in events], "first": first, "last": self._sequence}
        self.ring(Hook(self._hook_url, body, self._signed, told))

    def _signed(self, body: bytes, key: str | None = None) -> dict[str, str]:
        digest = hmac.new((key or self.signing_secret).encode(), body, hashlib.sha256).digest()
        return {"x-xero-signature": base64.b64encode(digest).decode(), "content-type": "application/json; charset=utf-8"}

    async def set_webhook(self, url: str) -> dict[str, Any]:
        """Enter a delivery URL, as a person does, and press *Send intent to receive*: it serves only if all is well."""
        answers = []
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            for key in (None, "wrong-" + secrets.token_hex(8), None, "wrong-" + secrets.token_hex(8)):
                body = _batch([], 0, 0)
                wanted = 200 if key is None else 401
                try:
                    reply = await client.post(url, content=body, headers=self._signed(body, key))
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    answers.append({"wanted": wanted, "status": 0, "ok": False, "why": type(error).__name__})
                    continue
                ok = reply.status_code == wanted and not reply.content and "set-cookie" not in reply.headers
                answers.append({"wanted": wanted, "status": reply.status_code, "body": len(reply.content), "ok": ok})
        ok = all(answer["ok"] for answer in answers)
        self._hook_url = url if ok else None
        self.history.add("intent to receive", url=url, ok=ok, answers=answers)
        return {"ok": ok, "answers": answers}

    # --- what people do -------------------------------------------------------------------------------------------

    @property
    def acts(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Give what a person can do in Xero, in the first organisation."""
        return {
            "set_webhook": self.set_webhook,
            "add_contact": self.add_contact,
            "rename_contact": self.rename_contact,
            "archive_contact": self.archive_contact,
            "merge_contact": self.merge_contact,
            "add_invoice": self.add_invoice,
            "approve_invoice": self.approve_invoice,
            "pay_invoice": self.pay_invoice,
            "void_invoice": self.void_invoice,
            "expire_access": self.expire_access,
            "list": self.everything,
        }

    @property
    def _first(self) -> Books:
        return self.books[self.account_id]

    async def add_contact(self, name: str, email: str = "", **more: Any) -> dict[str, Any]:
        """Enter a contact by hand."""
        record = self._enter("Contact", self._first, {"Name": name, "EmailAddress": email, **more}, mine=False)
        self._tell(self._first, [("Contact", record, "CREATE")])
        return {"id": record.data["ContactID"]}

    async def rename_contact(self, id: str, name: str) -> dict[str, Any]:  # noqa: A002
        """Give a contact another name."""
        return self._change("Contact", id, Name=name)

    async def archive_contact(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Archive a contact."""
        return self._change("Contact", id, ContactStatus="ARCHIVED")

    async def merge_contact(self, id: str, into: str) -> dict[str, Any]:  # noqa: A002
        """Merge a contact into another one: it is archived, its invoices go over."""
        other = self._first.contacts[into].data
        for invoice in self._first.invoices.values():
            if invoice.data["Contact"]["ContactID"] == id:
                invoice.data["Contact"] = other
        return self._change("Contact", id, ContactStatus="ARCHIVED", MergedToContactID=into)

    async def add_invoice(self, contact: str, amount: str, reference: str = "", tax: str = "NONE", **more: Any) -> dict[str, Any]:
        """Draft an invoice by hand. `tax`: the tax type of its line."""
        line = {"Description": reference or "Services", "UnitAmount": amount_of(amount), "AccountCode": "200", "TaxType": tax}
        given = {"Type": "ACCREC", "Contact": {"ContactID": contact}, "LineItems": [line], "Reference": reference, **more}
        record = self._enter("Invoice", self._first, given, mine=False)
        self._tell(self._first, [("Invoice", record, "CREATE")])
        return {"id": record.data["InvoiceID"]}

    async def approve_invoice(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Approve a draft; one without a due date gets fourteen days."""
        invoice = self._invoice(id, "DRAFT", "SUBMITTED")
        if "DueDate" not in invoice:
            set_due(invoice, self.now().date() + timedelta(days=14))
        return self._change("Invoice", id, Status="AUTHORISED")

    async def pay_invoice(self, id: str, amount: str | None = None) -> dict[str, Any]:  # noqa: A002
        """Book a payment on an approved invoice, all of it unless told otherwise."""
        invoice = self._invoice(id, "AUTHORISED")
        pay(invoice, amount_of(amount) if amount else invoice["AmountDue"], self.now())
        return self._change("Invoice", id)

    async def void_invoice(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Void an approved invoice, or delete a draft."""
        invoice = self._invoice(id, "DRAFT", "SUBMITTED", "AUTHORISED")
        return self._change("Invoice", id, Status="VOIDED" if invoice["Status"] == "AUTHORISED" else "DELETED")

    async def everything(self) -> dict[str, Any]:
        """List what there is, shortly."""
        contacts = [one.data for one in self._first.contacts.values()]
        invoices = [one.data for one in self._first.invoices.values()]
        return {
            "contacts": [{"id": one["ContactID"], "name": one["Name"], "email": one["EmailAddress"]} for one in contacts],
            "invoices": [
                {"id": one["InvoiceID"], "number": one["InvoiceNumber"], "status": one["Status"], "total": str(one["Total"])}
                | {"currency": one["CurrencyCode"], "reference": one["Reference"], "contact": one["Contact"]["ContactID"]}
                for one in invoices
            ],
        }

    def _invoice(self, record_id: str, *statuses: str) -> dict[str, Any]:
        invoice = self._first.invoices[record_id].data
        if invoice["Status"] not in statuses:
            raise LookupError(f"invoice {record_id} is {invoice['Status']}, not {' or '.join(statuses)}")
        return invoice

    def _change(self, kind: str, record_id: str, **values: Any) -> dict[str, Any]:
        record = self._of(self._first, kind)[record_id]
        record.data.update(values)
        touched(record.data, self.now())
        told = values or {"Status": record.data["Status"]}
        self.history.add("changed", kind=kind.lower(), id=record_id, by="person", account=self.account_id, **told)
        self._tell(self._first, [(kind, record, "UPDATE")])
        return {"id": record_id}

    # --- small things ---------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        return self.now().timestamp()

    def _books(self, request: Request) -> Books:
        return self.books[request.headers["xero-tenant-id"]]

    def _of(self, books: Books, kind: str) -> dict[str, Record]:
        return books.invoices if kind == "Invoice" else books.contacts

    def _wrapped(self, inner: dict[str, Any]) -> dict[str, Any]:
        now = ms_date(self.now()).replace("+0000", "")
        return {"Id": secrets.token_hex(16), "Status": "OK", "ProviderName": "lifecyclehub sandbox", "DateTimeUTC": now, **inner}

    def _envelope(self, inner: dict[str, Any]) -> Response:
        return _json(self._wrapped(inner))


def _json(body: Any) -> Response:
    return Response(jsonio.dumps(body), media_type="application/json")


def _batch(events: list[dict[str, Any]], first: int, last: int) -> bytes:
    entropy = secrets.token_hex(10).upper()
    return jsonio.dumps({"events": events, "firstEventSequence": first, "lastEventSequence": last, "entropy": entropy}).encode()


def _elements(body: bytes, plural: str) -> list[Mapping[str, Any]]:
    """Give the posted records: an envelope with a list, or one alone."""
    try:
        posted = jsonio.parse_strictly(body)
    except NotOurJson as error:
        raise bad_post(str(error)) from error
    given = posted.get(plural, [posted]) if isinstance(posted, Mapping) else None
    if not isinstance(given, list) or not given or (plural in posted and len(posted) > 1):
        raise bad_post(f"the body must be {{{plural}: [...]}}")
    return given


def _problem(status: int, title: str, detail: str) -> VendorError:
    return VendorError(status, {"Type": None, "Title": title, "Status": status, "Detail": detail, "Extensions": {}})
