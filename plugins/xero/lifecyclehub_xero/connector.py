"""The Xero connector: what it is, how its webhooks are read, how its records are looked at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeGuard

from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Account,
    Auth,
    ByHand,
    Call,
    Connector,
    Door,
    Endpoint,
    FieldInfo,
    Health,
    Host,
    Kind,
    Page,
    Rate,
    Setting,
    Signature,
    Subscription,
)
from lifecyclehub.errors import ConfigurationError, Moved, RecordGone
from lifecyclehub.messages import Delivery, Document, Notice, Ref
from lifecyclehub_xero.actions import CreateCustomerAction, CreateDraftInvoiceAction
from lifecyclehub_xero.api import (
    ACCOUNT_HEADER,
    ALL_STATUSES,
    CONTACT,
    INVOICE,
    SHELVES,
    body_of,
    document,
    get,
    items_of,
    moment,
    one,
    page_of,
)
from lifecyclehub_xero.fields import FIELDS
from lifecyclehub_xero.texts import contact_name, phone

# What a webhook entry is about; other categories become a kind of the same name and are kept as ignored.
CATEGORIES = {"INVOICE": INVOICE, "CONTACT": CONTACT}

# Asked for beside the page when sweeping: sales invoices only (bills are invoices to Xero too), archived contacts too.
SWEPT: dict[str, tuple[tuple[str, str], ...]] = {
    INVOICE: (("where", 'Type=="ACCREC"'), ("Statuses", ALL_STATUSES)),
    CONTACT: (("includeArchived", "true"),),
}
OVERLAP, SECOND = timedelta(minutes=2), timedelta(seconds=1)
SCOPES = "accounting.invoices accounting.contacts accounting.settings.read"

HOOK_STEPS = (
    "Open developer.xero.com, your app, Webhooks.",
    "Choose the event types Contacts and Invoices, enter the delivery URL {url} and save.",
    "Copy the webhook key that Xero shows and enter it here as the endpoint's signing secret, before the next step.",
    "Press Send 'Intent to receive': Xero sends signed and badly signed tests and then says OK.",
)


class Xero(Connector):
    """Xero's Accounting API: customers and sales invoices of one organisation."""

    about: ClassVar[About] = About(
        id="xero",
        name="Xero",
        contract=CONTRACT_VERSION,
        roles=("invoicing",),
        kinds=(
            Kind(id=INVOICE, fills="invoice", order="time", resolution_s=0.001, poll_s=900, label="Sales invoice"),
            Kind(id=CONTACT, fills="client", order="time", resolution_s=0.001, poll_s=900, label="Contact"),
        ),
        doors=(
            Door(
                name="app",
                signature=Signature(header="x-xero-signature", encoding="base64"),
                scope="app",
                setup="by_hand",
                secret="The webhook key on your app's Webhooks page at developer.xero.com.",  # noqa: S106 (where people find it)
            ),
        ),
        auths=(
            Auth(
                name="custom_connection",
                kind="client_credentials",
                label="Custom connection (one organisation)",
                secrets=("client_id", "client_secret"),
                token_path="/connect/token",  # noqa: S106 (a path)
                scope=SCOPES,
                client_auth="basic",
            ),
            Auth(
                name="refresh_grant",
                kind="refresh",
                label="Web app with a refresh token (several organisations)",
                secrets=("client_id", "client_secret", "refresh_token"),
                token_path="/connect/token",  # noqa: S106 (a path)
                rotates=True,
                client_auth="basic",
            ),
        ),
        hosts=(
            Host(name="api", base="https://api.xero.com/api.xro/2.0"),
            Host(name="identity", base="https://api.xero.com"),
            Host(name="auth", base="https://identity.xero.com"),
        ),
        actions=(CreateCustomerAction(), CreateDraftInvoiceAction()),
        # guides/oauth2/limits: per organisation 60 a minute and 5,000 a day (1,000 in the smallest tier, where Xero's
        # own 429 with Retry-After holds us back); per app 10,000 a minute.
        rates=(Rate(limit=60, per_s=60), Rate(limit=5000, per_s=86_400), Rate(limit=10_000, per_s=60, scope="grant")),
        settings=(
            Setting(
                name="account_code",
                label="Account code of invoice lines",
                default="200",
                pattern=r"[A-Za-z0-9.\-]{1,10}",
                help="The code of a sales account in your chart of accounts; 200 is Sales in a new organisation.",
            ),
            Setting(
                name="line_amount_types",
                label="How amounts relate to tax",
                default="Exclusive",
                pattern="Exclusive|Inclusive|NoTax",
                help="Exclusive: tax is added; Inclusive: tax is contained; NoTax: none.",
            ),
            Setting(
                name="tax_type",
                label="Tax type of invoice lines",
                pattern="[A-Z0-9]{1,50}",
                help="A TaxType such as OUTPUT2. Empty: the default of the account.",
            ),
            Setting(
                name="link",
                label="Address of your hub",
                default="https://lifecyclehub.invalid/",
                pattern=r"https?://(?i:(?!xero)[^/\s])+(/\S*)?",
                help="Where an invoice's 'Go to' link in Xero leads when the deal has no project address.",
            ),
        ),
        setup_steps=(
            "At developer.xero.com, My Apps, choose New app: Custom connection for one organisation, Web app for several.",
            f"Give it the scopes {SCOPES} (and offline_access for a web app); the older accounting.transactions is not needed.",
            "Custom connection: choose who authorises it, and let that person approve it for the organisation.",
            "Web app: let it be authorised once for each organisation with any OAuth client, and keep the last refresh token.",
            "Enter the client id, the client secret and, for a web app, the refresh token here.",
            "From then on let nothing else use that refresh token: each one serves once.",
            "Say which account code your invoice lines go to and whether amounts are without tax.",
        ),
        account_header=ACCOUNT_HEADER,
        server_timeout_s=60.0,
        converters=(("xero_name", contact_name), ("xero_phone", phone)),
    )

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        """Give a notice for each entry. An empty list, or null in its place, is an intent to receive, and no news.

        Entries have no id. Their sequence numbers begin anew with a new webhook, so they are no key: a notice that
        looks like an old one would be lost.
        """
        return [_notice(entry, position) for position, entry in enumerate(delivery.json["events"] or ())]

    async def accounts(self, call: Call) -> Sequence[Account]:
        """List the organisations, with the base currency of each; practices and the like are left out."""
        listed = body_of(await call.send(get("/connections", host="identity")), "the list of organisations")
        found = []
        for entry in items_of({"connections": listed}, "connections", "the list of organisations"):
            if entry.get("tenantType") == "ORGANISATION":
                organisation = str(entry["tenantId"])
                currency = await self._currency(call, organisation)
                found.append(Account(id=organisation, name=str(entry.get("tenantName") or organisation), currency=currency))
        return found

    async def _currency(self, call: Call, organisation: str) -> str | None:
        if call.account not in ("", organisation):  # the core pins the account's header: others cannot be asked
            return None
        reply = await call.send(get("/Organisation", headers=((ACCOUNT_HEADER, organisation),)))
        described = items_of(body_of(reply, "the organisation"), "Organisations", "the organisation")
        currency = described[0].get("BaseCurrency") if described else None
        return currency if isinstance(currency, str) else None

    async def fetch(self, call: Call, ref: Ref) -> Document:
        """Fetch a sales invoice with its contact, or a contact. A bill is no sales invoice, so that is RecordGone."""
        if ref.kind == INVOICE:
            return await self._invoice(call, ref.id)
        if ref.kind == CONTACT:
            return await self._contact(call, ref.id)
        raise ConfigurationError(f"Xero has no kind {ref.kind}.", mend=f"There are {', '.join(SHELVES)}.")

    async def _invoice(self, call: Call, record_id: str) -> Document:
        invoice = await one(call, INVOICE, record_id)
        if invoice.get("Type") != "ACCREC":
            raise RecordGone(f"Xero's {record_id} is of type {invoice.get('Type')}, no sales invoice")
        contact = invoice.get("Contact")
        contact_id = contact.get("ContactID") if isinstance(contact, Mapping) else None
        related = (await self._related_contact(call, str(contact_id)),) if contact_id else ()
        # Charges are as our own lines are: other people's invoices count against them with or without tax accordingly.
        net = call.settings.get("line_amount_types") != "Inclusive"
        data = {**invoice, "Billed": invoice.get("SubTotal" if net else "Total")}
        return document(INVOICE, data, call.account, tuple(one for one in related if one is not None))

    async def _related_contact(self, call: Call, contact_id: str) -> Document | None:
        """Fetch the invoice's contact whole: the copy inside an invoice lacks fields, which would look emptied."""
        try:
            return await self._contact(call, contact_id)
        except Moved as moved:
            return await self._contact(call, moved.to)
        except RecordGone:
            return None

    async def _contact(self, call: Call, record_id: str) -> Document:
        contact = await one(call, CONTACT, record_id)
        if into := contact.get("MergedToContactID"):
            raise Moved(str(into))
        return document(CONTACT, contact, call.account)

    async def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        """Look for what changed since the newest change seen, two minutes overlapping; `full`: through everything.

        A record that changes meanwhile moves to the end of the list and pulls the others one place forward. So a full
        page is followed by the first page from its newest change on, not by page two, except within one second.
        """
        since = _read_cursor(cursor) if cursor else None if full else _written(call.now() - OVERLAP)
        newest, number = since or "", 1
        query = (*SWEPT[kind], ("order", "UpdatedDateUTC ASC"))
        while True:
            items, more = await page_of(call, kind, number, query, since)
            notices = tuple(_swept(kind, item, call.account) for item in items)
            newest = max(newest, *(_written(notice.at) for notice in notices if notice.at), "")
            if not more:
                yield Page(notices, None if full else _cursor(max(since or "", _back(newest, OVERLAP))), last=True)
                return
            onward = _back(newest, SECOND)
            since, number = (onward, 1) if onward > (since or "") else (since, number + 1)
            yield Page(notices, _cursor(since), last=False)

    async def fields(self, call: Call, kind: str) -> Sequence[FieldInfo]:
        """List the fields of a kind as Xero's API names them."""
        return FIELDS.get(kind, ())

    async def subscribe(self, call: Call, endpoint: Endpoint) -> Subscription | ByHand:
        """Give the steps: Xero has no call for webhooks."""
        return ByHand(steps=HOOK_STEPS)

    async def probe(self, call: Call, subscription: Subscription) -> Health:
        """Say what can be known: nothing, Xero tells about its webhooks only on the app's page and by e-mail."""
        return Health(ok=True, reason="Xero tells about webhooks only at developer.xero.com, and by e-mail when it stops them.")


