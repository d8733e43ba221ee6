"""How the simulated Xero lets callers in, and what it remembers of requests with an idempotency key."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lifecyclehub.sandbox.tool import VendorError
from lifecyclehub.sandbox.xero_books import bad_post

Way = Literal["custom_connection", "refresh_grant"]
Asked = tuple[str, str, bytes]
"""Method, address and body of a request."""

SCOPES = frozenset(
    {
        "accounting.invoices",
        "accounting.invoices.read",
        "accounting.contacts",
        "accounting.contacts.read",
        "accounting.settings",
        "accounting.settings.read",
        "accounting.payments",
    }
)


class TokenDesk:
    """Grants access tokens for one client; a refresh token serves once. `seconds`: the tool's clock."""

    def __init__(self, auth: Way, credentials: dict[str, str], life_s: float, seconds: Callable[[], float]) -> None:
        self._auth, self._credentials, self._life_s, self._seconds = auth, credentials, life_s, seconds
        self._refresh_token = secrets.token_urlsafe(24)
        if auth == "refresh_grant":
            credentials["refresh_token"] = self._refresh_token
        self._access: dict[str, float] = {}

    def lets_in(self, token: str) -> bool:
        """Tell whether an access token is living."""
        return self._access.get(token, 0.0) > self._seconds()

    def expire(self) -> int:
        """End all access tokens, and say how many."""
        self._access = dict.fromkeys(self._access, 0.0)
        return len(self._access)

    def grant(self, authorization: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Answer a token request. Raises `VendorError` as Xero's identity server refuses."""
        client = f"{self._credentials['client_id']}:{self._credentials['client_secret']}"
        if authorization != "Basic " + base64.b64encode(client.encode()).decode():
            raise VendorError(400, {"error": "invalid_client"})
        match form.get("grant_type"), self._auth:
            case "client_credentials", "custom_connection":
                more = {"scope": _scopes(form.get("scope", ""))}
            case "refresh_token", "refresh_grant":
                more = {"refresh_token": self._next(form.get("refresh_token", ""))}
            case _:
                raise VendorError(400, {"error": "unauthorized_client"})
        token = secrets.token_urlsafe(24)
        self._access[token] = self._seconds() + self._life_s
        return {"access_token": token, "expires_in": int(self._life_s), "token_type": "Bearer", **more}

    def _next(self, given: str) -> str:
        if not hmac.compare_digest(given.encode(), self._refresh_token.encode()):
            raise VendorError(400, {"error": "invalid_grant"})
        self._refresh_token = secrets.token_urlsafe(24)
        return self._refresh_token


def _scopes(asked: str) -> str:
    if not asked.split() or set(asked.split()) - SCOPES:
        raise VendorError(400, {"error": "invalid_scope"})
    return asked


@dataclass(slots=True)
class Answered:
    """What was answered to a request, refusals too."""

    asked: Asked
    status: int
    body: Any
    at: float


@dataclass(slots=True)
class KeyShelf:
    """Answers by idempotency key, kept for `window_s` seconds from the first request."""

    window_s: float
    _kept: dict[str, Answered] = field(default_factory=dict)

    def recall(self, key: str | None, asked: Asked, now: float) -> Answered | None:
        """Give what this request was answered before. Raises `VendorError` when the key served another request."""
        if key is None:
            return None
        if len(key) > 128:
            raise bad_post("The idempotency key is longer than 128 characters")
        kept = self._kept.get(key)
        if kept is None or now - kept.at >= self.window_s:
            return None
        if kept.asked != asked:
            raise bad_post(f"The idempotency key {key} is used with a different request")
        return kept

    def keep(self, key: str | None, answered: Answered) -> None:
        """Keep an answer under its key."""
        if key is not None:
            self._kept[key] = answered
