"""Grants: credentials, refreshed once for all that wait, and kept before they are used."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import quote

from pydantic import SecretStr

from lifecyclehub.connector import Auth
from lifecyclehub.errors import NeedsReauthorization, NotOurJson, TryAgain
from lifecyclehub.messages import Reply, Request
from lifecyclehub.ports import Clock
from lifecyclehub.vendor.target import Target

MARGIN_S: Final = 60.0
"""An access token is renewed this long before it ends, so that it does not end on the way."""

CACHED_S: Final = 60.0
"""How long credentials may be used without looking into the store again."""

HELD_S: Final = 0.5
"""How long to wait before looking again whether another process has renewed them."""

_EXCHANGED: Final = frozenset({"client_credentials", "refresh"})
_FITS_IN_A_HEADER: Final = re.compile(r"[!-~]+")  # RFC 6750, 2.1 allows still less
# RFC 6749, 5.2: the only words of a refusal that are repeated, as a vendor may echo what we sent.
_OAUTH_ERRORS: Final = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One grant's credentials. `secrets` by the names of `Auth.secrets`; a rotated refresh token replaces the old one there.

    `access` is the present access token and when it ends (None: unknown); `refreshing_since`: a refresh with a
    single-use token was sent then, and its answer has not been kept.
    """

    secrets: Mapping[str, SecretStr]
    access: SecretStr | None = None
    expires_at: datetime | None = None
    refreshing_since: datetime | None = None


class GrantStore(Protocol):
    """Where credentials are kept, sealed. `save` returns only when they are safe on disk.

    With `instead_of` they replace only those secrets: False, and nothing is written, when others stand there by now.
    `hold` gives this process alone, for a minute at most, the right to renew them; False while another has it.
    """

    async def load(self, grant_id: str) -> Tokens: ...
    async def save(self, grant_id: str, tokens: Tokens, instead_of: Tokens | None = None) -> bool: ...
    async def hold(self, grant_id: str) -> bool: ...
    async def let_go(self, grant_id: str) -> None: ...


Exchanger = Callable[[Target, Request, Mapping[str, str]], Awaitable[Reply]]
"""Sends a token request; raises `TryAgain`, whose `sent` tells whether the vendor may have taken that request."""


