"""The one way out: every request to a vendor goes through `Client.send`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import httpx
from pydantic import SecretStr

from lifecyclehub.errors import ConfigurationError, NeedsReauthorization, Spared, TryAgain
from lifecyclehub.messages import Reply, Request
from lifecyclehub.ports import Clock, Randomness
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.vendor.breakers import Breakers, KeptBreakers
from lifecyclehub.vendor.exchange import Exchange, on_the_wire, without_credentials
from lifecyclehub.vendor.grants import Grants, GrantStore
from lifecyclehub.vendor.rates import RateLimits
from lifecyclehub.vendor.retry import LONGEST_WISH_S
from lifecyclehub.vendor.target import DEFAULT_TIMEOUT_S, Target
from lifecyclehub.vendor.transport import Limits, TransportFactory, Wire, default_factory

T = TypeVar("T")

CONFIRM: Final = "If no other hub works for this business any more, run `lifecyclehub confirm`."
QUOTA_S: Final = 60.0
"""Who asks to be left alone for so long has a quota that is used up: waiting for the next one is no failure of an attempt."""
TOKEN_REPLY_CAP: Final = 256 * 1024


class Client:
    """Sends requests for connections: adds credentials, keeps rates, deadlines, hosts and sizes."""

    def __init__(
        self,
        *,
        clock: Clock,
        randomness: Randomness,
        grants: GrantStore,
        transport: TransportFactory | None = None,
        limits: Limits | None = None,
        breakers: KeptBreakers | None = None,
    ) -> None:
        self.clock, self.randomness = clock, randomness
        self._limits = limits or Limits()
        self._factory = transport or default_factory(self._limits)
        self._transports: dict[bool, httpx.AsyncBaseTransport] = {}
        self._exchange = Exchange(clock, self._limits)
        self._rates = RateLimits(clock)
        self.calls: Counter[str] = Counter()  # requests that were sent, by connection
        self._grants = Grants(grants, clock, self._token_reply)
        self.breakers = Breakers(clock, breakers)
        self.may_call: Callable[[], bool] = lambda: True

    async def send(
        self,
        target: Target,
        request: Request,
        *,
        deadline_monotonic: float | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> Reply:
        """Send one request; any status but 401 and 429 comes back as a reply, redirects included (never followed).

        The deadline is the earliest of `deadline_monotonic` (on the clock's monotonic scale) and the request's or
        the connection's own total. `on_sent` is called once, just before the first byte leaves.
        Raises `Spared` (nothing was done) while the tool fails too often or a rate is used up; `TryAgain`, whose `sent`
        tells whether the vendor may have done it, and whose `after` is the vendor's wish; `NeedsReauthorization` after a
        401 that a refresh did not cure; `ConfigurationError` (nothing was sent) for an address, path or header that is
        not allowed.
        """
        if not self.may_call():
            raise ConfigurationError("nothing is sent from this home: it is not one that may write to the tools.", mend=CONFIRM)
        deadline = self.clock.monotonic() + (request.timeout_s or target.timeout_s)
        if deadline_monotonic is not None:
            deadline = min(deadline, deadline_monotonic)
        await self.breakers.pass_through(target.connection)
        wire = Wire(on_sent)
        ready = self._grants.at_hand(target)
        headers, access = ready if ready is not None else await self._granted(target, deadline)
        reply = await self._once(target, request, headers, deadline, wire)
        if reply.status == 401 and access is not None:
            headers, _ = await self._granted(target, deadline, rejected=access)
            reply = await self._once(target, request, headers, deadline, Wire(None if wire.left else on_sent))
        if reply.status == 401:
            raise NeedsReauthorization(
                f"connection {target.connection} ({target.about.name}): the vendor no longer accepts our credentials "
                f"(status 401). Enter new ones for the grant {target.grant}."
            )
        if reply.status == 429:
            raise self._too_many(target, reply)
        return reply

    def with_grants(self, grants: GrantStore) -> Client:
        """Give a second client that sends the same way with other credentials, to try them. Close it after use."""
        second = Client(clock=self.clock, randomness=self.randomness, grants=grants, transport=self._factory, limits=self._limits)
        second.may_call = self.may_call
        return second

    def share_with(self, hubs: int) -> None:
        """Keep an equal share of declared rates: so many hubs send now, this one among them."""
        self._rates.hubs = max(hubs, 1)

    def forget(self, grant_id: str) -> None:
        """Use what the store holds for this grant from now on: an admin gave new credentials."""
        self._grants.forget(grant_id)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._transports.values():
            await transport.aclose()
        self._transports.clear()

    async def _granted(
        self, target: Target, deadline: float, rejected: SecretStr | None = None
    ) -> tuple[dict[str, str], SecretStr | None]:
        """Give credentials for a call, not the rejected ones. To renew them calls the vendor too: not while it wants quiet."""
        await self._rates.heed(target.connection, deadline)
        if rejected is not None:
            await self._in_time(self._grants.renew(target, rejected), deadline)
        return await self._in_time(self._grants.credentials(target), deadline)

    async def _in_time(self, waiting: Awaitable[T], deadline: float) -> T:
        try:
            async with asyncio.timeout(max(deadline - self.clock.monotonic(), 0.0)):
                return await waiting
        except TimeoutError:
            raise TryAgain("the access was not renewed in time", sent=False) from None
        except (StoreBusy, StoreClosed):
            raise TryAgain("the credentials could not be read or kept: the database is busy", sent=False) from None

    async def _once(self, target: Target, request: Request, credentials: Mapping[str, str], deadline: float, wire: Wire) -> Reply:
        account = {target.about.account_header: target.account} if target.about.account_header and target.account else {}
        rendered = on_the_wire(target.base(request.host), request, account | dict(credentials))
        await self._rates.wait(target.connection, target.grant, target.rates, deadline)
        self.calls[target.connection] += 1
        called = self.clock.monotonic() < deadline
        outcome = await self._exchange.run(
            self._transport(target), rendered, deadline=deadline, size_cap=target.size_cap, wire=wire
        )
        if called:
            await self.breakers.note(target.connection, _failure(outcome))
        if isinstance(outcome, TryAgain):
            raise outcome
        return without_credentials(outcome, credentials)

    async def _token_reply(self, target: Target, request: Request, credentials: Mapping[str, str]) -> Reply:
        """Send a token request. Raises `TryAgain`, whose `sent` is about this request, not about the call that needs it."""
        if self._rates.quiet_for(target.connection) > 0:  # wished for since this began; others of the grant do not wait for it
            raise TryAgain("renewing the access: the vendor wants quiet", sent=False)
        rendered = on_the_wire(target.base(request.host), request, credentials)
        deadline = self.clock.monotonic() + DEFAULT_TIMEOUT_S
        outcome = await self._exchange.run(
            self._transport(target), rendered, deadline=deadline, size_cap=TOKEN_REPLY_CAP, wire=Wire()
        )
        if isinstance(outcome, TryAgain):
            raise TryAgain(f"renewing the access: {outcome.reason}", sent=outcome.sent)
        if outcome.status == 429:
            after = retry_after(outcome, self.clock.now())
            raise TryAgain("renewing the access: there were too many requests (status 429)", after=after, sent=False)
        return outcome

    def _transport(self, target: Target) -> httpx.AsyncBaseTransport:
        transport = self._transports.get(target.private)
        if transport is None:
            transport = self._transports[target.private] = self._factory(target.private)
        return transport

    def _too_many(self, target: Target, reply: Reply) -> TryAgain:
        after = retry_after(reply, self.clock.now())
        said = f"{target.about.name} has had too many requests (status 429)"
        if after is not None:
            self._rates.pause(target.connection, after)
        if after is not None and after >= QUOTA_S:
            return Spared(target.connection, after, said)
        return TryAgain(said, after=after, sent=False)


def _failure(outcome: Reply | TryAgain) -> str | None:
    """Say how a call failed: only what is the tool's own fault or the network's counts."""
    if isinstance(outcome, TryAgain):
        return outcome.reason
    return f"status {outcome.status}" if outcome.status >= 500 else None


def retry_after(reply: Reply, now: datetime) -> float | None:
    """Give the Retry-After of a reply in seconds (0 to 24 hours), None when there is none that can be read."""
    text = reply.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text) if text.isascii() else float("nan")
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    if seconds != seconds:  # noqa: PLR0124 (NaN)
        return None
    return min(max(seconds, 0.0), LONGEST_WISH_S)
