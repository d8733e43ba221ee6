"""The simulated Asana's webhooks: made with a handshake, filtered, signed with a secret each."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import httpx

from lifecyclehub.sandbox.asana_shape import FILTER_MEMBERS, checked, refusal, unknown
from lifecyclehub.sandbox.asana_state import Record, State, bare
from lifecyclehub.sandbox.tool import Hook

HANDSHAKE_S = 10.0
NO_HANDSHAKE = "The remote server did not respond to the handshake with the X-Hook-Secret header."


class Webhooks:
    """Makes webhooks and sends events through them. `ring` queues deliveries."""

    def __init__(self, state: State, ring: Callable[..., None]) -> None:
        self._state, self._ring = state, ring

    async def made(self, data: Record) -> tuple[Record, str]:
        """Make a webhook once its target has echoed the secret; give both."""
        filters = data.get("filters") or []
        resource = self._resource(data["resource"], filters)
        for other in self._state.webhooks.records.values():
            if other["target"] == data["target"] and other["resource"]["gid"] == resource["gid"]:
                raise refusal(403, "This webhook already exists for this resource and target.")
        hook = self._state.add_webhook(resource, data["target"], filters)
        secret = self._state.secrets[hook["gid"]].decode()
        await _shake_hands(data["target"], secret)
        return self._state.webhooks.put(hook | {"active": True}), secret

    def _resource(self, gid: str, filters: list[Record]) -> Record:
        for one in filters:
            checked(one, FILTER_MEMBERS)
        if gid in self._state.projects.records:
            return self._state.projects.get(gid)
        if gid != self._state.workspace["gid"]:
            raise unknown("resource", gid)
        if not filters:
            raise refusal(400, "filters: Webhooks on a workspace must have filters")
        if any(one.get("fields") or one.get("resource_type") in ("task", "story") for one in filters):
            raise refusal(400, "filters: Webhooks on a workspace support neither fields nor events on tasks and stories")
        return self._state.workspace

    def event(self, resource: Record, action: str, user: Record, **more: Any) -> Record:
        """Make an event, as thin as Asana's: ids and types only."""
        event = {"user": bare(user), "created_at": self._state.stamp(), "action": action, "resource": bare(resource)}
        return {**event, "parent": None, **more}

    def tell(self, *events: Record) -> None:
        """Send each webhook those events that pass its filters, in one delivery."""
        for hook in self._state.webhooks.records.values():
            passing = [event for event in events if _passes(event, hook)]
            if passing:
                self._send(hook, passing)

    def beat(self) -> int:
        """Send every webhook an empty delivery, and give how many."""
        for hook in self._state.webhooks.records.values():
            self._send(hook, [])
        return len(self._state.webhooks.records)

    def answered(self, hook: Hook, status: int) -> None:
        """Note on the webhook how its target answered; one that says 410 (gone) is deleted."""
        record = self._state.webhooks.records.get(hook.about["webhook"])
        if record is None:
            return
        moment = self._state.stamp()
        if 200 <= status < 300:
            record |= {"last_success_at": moment, "delivery_retry_count": 0}
        elif status == 410:
            self._state.webhooks.drop(record["gid"])
        else:
            failures = record["delivery_retry_count"] + 1
            record |= {"last_failure_at": moment, "last_failure_content": f"{status}", "delivery_retry_count": failures}

    def _send(self, hook: Record, events: list[Record]) -> None:
        secret = self._state.secrets[hook["gid"]]

        def signed(body: bytes) -> dict[str, str]:
            signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
            return {"Content-Type": "application/json", "X-Hook-Signature": signature}

        body = json.dumps({"events": events}, separators=(",", ":"), ensure_ascii=False).encode()
        about = {"webhook": hook["gid"], "events": [[event["action"], event["resource"]["gid"]] for event in events]}
        self._ring(Hook(hook["target"], body, signed, about))


async def _shake_hands(target: str, secret: str) -> None:
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(timeout=HANDSHAKE_S, trust_env=False) as client:
            reply = await client.post(target, headers={"X-Hook-Secret": secret})
            if reply.status_code in (200, 204) and reply.headers.get("X-Hook-Secret") == secret:
                return
    raise refusal(400, NO_HANDSHAKE)


def _passes(event: Record, hook: Record) -> bool:
    if hook["resource"]["resource_type"] == "project" and not _concerns(event, hook["resource"]["gid"]):
        return False
    return not hook["filters"] or any(_matches(event, one) for one in hook["filters"])


def _concerns(event: Record, project: str) -> bool:
    return project in (event["resource"]["gid"], (event["parent"] or {}).get("gid"))


def _matches(event: Record, one: Record) -> bool:
    if one.get("resource_type") not in (None, event["resource"]["resource_type"]):
        return False
    if one.get("action") not in (None, event["action"]):
        return False
    return not one.get("fields") or (event.get("change") or {}).get("field") in one["fields"]