class Grants:
    """Gives the credentials of a call. One refresh per grant at a time; whoever else needs it waits for that one."""

    def __init__(self, store: GrantStore, clock: Clock, exchange: Exchanger) -> None:
        self._store, self._clock, self._exchange = store, clock, exchange
        self._known: dict[str, tuple[float, Tokens]] = {}
        self._unkept: dict[str, tuple[Tokens, Tokens]] = {}  # the new ones, and those that they came of
        self._renewing: dict[str, asyncio.Task[Tokens]] = {}

    def forget(self, grant_id: str) -> None:
        """Look into the store again at the next call: an admin may have given new credentials.

        Tokens that could not be kept yet stay: they are the only ones that serve, unless others stand in the store by now.
        """
        self._known.pop(grant_id, None)

    async def credentials(self, target: Target) -> tuple[dict[str, str], SecretStr | None]:
        """Give the headers of a call, and the access token in them where one can be renewed.

        Raises `NeedsReauthorization`, or `TryAgain` (nothing of the call was sent).
        """
        tokens = await self._tokens(target.grant)
        if target.auth.kind not in _EXCHANGED:
            return _fixed_headers(target.auth, tokens, target), None
        access = tokens.access if self._is_fresh(tokens) else (await self._renew(target)).access
        if access is None:
            raise _reauthorize(target, "there is no access token")
        return {"authorization": f"Bearer {access.get_secret_value()}"}, access

    def at_hand(self, target: Target) -> tuple[dict[str, str], SecretStr | None] | None:
        """Give the same as `credentials` where nothing has to be waited for, which is nearly always; else None."""
        known = self._known.get(target.grant)
        if known is None or self._clock.monotonic() - known[0] >= CACHED_S:
            return None
        if target.auth.kind not in _EXCHANGED:
            return _fixed_headers(target.auth, known[1], target), None
        access = known[1].access
        if access is None or not self._is_fresh(known[1]):
            return None
        return {"authorization": f"Bearer {access.get_secret_value()}"}, access

    async def renew(self, target: Target, rejected: SecretStr) -> None:
        """Make sure that the rejected access token is used no more. Raises as `credentials`."""
        tokens = await self._tokens(target.grant)
        if tokens.access == rejected:
            await self._renew(target)

    def _is_fresh(self, tokens: Tokens) -> bool:
        if tokens.access is None:
            return False
        return tokens.expires_at is None or tokens.expires_at - self._clock.now() > timedelta(seconds=MARGIN_S)

    async def _tokens(self, grant_id: str) -> Tokens:
        known = self._known.get(grant_id)
        if known is not None and self._clock.monotonic() - known[0] < CACHED_S:
            return known[1]
        return await self._reread(grant_id)

    async def _reread(self, grant_id: str) -> Tokens:
        if (unkept := self._unkept.get(grant_id)) is not None:
            return await self._keep(grant_id, *unkept)
        tokens = await self._store.load(grant_id)
        self._known[grant_id] = (self._clock.monotonic(), tokens)
        return tokens

    async def _keep(self, grant_id: str, tokens: Tokens, came_of: Tokens) -> Tokens:
        """Keep new credentials. When the store fails they stay in memory, unused, and are kept before the next use.

        Where others stand meanwhile, of an admin or another process, these serve: gives those that do.
        """
        self._unkept[grant_id] = (tokens, came_of)
        mine = await self._store.save(grant_id, tokens, came_of)
        self._unkept.pop(grant_id, None)
        if not mine:
            return await self._reread(grant_id)
        self._known[grant_id] = (self._clock.monotonic(), tokens)
        return tokens

    async def _renew(self, target: Target) -> Tokens:
        """Join the grant's running refresh or start one. It goes on when its caller gives up: its answer comes only once."""
        runner = self._renewing.get(target.grant)
        if runner is None:
            before = await self._tokens(target.grant)
            runner = self._renewing.get(target.grant)  # another caller may have started it meanwhile
        if runner is None:
            runner = asyncio.get_running_loop().create_task(self._renewed(target, before))
            self._renewing[target.grant] = runner
            runner.add_done_callback(lambda done: self._finished(target.grant, done))
        return await asyncio.shield(runner)

    def _finished(self, grant_id: str, runner: asyncio.Task[Tokens]) -> None:
        self._renewing.pop(grant_id, None)
        if not runner.cancelled():
            runner.exception()  # whoever waited has it; nobody may be left

    async def _renewed(self, target: Target, before: Tokens) -> Tokens:
        if (unkept := self._unkept.get(target.grant)) is not None:
            return await self._keep(target.grant, *unkept)
        while True:
            mine = await self._store.hold(target.grant)
            stored = await self._reread(target.grant)
            if stored.access != before.access and self._is_fresh(stored):
                if mine:
                    await self._store.let_go(target.grant)
                return stored  # somebody else renewed it
            if mine:
                break
            await self._clock.sleep(HELD_S)  # another process is at it
        try:
            return await self._renewed_alone(target, stored)
        finally:
            await self._store.let_go(target.grant)

    async def _renewed_alone(self, target: Target, stored: Tokens) -> Tokens:
        try:
            return await self._refresh(target, stored)
        except _Rejected as rejection:
            begun, stored = stored.refreshing_since, await self._store.load(target.grant)
            if _refresh_token(stored) == rejection.sent:
                raise _reauthorize(target, _why(rejection, begun)) from None
        try:  # somebody else rotated the token meanwhile
            return stored if self._is_fresh(stored) else await self._refresh(target, stored)
        except _Rejected as rejection:
            raise _reauthorize(target, _why(rejection, stored.refreshing_since)) from None

    async def _refresh(self, target: Target, before: Tokens) -> Tokens:
        auth, tokens = target.auth, before
        if auth.kind == "refresh" and auth.rotates:
            tokens = replace(before, refreshing_since=before.refreshing_since or self._clock.now())
            if not await self._store.save(target.grant, tokens, before):
                raise TryAgain("the credentials were replaced just now", sent=False)
        request, headers = _token_request(target, tokens)
        try:
            answer = _answer(await self._exchange(target, request, headers), target, _refresh_token(tokens))
        except (_Rejected, TryAgain) as fault:
            if tokens is not before and not (isinstance(fault, TryAgain) and fault.sent):
                await self._store.save(target.grant, before, tokens)  # no answer to this one was lost
            if isinstance(fault, TryAgain):
                raise TryAgain(fault.reason, after=fault.after, sent=False) from None  # the call itself never was
            raise
        lifetime = _seconds(answer.get("expires_in"), auth.lifetime_s)
        secrets = dict(tokens.secrets)
        if auth.kind == "refresh" and isinstance(rotated := answer.get("refresh_token"), str) and rotated:
            secrets["refresh_token"] = SecretStr(rotated)
        renewed = Tokens(
            secrets=secrets,
            access=SecretStr(answer["access_token"]),
            expires_at=self._clock.now().astimezone(UTC) + timedelta(seconds=lifetime),
        )
        return await self._keep(target.grant, renewed, tokens)


