"""The simulated Zendesk's door: OAuth tokens, the webhooks API, and the event webhooks that it sends."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lifecyclehub.connector import Signature, Timestamp
from lifecyclehub.sandbox.tool import Handler, Hook, VendorError
from lifecyclehub.sandbox.zendesk_pages import page_of
from lifecyclehub.sandbox.zendesk_records import Shown, Webhook, event_detail, iso, not_found
from lifecyclehub.signatures import sign

if TYPE_CHECKING:
    from lifecyclehub.sandbox.zendesk_desk import Desk

ACCOUNT_NUMBER = 24_681_357
SIGNATURE = Signature(
    header="x-zendesk-webhook-signature",
    encoding="base64",
    parts=("timestamp", "body"),
    timestamp=Timestamp(header="x-zendesk-webhook-signature-timestamp", unit="iso"),
)
_TOKEN_PARTS = frozenset({"grant_type", "client_id", "client_secret", "scope", "expires_in"})
_HOOK_PARTS = frozenset({"name", "endpoint", "http_method", "request_format", "status", "subscriptions"})
_DOMAINS = ("ticket", "user", "organization")
EVERYTHING = [f"zen:event-type:{domain}." for domain in _DOMAINS]


class Door:
    """Lets the hub in, and calls it."""

    def __init__(self, tool: Desk) -> None:
        self._tool = tool
        self.token_lifetime_s = 7200
        self._tokens: dict[str, tuple[datetime, frozenset[str]]] = {}

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Give the routes of tokens and webhooks."""
        return [
            ("POST", "/oauth/tokens", self._make_token),
            ("GET", "/api/v2/webhooks", self._list_hooks),
            ("POST", "/api/v2/webhooks", self._make_hook),
            ("GET", "/api/v2/webhooks/{id}", self._get_hook),
            ("DELETE", "/api/v2/webhooks/{id}", self._delete_hook),
            ("GET", "/api/v2/webhooks/{id}/signing_secret", self._get_secret),
        ]

    # --- who may come in ----------------------------------------------------------------------------------------------

    def check(self, request: Request) -> None:
        """Raise for a token that is missing, dead, or of too narrow a scope."""
        if request.url.path == "/oauth/tokens":
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        until, scopes = self._tokens.get(token, (None, frozenset[str]()))
        if scheme != "Bearer" or until is None or until <= self._tool.now():
            said = "The access token provided is expired, revoked, malformed or invalid for other reasons."
            raise VendorError(401, {"error": "invalid_token", "error_description": said})
        resource = request.url.path.removeprefix("/api/v2/").split("/")[0].split(".")[0]
        right = "read" if request.method == "GET" else "write"
        if not {right, f"{resource}:{right}"} & scopes:
            said = "You do not have access to this page. Please contact the account owner of this help desk for further help."
            raise VendorError(403, {"error": {"title": "Forbidden", "message": said}})

    async def expire_tokens(self) -> Shown:
        """All access tokens end now; the client may ask for new ones."""
        ended = len(self._tokens)
        self._tokens.clear()
        return {"ended": ended}

    async def _make_token(self, request: Request) -> Response:
        body = await json_body(request, set(), _TOKEN_PARTS)
        if body.get("grant_type") != "client_credentials":
            raise VendorError(400, {"error": "unsupported_grant_type", "error_description": "The grant type is not supported."})
        given = {name: body.get(name) for name in ("client_id", "client_secret")}
        if given != self._tool.credentials:
            said = "Client authentication failed due to unknown client, no client authentication included, or wrong secret."
            raise VendorError(401, {"error": "invalid_client", "error_description": said})
        scope = str(body.get("scope") or "read write")
        token = secrets.token_hex(32)
        self._tokens[token] = (self._tool.now() + timedelta(seconds=self.token_lifetime_s), frozenset(scope.split()))
        self._tool.history.add("token", scope=scope)
        return JSONResponse({"access_token": token, "token_type": "bearer", "scope": scope, "expires_in": self.token_lifetime_s})

    # --- the webhooks API ---------------------------------------------------------------------------------------------

    async def set_webhook(self, url: str) -> Shown:
        """An admin makes the webhook by hand, for all ticket, user and organization events."""
        hook = self._made("lifecyclehub by hand", url, EVERYTHING, self._tool.signing_secret or "")
        return {"webhook": hook.id, "signing_secret": hook.secret}

    async def _make_hook(self, request: Request) -> Response:
        given = (await json_body(request, {"webhook"}))["webhook"]
        if not isinstance(given, dict) or set(given) != _HOOK_PARTS:
            strange = sorted(set(given) ^ _HOOK_PARTS) if isinstance(given, dict) else ["webhook"]
            raise _hook_error(f"{strange[0]} is missing or unknown")
        subscriptions = given["subscriptions"]
        if not isinstance(subscriptions, list) or not all(_is_event(one) for one in subscriptions):
            raise _hook_error("subscriptions holds an unknown event type")
        if given["http_method"] != "POST" or given["request_format"] != "json":
            raise _hook_error("a webhook subscribed to events sends JSON with POST")
        hook = self._made(given["name"], given["endpoint"], subscriptions, secrets.token_urlsafe(30))
        return JSONResponse({"webhook": self._tool.records.webhook(hook)}, 201)

    async def _list_hooks(self, request: Request) -> Response:
        hooks = [self._tool.records.webhook(hook) for hook in self._tool.records.webhooks.values()]
        return JSONResponse(page_of(hooks, dict(request.query_params), "webhooks"))

    async def _get_hook(self, request: Request) -> Response:
        return JSONResponse({"webhook": self._tool.records.webhook(self._hook(request))})

    async def _delete_hook(self, request: Request) -> Response:
        hook = self._hook(request)
        del self._tool.records.webhooks[hook.id]
        self._tool.history.add("deleted", kind="webhook", id=hook.id, by="api")
        return Response(status_code=204)

    async def _get_secret(self, request: Request) -> Response:
        return JSONResponse({"signing_secret": {"algorithm": "SHA256", "secret": self._hook(request).secret}})

    def _made(self, name: str, endpoint: str, subscriptions: list[str], secret: str) -> Webhook:
        made = Webhook(
            id="01" + uuid.uuid4().hex[:24].upper(),
            name=name,
            endpoint=endpoint,
            subscriptions=subscriptions,
            secret=secret,
            created_at=self._tool.now(),
        )
        self._tool.records.webhooks[made.id] = made
        self._tool.history.add("created", kind="webhook", id=made.id, url=endpoint, marker=None)
        return made

    def _hook(self, request: Request) -> Webhook:
        hook = self._tool.records.webhooks.get(request.path_params["id"])
        if hook is None:
            raise not_found()
        return hook

    # --- ringing ------------------------------------------------------------------------------------------------------

    def hooks(self, kind: str, shown: Shown, actor_id: int, events: Iterable[tuple[str, Shown]]) -> list[Hook]:
        """Make one request per event and webhook that wants it. What events carry is thin: no custom fields."""
        made = []
        for event_type, facts in events:
            payload = {
                "type": f"zen:event-type:{event_type}",
                "account_id": ACCOUNT_NUMBER,
                "id": str(uuid.uuid4()),
                "time": iso(self._tool.now()),
                "zendesk_event_version": "2022-11-06",
                "subject": f"zen:{kind}:{shown['id']}",
                "detail": event_detail(kind, shown, actor_id),
                "event": {"meta": {"sequence": {"id": uuid.uuid4().hex.upper(), "position": 1}}, **facts},
            }
            body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
            about = {"event": event_type, "event_id": payload["id"], "record": str(shown["id"])}
            made += [self._hook_to(hook, body, about) for hook in self._wanting(payload["type"])]
        return made

    def _wanting(self, event_type: Any) -> list[Webhook]:
        hooks = self._tool.records.webhooks.values()
        return [hook for hook in hooks if hook.status == "active" and event_type.startswith(tuple(hook.subscriptions))]

    def _hook_to(self, hook: Webhook, body: bytes, about: Shown) -> Hook:
        invocation = str(secrets.randbelow(10**10))  # the same for every attempt

        def headers(raw: bytes) -> dict[str, str]:
            stamp = iso(self._tool.now())
            return {
                "content-type": "application/json; charset=utf-8",
                "user-agent": "Zendesk Webhook",
                "x-zendesk-account-id": str(ACCOUNT_NUMBER),
                "x-zendesk-webhook-id": hook.id,
                "x-zendesk-webhook-invocation-id": invocation,
                "x-zendesk-webhook-signature-timestamp": stamp,
                "x-zendesk-webhook-signature": sign(
                    SIGNATURE, hook.secret.encode(), method="POST", url=hook.endpoint, body=raw, stamp=stamp
                ),
            }

        return Hook(hook.endpoint, body, headers, about)


