"""The HubSpot connector: what it says about itself, and the contract's methods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import ClassVar

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
    Host,
    Kind,
    Page,
    Rate,
    Setting,
    Signature,
    Subscription,
    Timestamp,
)
from lifecyclehub.errors import Unsupported
from lifecyclehub.messages import Delivery, Document, Notice, Ref
from lifecyclehub_hubspot.actions import AddDealNote, CreateDealTask, SetCompanyFields
from lifecyclehub_hubspot.describing import the_account, the_fields
from lifecyclehub_hubspot.events import notices
from lifecyclehub_hubspot.fetching import fetch_record
from lifecyclehub_hubspot.objects import OBJECTS, HubSpotObject
from lifecyclehub_hubspot.people import OWNER, OWNER_FIELDS, fetch_owner, sweep_owners
from lifecyclehub_hubspot.sweeping import sweep_all, sweep_changes

MILLISECOND = 0.001
_PROPERTY_NAMES = r"[a-z0-9_]+(\s*,\s*[a-z0-9_]+)*"

SETUP_STEPS = (
    (
        "In HubSpot, as a super admin, open Settings (the gear), then Integrations, then Private Apps (on newer accounts: "
        "Development, Legacy apps), and choose Create a private app. Name it lifecyclehub."
    ),
    (
        "On its Scopes tab add: crm.objects.deals.read, crm.objects.companies.read, crm.objects.contacts.read, "
        "crm.objects.owners.read, crm.schemas.deals.read, crm.schemas.companies.read, crm.schemas.contacts.read; and, so "
        "that notes, tasks and the client's standing can be written, crm.objects.deals.write, crm.objects.contacts.write "
        "and crm.objects.companies.write."
    ),
    (
        "Choose Create app. On its Auth tab choose Show token and keep it ready: it is asked for now. A Service Key does not "
        "do, because Service Keys have no webhooks."
    ),
)

WEBHOOK_STEPS = (
    "In HubSpot, open Settings, then Integrations, then Private Apps, choose the app and its Webhooks tab, then Edit webhooks.",
    "Under Target URL enter {url} exactly as it stands here: HubSpot signs this address too.",
    (
        "Choose Create subscription. Object type Deal: take Created, Deleted, Merged, Restored and Association changed; then, in "
        "a second subscription, Property changed with the properties Deal name, Deal stage, Amount, Currency, Deal owner, Deal "
        "description, and every one that your own mapping reads."
    ),
    (
        "The same for Company: Created, Deleted, Merged, Restored, and Property changed with Company name, Company domain name, "
        "Phone number, Country/Region and Lifecycle stage."
    ),
    (
        "The same for Contact: Created, Deleted, Deleted for privacy, Merged, Restored, Association changed, and Property "
        "changed with First name, Last name, Email and Phone number."
    ),
    (
        "Choose Subscribe, mark all new subscriptions and choose Activate, then Commit changes. It can take HubSpot five "
        "minutes to use them."
    ),
    "On the app's Auth tab choose Show secret beside Client secret, and give that as this endpoint's signing secret.",
    "Change the name of any deal in HubSpot: the first valid delivery ends the waiting here.",
)


class HubSpot(Connector):
    """HubSpot as a CRM."""

    about: ClassVar[About] = About(
        id="hubspot",
        name="HubSpot",
        contract=CONTRACT_VERSION,
        roles=("crm",),
        kinds=(
            Kind(
                id="hubspot.deal",
                fills="deal",
                order="time",
                resolution_s=MILLISECOND,
                deletes="webhook",
                poll_s=60,
                creates_client=True,
                label="Deal",
            ),
            Kind(
                id="hubspot.company",
                fills="client",
                order="time",
                resolution_s=MILLISECOND,
                deletes="webhook",
                poll_s=300,
                label="Company",
            ),
            Kind(
                id="hubspot.contact",
                fills="contact",
                order="time",
                resolution_s=MILLISECOND,
                deletes="webhook",
                poll_s=300,
                label="Contact",
            ),
            Kind(id=OWNER, fills="teammate", order="time", resolution_s=MILLISECOND, deletes="list", poll_s=3600, label="Owner"),
            Kind(id="hubspot.note", order="time", resolution_s=MILLISECOND, label="Note"),
            Kind(id="hubspot.task", order="time", resolution_s=MILLISECOND, label="Task"),
        ),
        doors=(
            Door(
                name="app",
                signature=Signature(
                    header="X-HubSpot-Signature-v3",
                    encoding="base64",
                    parts=("method", "url", "body", "timestamp"),
                    timestamp=Timestamp(header="X-HubSpot-Request-Timestamp", unit="ms"),
                ),
                scope="app",
                setup="by_hand",
                secret="The private app's client secret: in HubSpot on the app's Auth tab, Client secret, Show secret.",  # noqa: S106 (where to find it)
            ),
        ),
        auths=(Auth(name="private_app", kind="bearer", label="Access token of a private app", secrets=("token",)),),
        hosts=(Host(name="api", base="https://api.hubapi.com"),),
        # The burst limit of a private app on HubSpot's smallest plans; larger ones allow 190.
        rates=(Rate(limit=100, per_s=10.0),),
        settings=(
            Setting(
                name="ui_domain",
                label="Address of your HubSpot pages",
                default="app.hubspot.com",
                pattern=r"app(-[a-z0-9]+)?\.hubspot\.com",
                help="As it stands in your browser when HubSpot is open, for example app-eu1.hubspot.com.",
            ),
            *(
                Setting(
                    name=f"{word}_properties",
                    label=f"Further {word} properties",
                    default="",
                    pattern=f"({_PROPERTY_NAMES})?",
                    help="Internal names, separated by commas, of custom properties that your mapping reads.",
                )
                for word in ("deal", "company", "contact")
            ),
        ),
        setup_steps=SETUP_STEPS,
        actions=(AddDealNote(), CreateDealTask(), SetCompanyFields()),
        server_timeout_s=60.0,
    )

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        return tuple(notices(delivery.json))

    async def accounts(self, call: Call) -> Sequence[Account]:
        return (await the_account(call),)

    async def fetch(self, call: Call, ref: Ref) -> Document:
        if ref.kind == OWNER:
            return await fetch_owner(call, ref.id)
        return await fetch_record(call, _object(ref.kind), ref.id)

    def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        if kind == OWNER:
            return sweep_owners(call, cursor, full=full)
        wanted = _object(kind)
        return sweep_all(call, wanted, cursor) if full else sweep_changes(call, wanted, cursor)

    async def fields(self, call: Call, kind: str) -> Sequence[FieldInfo]:
        return OWNER_FIELDS if kind == OWNER else await the_fields(call, _object(kind))

    async def subscribe(self, call: Call, endpoint: Endpoint) -> Subscription | ByHand:
        return ByHand(steps=WEBHOOK_STEPS)


def _object(kind: str) -> HubSpotObject:
    if kind not in OBJECTS:
        raise Unsupported(f"HubSpot has no {kind} here; there are {', '.join((*OBJECTS, OWNER))}")
    return OBJECTS[kind]
