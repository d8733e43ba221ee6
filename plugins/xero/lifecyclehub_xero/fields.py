"""The fields of Xero's records, as its API description names them. Xero has no custom fields."""

from __future__ import annotations

from lifecyclehub.connector import FieldInfo
from lifecyclehub_xero.api import CONTACT, INVOICE

_INVOICE = (
    ("InvoiceID", "Invoice id", "text"),
    ("InvoiceNumber", "Invoice number", "text"),
    ("Reference", "Reference", "text"),
    ("Contact.ContactID", "Contact id", "text"),
    ("Contact.Name", "Contact", "text"),
    ("Date", "Issue date", "date"),
    ("DueDate", "Due date", "date"),
    ("FullyPaidOnDate", "Fully paid on", "date"),
    ("ExpectedPaymentDate", "Expected payment", "date"),
    ("CurrencyCode", "Currency", "currency"),
    ("CurrencyRate", "Exchange rate", "number"),
    ("SubTotal", "Subtotal", "amount"),
    ("TotalTax", "Tax", "amount"),
    ("Total", "Total", "amount"),
    ("AmountDue", "Amount due", "amount"),
    ("AmountPaid", "Amount paid", "amount"),
    ("AmountCredited", "Amount credited", "amount"),
    ("SentToContact", "Sent to contact", "flag"),
    ("HasAttachments", "Has attachments", "flag"),
    ("BrandingThemeID", "Branding theme id", "text"),
    ("Url", "Link to the source", "text"),
    ("UpdatedDateUTC", "Changed at", "instant"),
)
_CONTACT = (
    ("ContactID", "Contact id", "text"),
    ("Name", "Name", "text"),
    ("EmailAddress", "E-mail address", "email"),
    ("FirstName", "First name", "text"),
    ("LastName", "Last name", "text"),
    ("ContactNumber", "Contact code", "text"),
    ("AccountNumber", "Account number", "text"),
    ("CompanyNumber", "Company registration number", "text"),
    ("TaxNumber", "Tax number", "text"),
    ("Phones", "Phone numbers", "list"),
    ("Addresses", "Addresses", "list"),
    ("DefaultCurrency", "Currency", "currency"),
    ("PaymentTerms.Sales.Day", "Payment terms, day", "number"),
    ("PaymentTerms.Sales.Type", "Payment terms, kind", "text"),
    ("Website", "Website", "text"),
    ("IsCustomer", "Is a customer", "flag"),
    ("IsSupplier", "Is a supplier", "flag"),
    ("UpdatedDateUTC", "Changed at", "instant"),
)

_INVOICE_CHOICES = (
    FieldInfo(path="Type", label="Type", type="choice", options=(("ACCREC", "Sales invoice"), ("ACCPAY", "Bill"))),
    FieldInfo(
        path="Status",
        label="Status",
        type="choice",
        options=(
            ("DRAFT", "Draft"),
            ("SUBMITTED", "Awaiting approval"),
            ("AUTHORISED", "Awaiting payment"),
            ("PAID", "Paid"),
            ("VOIDED", "Voided"),
            ("DELETED", "Deleted"),
        ),
    ),
    FieldInfo(
        path="LineAmountTypes",
        label="Amounts are",
        type="choice",
        options=(("Exclusive", "Tax exclusive"), ("Inclusive", "Tax inclusive"), ("NoTax", "No tax")),
    ),
)
_CONTACT_CHOICES = (
    FieldInfo(
        path="ContactStatus",
        label="Status",
        type="choice",
        options=(("ACTIVE", "Active"), ("ARCHIVED", "Archived"), ("GDPRREQUEST", "Erasure requested")),
    ),
)


def _plain(table: tuple[tuple[str, str, str], ...]) -> tuple[FieldInfo, ...]:
    return tuple(FieldInfo(path=path, label=label, type=kind) for path, label, kind in table)


FIELDS: dict[str, tuple[FieldInfo, ...]] = {
    INVOICE: _plain(_INVOICE) + _INVOICE_CHOICES,
    CONTACT: _plain(_CONTACT) + _CONTACT_CHOICES,
}