def _is_event(name: Any) -> bool:
    return isinstance(name, str) and name.startswith(tuple(EVERYTHING)) and name not in EVERYTHING


def _hook_error(detail: str) -> VendorError:
    error = {"code": "InvalidWebhook", "title": "Invalid webhook", "detail": detail, "status": "400"}
    return VendorError(400, {"errors": [error]})


# --- requests ---------------------------------------------------------------------------------------------------------


def path_number(request: Request) -> int:
    """Give the id in the path. What is no number is not found."""
    text = request.path_params["id"]
    if not (text.isascii() and text.isdigit()):
        raise not_found()
    return int(text)


async def json_body(request: Request, required: set[str], optional: frozenset[str] = frozenset()) -> Shown:
    """Read a JSON object with exactly these members, or refuse it as Zendesk does."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise VendorError(415, {"error": "UnsupportedMediaType", "description": "Send application/json"})
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise VendorError(400, {"error": "UnprocessableEntity", "message": "Server could not parse JSON"}) from None
    if not isinstance(body, dict) or not required <= set(body) <= required | optional:
        strange = sorted(set(body) ^ required) if isinstance(body, dict) else ["body"]
        said = f"Invalid parameter: {strange[0]} is missing or unknown"
        raise VendorError(400, {"error": {"title": "Invalid attribute", "message": said}})
    return body
