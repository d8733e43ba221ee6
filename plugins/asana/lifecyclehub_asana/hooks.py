"""Asana's webhooks: made, asked after, ended."""

from __future__ import annotations

from lifecyclehub.connector import Call, Endpoint, Health, Subscription
from lifecyclehub.errors import ConfigurationError, NotOurJson, RecordGone
from lifecyclehub.messages import Reply, Request, header
from lifecyclehub_asana.api import complaint, content, everything, instant, path, record

# A webhook on a whole workspace must have filters, and may not ask for tasks, stories or single fields.
PROJECT_ACTIONS = ("added", "changed", "removed", "deleted", "undeleted")
STATE = "active,target,last_success_at,last_failure_at,last_failure_content,delivery_retry_count,failure_deletion_timestamp"
SECRET = "X-Hook-Secret"  # noqa: S105 (a header's name)


async def subscribe(call: Call, endpoint: Endpoint) -> Subscription:
    """Make a webhook on the workspace for all its projects, or on one project that `endpoint.resource` names.

    Asana shakes hands with our address while this call is open, and refuses a second webhook for the same address:
    one left over from an attempt whose answer was lost has a secret that nobody knows, so it goes first.
    """
    await _end_leftovers(call, endpoint)
    resource = endpoint.resource or call.account
    body = {
        "resource": resource,
        "target": endpoint.url,
        "filters": [{"resource_type": "project", "action": action} for action in PROJECT_ACTIONS],
    }
    reply = await call.send(Request(method="POST", path=path("webhooks"), json={"data": body}))
    if reply.status in (400, 403):
        raise ConfigurationError(
            f"Asana did not make the webhook: {complaint(reply)}",
            where=endpoint.url,
            mend="Asana calls this address while it makes the webhook: check that it is public, https, and reaches this hub.",
        )
    hook = record(reply, "POST /webhooks")
    return Subscription(id=hook["gid"], resource=resource, secret=_secret(reply))


async def probe(call: Call, subscription: Subscription) -> Health:
    """Tell whether a webhook stands; while Asana fails to reach us it stands still, and the reason says so."""
    where = path("webhooks", subscription.id)
    reply = await call.send(Request(method="GET", path=where, query=(("opt_fields", STATE),)))
    try:
        hook = record(reply, f"GET {where}")
    except RecordGone:
        return Health(
            ok=False, reason="Asana has deleted the webhook, as it does after 24 hours without an answer. Subscribe again."
        )
    if hook.get("active") is not True:
        return Health(ok=False, reason="The webhook is not active, Asana sends nothing through it. Subscribe again.")
    failed, well = instant(hook.get("last_failure_at")), instant(hook.get("last_success_at"))
    if failed is None or (well is not None and well >= failed):
        return Health(ok=True)
    said = " ".join(str(hook.get("last_failure_content") or "").split())[:200]
    return Health(
        ok=True,
        reason=f"Asana could not deliver at {failed:%Y-%m-%d %H:%M} UTC ({said or 'no reason given'}) and tries again.",
        expires_at=instant(hook.get("failure_deletion_timestamp")),
    )


async def unsubscribe(call: Call, webhook: str) -> None:
    """End a webhook; fine when it is gone already."""
    where = path("webhooks", webhook)
    try:
        content(await call.send(Request(method="DELETE", path=where)), f"DELETE {where}")
    except RecordGone:
        return


async def _end_leftovers(call: Call, endpoint: Endpoint) -> None:
    query = {"workspace": call.account, "resource": endpoint.resource or call.account, "opt_fields": "target"}
    leftovers = [row["gid"] async for row in everything(call, path("webhooks"), query) if row.get("target") == endpoint.url]
    for webhook in leftovers:
        await unsubscribe(call, webhook)


def _secret(reply: Reply) -> str | None:
    """Give the secret, which Asana puts beside the data of its answer."""
    try:
        beside = reply.json().get(SECRET)
    except NotOurJson:
        beside = None
    return beside if isinstance(beside, str) else header(reply.headers, SECRET)