def _notice(entry: Any, position: int) -> Notice:
    """Make the notice of one entry; one that lacks its members is of the kind xero.unreadable and spoils no neighbour."""
    given = entry if isinstance(entry, Mapping) else {}
    category, record_id, organisation = (given.get(name) for name in ("eventCategory", "resourceId", "tenantId"))
    if not (_is_text(category) and _is_text(record_id) and _is_text(organisation)):
        account = organisation if _is_text(organisation) else None
        return Notice(kind="xero.unreadable", record_id=f"entry-{position}", account=account)
    return Notice(
        kind=CATEGORIES.get(category, f"xero.{category.lower()}"),
        record_id=record_id,
        account=organisation,
        at=moment(entry.get("eventDateUtc")),
    )


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value)


def _swept(kind: str, item: Mapping[str, Any], account: str) -> Notice:
    into = item.get("MergedToContactID")
    return Notice(
        kind=kind,
        record_id=str(item[SHELVES[kind].id_name]),
        account=account,
        at=moment(item.get("UpdatedDateUTC")),
        change="merged" if into else "changed",
        into=str(into) if into else None,
    )


def _written(at: datetime) -> str:
    """Write a time for If-Modified-Since as Xero reads it, in UTC and whole seconds; such texts sort by time."""
    return at.strftime("%Y-%m-%dT%H:%M:%S")


def _back(written: str, by: timedelta) -> str:
    at = moment(written)
    return _written(at - by) if at else ""


def _cursor(since: str | None) -> str:
    return json.dumps({"since": since})


def _read_cursor(cursor: str) -> str | None:
    since = json.loads(cursor)["since"]
    return str(since) if since else None
