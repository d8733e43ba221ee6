"""The connector for Asana: what it is, what its deliveries say, how its records are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Account,
    Auth,
    Call,
    Connector,
    Door,
    Endpoint,
    FieldInfo,
    Handshake,
    Health,
    Host,
    Kind,
    Page,
    Rate,
    Setting,
    Signature,
    Subscription,
)
from lifecyclehub.errors import Forbidden, Unsupported
from lifecyclehub.messages import Delivery, Document, Notice, Ref, Request
from lifecyclehub_asana import hooks
from lifecyclehub_asana.actions import ACTIONS
from lifecyclehub_asana.api import DOCUMENTS, PROJECT, STORY, TASK, USER, everything, fetched, instant, is_gid, path, record
from lifecyclehub_asana.fields import FIELDS, custom_field
from lifecyclehub_asana.people import fetch_person, sweep_people
from lifecyclehub_asana.sweep import sweep_projects

GID = r"[0-9]{1,30}"

# "removed" is said of a project that left a team or portfolio, "undeleted" of one that came back: both are still there.
DELETED = "deleted"


class Asana(Connector):
    """Asana, reached with a personal access token or with OAuth."""

    about: ClassVar[About] = About(
        id="asana",
        name="Asana",
        contract=CONTRACT_VERSION,
        roles=("project",),
        kinds=(
            # Asana says of modified_at only that tasks and comments do not move it, not that completing does:
            # so it orders nothing, and the latest fetch counts.
            Kind(id=PROJECT, fills="project", order="none", deletes="list", poll_s=300, label="Project"),
            Kind(id=TASK, order="none", deletes="fetch", label="Task"),
            Kind(id=STORY, order="none", deletes="fetch", label="Comment"),
            Kind(id=USER, fills="teammate", order="none", deletes="list", poll_s=3600, label="User"),
        ),
        doors=(
            Door(
                name="webhook",
                signature=Signature(header="X-Hook-Signature", algorithm="hmac-sha256", encoding="hex", parts=("body",)),
                scope="resource",
                setup="api",
                handshake=Handshake(header="X-Hook-Secret"),
                # A heartbeat comes every 8 hours; after 24 hours without an answer Asana deletes the webhook.
                heartbeat=timedelta(hours=12),
                secret="Asana makes the secret in the handshake; nobody has to enter it.",  # noqa: S106 (a sentence)
            ),
        ),
        auths=(
            Auth(name="token", kind="bearer", label="Personal access token", secrets=("token",)),
            Auth(
                name="oauth",
                kind="refresh",
                label="OAuth app",
                secrets=("client_id", "client_secret", "refresh_token"),
                token_path="/-/oauth_token",  # noqa: S106 (an address)
                lifetime_s=3600,
            ),
        ),
        hosts=(
            Host(name="api", base="https://app.asana.com/api/1.0"),
            Host(name="auth", base="https://app.asana.com"),
        ),
        rates=(Rate(limit=150, per_s=60, scope="grant"),),
        settings=(
            Setting(
                name="team",
                label="Team that new projects belong to",
                pattern=GID,
                help="The team's gid, the number in its address. Organizations need one, plain workspaces have none.",
            ),
            Setting(
                name="project_template",
                label="Template that new projects are made from",
                pattern=GID,
                help="The template's gid, the number in its address. Leave it empty to start blank projects.",
            ),
            Setting(
                name="template_start_variable",
                label="Date variable of the template that takes the start date",
                pattern=GID,
                help="1 is the project's own start date. Leave it empty when the template asks for no dates.",
            ),
        ),
        setup_steps=(
            "Make a user of its own for lifecyclehub in Asana, and add it to the workspace and to the team.",
            "Log in as that user, open app.asana.com/0/my-apps, choose Create new token, and copy the token.",
            "Enter the token here and choose the workspace.",
            "For an organization enter the team's gid; open the team in Asana and take the number from its address.",
            "To start projects from a template, open the template and enter the number in its address.",
            "Make sure that this hub's public address is reached from the internet, then subscribe.",
        ),
        server_timeout_s=60.0,
        actions=ACTIONS,
    )

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        """Give a notice per event; a heartbeat has none."""
        body = delivery.json
        if body is None or body == {}:
            return []
        if not isinstance(body, dict) or not isinstance(body.get("events"), list):
            raise ValueError("an Asana delivery is an object with a list of events")  # noqa: TRY004 (a wrong value of theirs)
        return [_notice(event, position) for position, event in enumerate(body["events"])]

    async def accounts(self, call: Call) -> Sequence[Account]:
        reply = await call.send(Request(method="GET", path=path("users", "me"), query=(("opt_fields", "name,workspaces.name"),)))
        return [Account(id=one["gid"], name=one["name"]) for one in record(reply, "GET /users/me").get("workspaces") or ()]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        if ref.kind == USER:
            return await fetch_person(call, ref.id)
        if ref.kind not in DOCUMENTS:
            raise Unsupported(f"{ref.kind} is not fetched from Asana; only {', '.join((*DOCUMENTS, USER))} are")
        return await fetched(call, ref.kind, ref.id)

    def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        if kind == USER:
            return sweep_people(call, cursor, full=full)
        if kind != PROJECT:
            raise Unsupported(f"{kind} is not swept; only {PROJECT} and {USER} are")
        return sweep_projects(call, cursor, full=full)

    async def fields(self, call: Call, kind: str) -> Sequence[FieldInfo]:
        """List Asana's own fields, and the workspace's custom fields where the plan has any."""
        known = list(FIELDS.get(kind, ()))
        if kind == USER:
            return known
        query = {"opt_fields": "name,resource_subtype,enum_options.name,enum_options.enabled"}
        try:
            known += [
                custom_field(row) async for row in everything(call, path("workspaces", call.account, "custom_fields"), query)
            ]
        except (Forbidden, Unsupported):
            return known  # custom fields come with paid plans, and guests may not list them
        return known

    async def subscribe(self, call: Call, endpoint: Endpoint) -> Subscription:
        return await hooks.subscribe(call, endpoint)

    async def probe(self, call: Call, subscription: Subscription) -> Health:
        return await hooks.probe(call, subscription)

    async def unsubscribe(self, call: Call, subscription: Subscription) -> None:
        await hooks.unsubscribe(call, subscription.id)


def _notice(event: Any, position: int) -> Notice:
    """Make the notice of one event; what names no resource is one of the kind asana.unreadable and spoils no neighbour."""
    resource, user = (event.get("resource"), event.get("user")) if isinstance(event, dict) else (None, None)
    kind, gid = (resource.get("resource_type"), resource.get("gid")) if isinstance(resource, dict) else (None, None)
    if not is_gid(kind) or not is_gid(gid):
        return Notice(kind="asana.unreadable", record_id=f"event-{position}")
    actor = user.get("gid") if isinstance(user, dict) else None  # what Asana does by itself has no user
    return Notice(
        kind=f"asana.{kind}",
        record_id=str(gid),
        at=instant(event.get("created_at")),
        actor=actor if is_gid(actor) else None,
        change="deleted" if event.get("action") == DELETED else "changed",
    )
