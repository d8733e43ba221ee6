"""What the connector says about itself."""

from __future__ import annotations

from typing import Final

from lifecyclehub.connector import CONTRACT_VERSION, About, Auth, Door, Host, Kind, Rate, Setting, Signature, Timestamp
from lifecyclehub_zendesk.actions import AddInternalCommentAction, AddTagAction

ABOUT: Final = About(
    id="zendesk",
    name="Zendesk",
    contract=CONTRACT_VERSION,
    roles=("helpdesk",),
    kinds=(
        Kind(
            id="zendesk.ticket",
            fills="ticket",
            order="time",
            resolution_s=1.0,
            deletes="webhook",
            poll_s=300,
            label="Ticket",
        ),
        Kind(
            id="zendesk.user",
            fills="contact",
            order="time",
            resolution_s=1.0,
            deletes="webhook",
            poll_s=900,
            label="Requester",
        ),
        Kind(
            id="zendesk.organization",
            fills="client",
            order="time",
            resolution_s=1.0,
            deletes="webhook",
            poll_s=900,
            label="Organization",
        ),
        Kind(id="zendesk.comment", order="none", deletes="fetch", label="Internal comment"),
    ),
    doors=(
        Door(
            name="events",
            signature=Signature(
                header="X-Zendesk-Webhook-Signature",
                encoding="base64",
                parts=("timestamp", "body"),
                timestamp=Timestamp(header="X-Zendesk-Webhook-Signature-Timestamp", unit="iso"),
            ),
            scope="connection",
            setup="api",
            # An invocation is one event to one webhook with all the attempts that Zendesk makes for it.
            delivery_key="X-Zendesk-Webhook-Invocation-Id",
            secret="Admin Center > Apps and integrations > Webhooks > the webhook > Reveal secret",  # noqa: S106 (where it is)
        ),
    ),
    auths=(
        Auth(
            name="oauth_client",
            kind="client_credentials",
            label="OAuth client (confidential)",
            secrets=("client_id", "client_secret"),
            token_host="api",  # noqa: S106 (a host's name)
            token_path="/oauth/tokens",  # noqa: S106 (an address)
            scope="read tickets:write webhooks:write",
            body_json=True,
        ),
    ),
    hosts=(Host(name="api", base="https://{subdomain}.zendesk.com"),),
    actions=(AddInternalCommentAction(), AddTagAction()),
    rates=(Rate(limit=200, per_s=60.0),),  # Team has 200 a minute, higher plans 400 to 2500
    settings=(
        Setting(
            name="subdomain",
            label="Subdomain",
            required=True,
            pattern="[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
            help="The first part of the address at which your agents work: northwind for northwind.zendesk.com.",
        ),
        Setting(
            name="project_field",
            label="Ticket field with the project",
            pattern="[0-9]{1,20}",
            help=(
                "The number of the ticket field that holds a project's address or id: "
                "Admin Center > Objects and rules > Tickets > Fields. Without it a ticket joins its client's only live project."
            ),
        ),
    ),
    setup_steps=(
        (
            "In Zendesk, as an admin, open Admin Center > Apps and integrations > APIs > OAuth clients and add a client "
            "of the kind Confidential. Requests act as the person who adds it: use an account of its own with the agent's "
            "right to edit tickets, and the admin's to manage webhooks."
        ),
        "Enter the client's identifier and secret here. (API tokens are not used: none can be made any more.)",
        "If tickets shall name their project, make a text field for tickets that only agents can edit, and enter its number.",
        (
            "The webhook is made for you. If the client may not, make it by hand: Admin Center > Apps and integrations > "
            "Webhooks > Create webhook > Zendesk events; select the ticket, user and organization events; enter the "
            "endpoint's address, POST and JSON; reveal the signing secret and enter it here."
        ),
    ),
    server_timeout_s=60.0,
)
