"""The books of one organisation in the simulated Xero: contacts and invoices, their rules and their shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from lifecyclehub.sandbox.tool import VendorError

NO_ID = "00000000-0000-0000-0000-000000000000"
STATUSES = ("DRAFT", "SUBMITTED", "AUTHORISED", "PAID", "VOIDED", "DELETED")
ACCOUNTS = {"200": "Sales", "260": "Other Revenue"}
TAX_RATES = {"NONE": Decimal(0), "OUTPUT2": Decimal("0.2")}
CENT = Decimal("0.01")

_CONTACT_WRITABLE = frozenset(
    [
        "Name",
        "FirstName",
        "LastName",
        "CompanyNumber",
        "EmailAddress",
        "ContactNumber",
        "AccountNumber",
        "TaxNumber",
        "BankAccountDetails",
        "DefaultCurrency",
        "Phones",
        "Addresses",
        "ContactPersons",
        "ContactStatus",
        "PaymentTerms",
    ]
)
_INVOICE_WRITABLE = frozenset(
    [
        "Type",
        "Contact",
        "LineItems",
        "Date",
        "DueDate",
        "LineAmountTypes",
        "InvoiceNumber",
        "Reference",
        "BrandingThemeID",
        "Url",
        "CurrencyCode",
        "CurrencyRate",
        "Status",
        "SentToContact",
        "ExpectedPaymentDate",
    ]
)
_LINE_WRITABLE = frozenset(
    ["Description", "Quantity", "UnitAmount", "ItemCode", "AccountCode", "TaxType", "TaxAmount", "LineAmount", "Tracking"]
)
_LENGTHS = {"Name": 255, "FirstName": 255, "LastName": 255, "EmailAddress": 255, "ContactNumber": 50, "AccountNumber": 50}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_WHERE = re.compile(r'(\w+)=="([^"]*)"')


@dataclass(slots=True)
class Record:
    """A record in Xero's own shape. `made`: when, on the tool's clock; `mine`: made through the API."""

    data: dict[str, Any]
    made: datetime
    mine: bool


@dataclass(slots=True)
class Books:
    """What one organisation has."""

    organisation_id: str
    name: str
    currency: str = "EUR"
    currencies: frozenset[str] = frozenset({"EUR", "GBP", "USD", "DKK", "NZD"})
    contacts: dict[str, Record] = field(default_factory=dict)
    invoices: dict[str, Record] = field(default_factory=dict)

    # --- making ---------------------------------------------------------------------------------------------------

    def make_contact(self, given: Mapping[str, Any], now: datetime, *, mine: bool) -> Record:
        """Enter a contact. Raises `VendorError` in Xero's shape for what it does not take."""
        known_only(given, _CONTACT_WRITABLE, "Contact")
        if complaints := self._contact_complaints(given, None):
            raise invalid("ContactID", given, complaints)
        data = {
            "ContactID": str(uuid4()),
            "ContactStatus": "ACTIVE",
            "EmailAddress": "",
            "BankAccountDetails": "",
            "Addresses": [
                {"AddressType": kind, "City": "", "Region": "", "PostalCode": "", "Country": ""} for kind in ("STREET", "POBOX")
            ],
            "Phones": _phones(given.get("Phones")),
            "ContactGroups": [],
            "IsSupplier": False,
            "IsCustomer": False,
            "ContactPersons": [],
            "HasAttachments": False,
            "HasValidationErrors": False,
            **{name: value for name, value in given.items() if name != "Phones"},
        }
        record = Record(touched(data, now), now, mine)
        self.contacts[data["ContactID"]] = record
        return record

    def make_invoice(self, given: Mapping[str, Any], now: datetime, *, mine: bool) -> Record:
        """Enter an invoice. Raises `VendorError` in Xero's shape for what it does not take."""
        known_only(given, _INVOICE_WRITABLE, "Invoice")
        for line in _lines_of(given):
            known_only(line, _LINE_WRITABLE, "LineItem")
        if complaints := self._invoice_complaints(given):
            raise invalid("InvoiceID", given, complaints)
        contact = self.contacts[given["Contact"]["ContactID"]]
        contact.data["IsCustomer"] = given["Type"] == "ACCREC" or contact.data["IsCustomer"]
        number = given.get("InvoiceNumber") or f"INV-{len(self.invoices) + 1:04}"
        data = {
            "Type": given["Type"],
            "InvoiceID": str(uuid4()),
            "InvoiceNumber": number,
            "Reference": given.get("Reference", ""),
            "Payments": [],
            "CreditNotes": [],
            "Prepayments": [],
            "Overpayments": [],
            "AmountPaid": Decimal(0),
            "AmountCredited": Decimal(0),
            "SentToContact": False,
            "CurrencyRate": Decimal(1),
            "IsDiscounted": False,
            "HasAttachments": False,
            "HasErrors": False,
            "Contact": contact.data,
            "Status": given.get("Status", "DRAFT"),
            "LineAmountTypes": given.get("LineAmountTypes", "Exclusive"),
            "CurrencyCode": given.get("CurrencyCode", self.currency),
            **({"Url": given["Url"]} if given.get("Url") else {}),
            **_dated("Date", given.get("Date") or now.date().isoformat()),
            **(_dated("DueDate", given["DueDate"]) if given.get("DueDate") else {}),
        }
        _add_lines(data, _lines_of(given))
        record = Record(touched(data, now), now, mine)
        self.invoices[data["InvoiceID"]] = record
        return record

    # --- what Xero refuses ----------------------------------------------------------------------------------------

    def _contact_complaints(self, given: Mapping[str, Any], own_id: str | None) -> list[str]:
        name = str(given.get("Name") or "")
        said = [] if name else ["The Contact Name must be specified."]
        if re.search(r"[<>]|^\s|\s$|\s\s", name):
            said.append("The Contact Name cannot contain angle brackets or leading, trailing or repeated spaces.")
        others = [one.data for one in self.contacts.values() if one.data["ContactID"] != own_id]
        if any(one["ContactStatus"] == "ACTIVE" and one["Name"].casefold() == name.casefold() for one in others):
            said.append(
                f"The contact name {name} is already assigned to another contact. "
                "The contact name must be unique across all active contacts."
            )
        number = given.get("ContactNumber")
        if number and any(one.get("ContactNumber") == number for one in others):
            said.append(f"The contact number {number} is already assigned to another contact.")
        if given.get("EmailAddress") and not _EMAIL.fullmatch(str(given["EmailAddress"])):
            said.append("Email address must be valid.")
        if given.get("DefaultCurrency") and given["DefaultCurrency"] not in self.currencies:
            said.append(f"Currency code '{given['DefaultCurrency']}' is not valid for this organisation.")
        said += [
            f"{key} cannot exceed {most} characters." for key, most in _LENGTHS.items() if len(str(given.get(key) or "")) > most
        ]
        return said

    def _invoice_complaints(self, given: Mapping[str, Any]) -> list[str]:
        contact = given.get("Contact")
        known = self.contacts.get(str(contact.get("ContactID"))) if isinstance(contact, Mapping) else None
        url = str(given.get("Url") or "")
        numbers = {one.data["InvoiceNumber"] for one in self.invoices.values() if one.data["Type"] == "ACCREC"}
        checks = (
            (given.get("Type") in ("ACCREC", "ACCPAY"), "Invoice Type must be specified as ACCREC or ACCPAY."),
            (known is not None, "A Contact must be specified for this type of transaction."),
            (known is None or known.data["ContactStatus"] == "ACTIVE", "The contact is archived and cannot be used."),
            (bool(_lines_of(given)), "One or more line items must be specified."),
            (given.get("Status", "DRAFT") in STATUSES[:3], "Invoice Status is not valid for a new invoice."),
            (given.get("LineAmountTypes", "Exclusive") in ("Exclusive", "Inclusive", "NoTax"), "LineAmountTypes is not valid."),
            (given.get("CurrencyCode", self.currency) in self.currencies, "The currency is not valid for this organisation."),
            (given.get("InvoiceNumber") not in numbers, "Invoice # must be unique."),
            (not url or bool(urlsplit(url).netloc), "Url must be a valid absolute URL."),
            ("xero" not in url.lower(), "Url cannot contain 'xero'."),
            (all(_is_date(given[name]) for name in ("Date", "DueDate") if given.get(name)), "Date is not valid."),
        )
        said = [text for good, text in checks if not good]
        for line in _lines_of(given):
            said += _line_complaints(line)
        return said

    # --- looking --------------------------------------------------------------------------------------------------

    def listed(self, kind: str, query: Mapping[str, str], since: str | None, now: datetime, lag_s: float) -> dict[str, Any]:
        """List contacts or invoices as Xero does, page by page. What is younger than `lag_s` is not shown yet."""
        plural, id_name = f"{kind}s", f"{kind}ID"
        records = self.invoices if kind == "Invoice" else self.contacts
        seen = [one for one in records.values() if now - one.made >= timedelta(seconds=lag_s)]
        seen = [one for one in seen if _wanted(kind, one, query) and _changed_since(one.data, since)]
        _order(seen, query.get("order", f"UpdatedDateUTC ASC, {id_name} ASC"))
        if "page" not in query:
            return {plural: [one.data for one in seen]}
        page, size = _whole(query, "page", 1), _whole(query, "pageSize", 100)
        if not (page >= 1 and 1 <= size <= 1000):
            raise bad_query("page must be at least 1 and pageSize from 1 to 1000")
        pages = -(-len(seen) // size)
        paging = {"page": page, "pageSize": size, "pageCount": pages, "itemCount": len(seen)}
        return {"pagination": paging, plural: [one.data for one in seen[(page - 1) * size : page * size]]}


# --- errors in Xero's shape -------------------------------------------------------------------------------------------


def known_only(given: Any, known: frozenset[str], what: str) -> None:
    if not isinstance(given, Mapping):
        raise bad_post(f"a {what} must be an object")
    if unknown := sorted(set(given) - known):
        raise bad_post(f"{', '.join(unknown)} cannot be set on {what}")


def bad_post(message: str) -> VendorError:
    return VendorError(400, {"ErrorNumber": 17, "Type": "PostDataInvalidException", "Message": message})


def bad_query(message: str) -> VendorError:
    return VendorError(400, {"ErrorNumber": 16, "Type": "QueryParseException", "Message": message})


def invalid(id_name: str, given: Mapping[str, Any], complaints: Iterable[str]) -> VendorError:
    named = {"Name": str(given["Name"])} if given.get("Name") else {}
    element = {id_name: NO_ID, **named, "ValidationErrors": [{"Message": text} for text in complaints]}
    body = {"ErrorNumber": 10, "Type": "ValidationException", "Message": "A validation exception occurred", "Elements": [element]}
    return VendorError(400, body)


# --- shapes -----------------------------------------------------------------------------------------------------------


def ms_date(moment: datetime) -> str:
    millis = int(moment.timestamp()) * 1000 + moment.microsecond // 1000
    return f"/Date({millis}+0000)/"


def touched(data: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Set the time of change; it moves on by at least a millisecond."""
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    if old := data.get("UpdatedDateUTC"):
        now = max(now, read_ms_date(old) + timedelta(milliseconds=1))
    data["UpdatedDateUTC"] = ms_date(now)
    return data


def read_ms_date(text: str) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(text[6 : text.index("+")]))


def amount_of(typed: str) -> Decimal:
    """Read an amount as a person types it. Raises ValueError."""
    try:
        amount = Decimal(typed)
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise ValueError(f"{typed!r} is no amount; one is typed like 40.00")
    return amount


def pay(invoice: dict[str, Any], amount: Decimal, now: datetime) -> None:
    """Book a payment; what is due falls, and at nothing the invoice is paid. Raises ValueError for more than that."""
    if not 0 < amount <= invoice["AmountDue"]:
        raise ValueError(f"a payment is more than nothing and at most what is due, {invoice['AmountDue']}, not {amount}")
    invoice["Payments"].append({"PaymentID": str(uuid4()), "Date": ms_date(now), "Amount": amount, "HasAccount": False})
    invoice["AmountPaid"] += amount
    invoice["AmountDue"] -= amount
    if not invoice["AmountDue"]:
        invoice["Status"] = "PAID"
        invoice["FullyPaidOnDate"] = ms_date(now.replace(hour=0, minute=0, second=0, microsecond=0))


def set_due(invoice: dict[str, Any], day: date) -> None:
    invoice.update(_dated("DueDate", day.isoformat()))


def _dated(name: str, day: str) -> dict[str, str]:
    moment = datetime.fromisoformat(day[:10]).replace(tzinfo=UTC)
    return {f"{name}String": f"{day[:10]}T00:00:00", name: ms_date(moment)}


def _phones(given: Any) -> list[dict[str, str]]:
    by_kind = {one["PhoneType"]: one for one in given or () if isinstance(one, Mapping) and one.get("PhoneType")}
    empty = {"PhoneNumber": "", "PhoneAreaCode": "", "PhoneCountryCode": ""}
    return [{"PhoneType": kind, **empty, **by_kind.get(kind, {})} for kind in ("DEFAULT", "DDI", "FAX", "MOBILE")]


def _lines_of(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    lines = given.get("LineItems")
    return [line for line in lines if isinstance(line, Mapping)] if isinstance(lines, list) else []


def _line_complaints(line: Mapping[str, Any]) -> list[str]:
    said = [] if line.get("Description") else ["Description must be specified."]
    if line.get("AccountCode") and line["AccountCode"] not in ACCOUNTS:
        said.append(f"Account code '{line['AccountCode']}' is not a valid code for this document.")
    if line.get("TaxType") and line["TaxType"] not in TAX_RATES:
        said.append(f"The TaxType code '{line['TaxType']}' does not exist or cannot be used for this type of transaction.")
    amounts = [line.get("UnitAmount"), line.get("Quantity", 1)]
    if not all(isinstance(one, int | Decimal) and not isinstance(one, bool) for one in amounts):
        said.append("UnitAmount and Quantity must be numbers.")
    return said


def _add_lines(data: dict[str, Any], lines: list[Mapping[str, Any]]) -> None:
    made, tax = [], Decimal(0)
    for line in lines:
        amount = (Decimal(line["UnitAmount"]) * Decimal(line.get("Quantity", 1))).quantize(CENT)
        kind = line.get("TaxType", "NONE")
        rate = TAX_RATES[kind] if data["LineAmountTypes"] != "NoTax" else Decimal(0)
        share = rate if data["LineAmountTypes"] == "Exclusive" else rate / (1 + rate)
        line_tax = (amount * share).quantize(CENT)
        tax += line_tax
        own = {"LineItemID": str(uuid4()), "TaxType": kind, "TaxAmount": line_tax, "LineAmount": amount, "Tracking": []}
        made.append({"AccountCode": "", "Quantity": 1, **line, **own})
    lines_total = sum((line["LineAmount"] for line in made), Decimal(0))
    total = lines_total + tax if data["LineAmountTypes"] == "Exclusive" else lines_total
    data |= {"LineItems": made, "SubTotal": total - tax, "TotalTax": tax, "Total": total, "AmountDue": total}


def _is_date(text: Any) -> bool:
    try:
        datetime.fromisoformat(str(text))
    except ValueError:
        return False
    return True


# --- filters ----------------------------------------------------------------------------------------------------------


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit():
        raise bad_query(f"{name} must be a whole number")
    return int(text)


def _wanted(kind: str, record: Record, query: Mapping[str, str]) -> bool:
    data = record.data
    if kind == "Contact" and data["ContactStatus"] == "ARCHIVED" and query.get("includeArchived") != "true":
        return False
    if kind == "Invoice" and data["Status"] not in query.get("Statuses", ",".join(STATUSES[:-1])).split(","):
        return False  # deleted ones are shown only to those who ask for them
    if "ContactIDs" in query and data["Contact"]["ContactID"] not in query["ContactIDs"].split(","):
        return False
    if "IDs" in query and data[f"{kind}ID"] not in query["IDs"].split(","):
        return False
    if query.get("createdByMyApp") == "true" and not record.mine:
        return False
    return _where(data, query["where"]) if "where" in query else True


def _where(data: Mapping[str, Any], where: str) -> bool:
    found = _WHERE.fullmatch(where)
    if found is None or found[1] not in ("Type", "Status", "Name", "EmailAddress", "ContactNumber", "Reference", "ContactStatus"):
        raise bad_query(f"the filter {where} cannot be read")
    return bool(data.get(found[1], "") == found[2])


def _changed_since(data: Mapping[str, Any], since: str | None) -> bool:
    if since is None:
        return True
    try:
        moment = datetime.fromisoformat(since)
    except ValueError as error:
        raise bad_query(f"If-Modified-Since {since} is no date") from error
    return read_ms_date(data["UpdatedDateUTC"]) >= (moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _order(records: list[Record], order: str) -> None:
    for part in reversed(order.split(",")):
        name, _, way = part.strip().partition(" ")
        if name not in ("UpdatedDateUTC", "InvoiceID", "ContactID", "Name", "InvoiceNumber") or way not in ("", "ASC", "DESC"):
            raise bad_query(f"the order {part} cannot be read")
        records.sort(key=lambda one, name=name: str(one.data.get(name, "")), reverse=way == "DESC")  # type: ignore[misc]
