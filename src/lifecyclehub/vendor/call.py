"""One errand at a vendor: what a connector's async methods are given."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import tenacity

from lifecyclehub.errors import Spared, TryAgain
from lifecyclehub.messages import Reply, Request
from lifecyclehub.vendor.client import Client, retry_after
from lifecyclehub.vendor.target import Target

READ_ATTEMPTS: Final = 3
LONGEST_SHORT_WAIT_S: Final = 2.0
_PASSING: Final = frozenset({502, 503, 504})


class HubCall:
    """Implements the contract's `Call` for one errand with one deadline for all its requests.

    Reads (GET) that fail for a passing reason are tried up to three times within seconds; nothing else is repeated.
    """

    def __init__(self, client: Client, target: Target, *, errand_s: float | None = None, since: datetime | None = None) -> None:
        """`errand_s`: seconds for the whole errand, None for twice the connection's time for one request.

        `since`: the moment that counts as now for whoever asks; a first sweep begins there, however late it comes about.
        """
        self._client, self._target, self._since = client, target, since
        self.deadline = client.clock.monotonic() + (errand_s if errand_s is not None else 2 * target.timeout_s)

    @property
    def account(self) -> str:
        """The id of the account that this connection serves."""
        return self._target.account

    @property
    def settings(self) -> Mapping[str, str]:
        """The connection's settings, defaults filled in."""
        return self._target.settings

    def now(self) -> datetime:
        """The time, aware UTC; in a first sweep the moment from which on changes count."""
        return self._since or self._client.clock.now()

    async def send(self, request: Request) -> Reply:
        """Send one request. Raises as `Client.send`."""
        if request.method != "GET":
            return await self._once(request)
        trying = tenacity.AsyncRetrying(
            sleep=self._client.clock.sleep,
            stop=self._enough,
            wait=self._wait,
            retry=tenacity.retry_if_exception(_may_pass) | tenacity.retry_if_result(self._may_pass),
            retry_error_callback=_last,
        )
        return await trying(self._once, request)

    async def _once(self, request: Request) -> Reply:
        return await self._client.send(self._target, request, deadline_monotonic=self.deadline)

    def _may_pass(self, reply: Reply) -> bool:
        return reply.status in _PASSING and (retry_after(reply, self._client.clock.now()) or 0.0) <= LONGEST_SHORT_WAIT_S

    def _wait(self, state: tenacity.RetryCallState) -> float:
        wish = 0.0
        if state.outcome is not None and isinstance(fault := state.outcome.exception(), TryAgain):
            wish = fault.after or 0.0
        return max(wish, 0.2 * 2.0**state.attempt_number * self._client.randomness.uniform(0.8, 1.2))

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= READ_ATTEMPTS or self._client.clock.monotonic() + state.upcoming_sleep >= self.deadline


def _may_pass(fault: BaseException) -> bool:
    return isinstance(fault, TryAgain) and not isinstance(fault, Spared) and (fault.after or 0.0) <= LONGEST_SHORT_WAIT_S


def _last(state: tenacity.RetryCallState) -> Reply:
    assert state.outcome is not None  # noqa: S101 (tenacity calls this only with an outcome)
    reply: Reply = state.outcome.result()
    return reply
