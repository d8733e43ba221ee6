"""Making, probing and ending the event webhook of a connection: developer.zendesk.com, "Webhooks API"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lifecyclehub.connector import ByHand, Call, Endpoint, Health, Subscription
from lifecyclehub.errors import Forbidden, RecordGone, TryAgain
from lifecyclehub.messages import Request
from lifecyclehub_zendesk.calls import get, mapping_in, pages, said, segment
from lifecyclehub_zendesk.events import SUBSCRIPTIONS

HOOKS: Final = "/api/v2/webhooks"

STEPS: Final = (
    "In Zendesk, open Admin Center > Apps and integrations > Webhooks and choose Create webhook.",
    "Choose Zendesk events (not Trigger or automation) and select the ticket, user and organization events.",
    "Endpoint URL {url}, request method POST, request format JSON, authentication None.",
    "Create the webhook, open it, choose Reveal secret and enter that signing secret here.",
)


async def subscribe(call: Call, endpoint: Endpoint) -> Subscription | ByHand:
    """Make the webhook, or take up the one that already calls this endpoint; by hand where we may not."""
    try:
        hook_id = await _standing(call, endpoint.url) or await _made(call, endpoint)
        return Subscription(id=hook_id, secret=await _secret(call, hook_id))
    except Forbidden:
        return ByHand(steps=STEPS)


async def probe(call: Call, subscription: Subscription) -> Health:
    """Ask whether the webhook is there and active."""
    try:
        hook = _hook(await get(call, f"{HOOKS}/{segment(subscription.id)}", record=f"webhook {subscription.id}"))
    except RecordGone:
        return Health(ok=False, reason="the webhook was deleted in Zendesk; subscribe again")
    if hook.get("status") != "active":
        return Health(ok=False, reason="the webhook is deactivated in Zendesk; activate it in Admin Center > Webhooks")
    missing = sorted(set(SUBSCRIPTIONS) - set(_subscriptions(hook)))
    if missing:
        return Health(ok=False, reason=f"the webhook lacks {len(missing)} events, the first is {missing[0]}; subscribe again")
    return Health(ok=True)


async def unsubscribe(call: Call, subscription: Subscription) -> None:
    """Delete the webhook; fine when it is gone."""
    reply = await call.send(Request(method="DELETE", path=f"{HOOKS}/{segment(subscription.id)}"))
    if reply.status == 403:
        raise Forbidden(f"Zendesk does not let us delete the webhook {subscription.id}: {said(reply)}")
    if not (200 <= reply.status < 300 or reply.status in (404, 410)):
        raise TryAgain(f"deleting the webhook {subscription.id}: status {reply.status}: {said(reply)}")


async def _standing(call: Call, url: str) -> str | None:
    """Find an active webhook of ours for this address; one that lacks events or is inactive is deleted."""
    standing: str | None = None
    stale: list[str] = []
    async for page in pages(call, HOOKS):
        hooks = page.get("webhooks")
        for hook in hooks if isinstance(hooks, list) else []:
            if not isinstance(hook, dict) or hook.get("endpoint") != url or not isinstance(hook.get("id"), str):
                continue
            whole = hook.get("status") == "active" and set(SUBSCRIPTIONS) <= set(_subscriptions(hook))
            if whole and standing is None:
                standing = hook["id"]
            else:
                stale.append(hook["id"])
    for hook_id in stale:  # two webhooks for one address would ring twice
        await unsubscribe(call, Subscription(id=hook_id))
    return standing


async def _made(call: Call, endpoint: Endpoint) -> str:
    wanted = {
        "name": f"lifecyclehub {endpoint.id}",
        "endpoint": endpoint.url,
        "http_method": "POST",
        "request_format": "json",
        "status": "active",
        "subscriptions": list(SUBSCRIPTIONS),
    }
    reply = await call.send(Request(method="POST", path=HOOKS, json={"webhook": wanted}))
    if reply.status == 403:
        raise Forbidden(said(reply))
    if not 200 <= reply.status < 300:
        raise TryAgain(f"making the webhook: status {reply.status}: {said(reply)}")
    hook_id = _hook(mapping_in(reply)).get("id")
    if not isinstance(hook_id, str) or not hook_id:
        raise TryAgain("making the webhook: Zendesk gave no id for it")
    return hook_id


async def _secret(call: Call, hook_id: str) -> str:
    body = await get(call, f"{HOOKS}/{segment(hook_id)}/signing_secret")
    secret = body.get("signing_secret")
    value = secret.get("secret") if isinstance(secret, dict) else None
    if not isinstance(value, str) or not value:
        raise TryAgain(f"Zendesk showed no signing secret for the webhook {hook_id}")
    return value


def _hook(body: Mapping[str, Any]) -> Mapping[str, Any]:
    hook = body.get("webhook")
    if not isinstance(hook, dict):
        raise TryAgain("Zendesk answered without a webhook")
    return hook


def _subscriptions(hook: Mapping[str, Any]) -> list[str]:
    subscriptions = hook.get("subscriptions")
    return [one for one in subscriptions if isinstance(one, str)] if isinstance(subscriptions, list) else []