class _Rejected(Exception):
    """The token endpoint refused the credentials; `sent` is the refresh token that it refused."""

    def __init__(self, word: str, sent: SecretStr | None) -> None:
        self.word, self.sent = word, sent
        super().__init__(word)


def _refresh_token(tokens: Tokens) -> SecretStr | None:
    return tokens.secrets.get("refresh_token")


def _why(rejection: _Rejected, begun: datetime | None) -> str:
    """Say why the access cannot be renewed; `begun`: when an earlier refresh began whose answer never came."""
    if begun is not None and rejection.word == "invalid_grant":
        return (
            f"the answer to a refresh begun at {begun:%Y-%m-%d %H:%M:%S} UTC was lost, "
            "and the vendor takes each refresh token only once"
        )
    return f"the vendor refused to renew the access ({rejection.word})"


def _reauthorize(target: Target, why: str) -> NeedsReauthorization:
    return NeedsReauthorization(
        f"connection {target.connection} ({target.about.name}): {why}. Enter new credentials for the grant {target.grant}."
    )


def _secret(tokens: Tokens, name: str, target: Target) -> str:
    secret = tokens.secrets.get(name)
    if secret is None or not secret.get_secret_value():
        raise _reauthorize(target, f"the credential {name} is missing")
    return secret.get_secret_value()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _fixed_headers(auth: Auth, tokens: Tokens, target: Target) -> dict[str, str]:
    match auth.kind:
        case "basic":
            value = _basic(_secret(tokens, "user", target), _secret(tokens, "password", target))
            return {"authorization": value}
        case "header":
            return {auth.header.lower(): _secret(tokens, "token", target)}
        case _:
            return {"authorization": f"Bearer {_secret(tokens, 'token', target)}"}


def _token_request(target: Target, tokens: Tokens) -> tuple[Request, dict[str, str]]:
    auth = target.auth
    client, secret = _secret(tokens, "client_id", target), _secret(tokens, "client_secret", target)
    fields = {"grant_type": "client_credentials"}
    if auth.kind == "refresh":
        fields = {"grant_type": "refresh_token", "refresh_token": _secret(tokens, "refresh_token", target)}
    if auth.scope:
        fields["scope"] = auth.scope
    headers = {}
    if auth.client_auth == "basic":
        headers["authorization"] = _basic(quote(client, safe=""), quote(secret, safe=""))  # RFC 6749, 2.3.1
    else:
        fields |= {"client_id": client, "client_secret": secret}
    if auth.body_json:
        return Request(method="POST", path=auth.token_path, host=auth.token_host, json=fields), headers
    return Request(method="POST", path=auth.token_path, host=auth.token_host, form=tuple(fields.items())), headers


def _answer(reply: Reply, target: Target, sent: SecretStr | None) -> dict[str, Any]:
    """Read the token endpoint's answer without ever repeating it: it holds secrets."""
    if reply.status in (408, 425) or reply.status >= 500 or 300 <= reply.status < 400:
        raise TryAgain(f"{target.about.name} could not renew the access now (status {reply.status})")
    try:
        body = reply.json()
    except NotOurJson:
        body = None
    if reply.status >= 400:
        word = body.get("error") if isinstance(body, dict) else None
        raise _Rejected(word if isinstance(word, str) and word in _OAUTH_ERRORS else f"status {reply.status}", sent)
    access = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(access, str) or not _FITS_IN_A_HEADER.fullmatch(access):
        raise TryAgain(f"{target.about.name} answered a token request with something else")
    return dict(body)


def _seconds(value: Any, default: int) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return float(default)
    return min(max(seconds, 1.0), 366 * 86400.0) if seconds == seconds else float(default)  # noqa: PLR0124 (NaN)
