"""The breakers of all connections: counted in memory, kept in the store where one opens or closes, for all to see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from lifecyclehub.errors import Spared
from lifecyclehub.ports import Clock
from lifecyclehub.store.breakers import Opened
from lifecyclehub.vendor.breaker import PROBE_PATIENCE, Breaker, after_call, before_call

PROBED_S: Final = 2.0
"""How long others wait while one call looks whether the tool answers again."""


class KeptBreakers(Protocol):
    """Where open breakers are kept. None of these raises: a store that is busy must not stop a call.

    `opened` tells whether it is kept; `may_probe` whether no other process looks already, as far as it can be known.
    """

    async def opened(self, connection: str, breaker: Opened) -> bool: ...
    async def closed(self, connection: str) -> None: ...
    async def may_probe(self, connection: str, now: datetime, until: datetime) -> bool: ...


class Breakers:
    """Says before each call whether it is to be made, and takes in how it went."""

    def __init__(self, clock: Clock, kept: KeptBreakers | None = None) -> None:
        self._clock, self._kept = clock, kept
        self._states: dict[str, Breaker] = {}
        self._being_kept: set[str] = set()
        self._unkept: set[str] = set()  # open, and the store does not know it: it goes by what this process saw itself
        self._since: dict[str, datetime] = {}

    def wait_s(self, connection: str) -> float:
        """Give for how many seconds a connection is spared now; 0 when a call may go."""
        state = self._states.get(connection)
        if state is None or state.open_until is None:
            return 0.0
        now = self._clock.now()
        if now < state.open_until:
            return (state.open_until - now).total_seconds()
        return PROBED_S if before_call(state, now)[0] == "wait" else 0.0

    async def pass_through(self, connection: str) -> None:
        """Let a call go, one alone after a pause. Raises `Spared` when it has to wait."""
        if (wait := self.wait_s(connection)) > 0:
            raise Spared(connection, wait)
        state = self._states.get(connection)
        if state is None or state.open_until is None:
            return
        now = self._clock.now()
        self._states[connection] = before_call(state, now)[1]  # before it is waited for: others of this process wait
        if self._kept is None or connection in self._unkept:
            return
        if not await self._kept.may_probe(connection, now, now + PROBE_PATIENCE):
            raise Spared(connection, PROBED_S)

    async def note(self, connection: str, why: str | None) -> None:
        """Take in how a call went: None for well."""
        before, now = self._states.get(connection) or Breaker(), self._clock.now()
        after = self._states[connection] = after_call(before, now, ok=why is None)
        if after.open_until == before.open_until or self._kept is None:
            return
        self._being_kept.add(connection)
        try:
            self._unkept.discard(connection)
            if after.open_until is None:
                await self._kept.closed(connection)
            else:
                since = now if before.open_until is None else self._since.get(connection, now)
                self._since[connection] = since
                if not await self._kept.opened(connection, _opened(after, after.open_until, since, why or "")):
                    self._unkept.add(connection)
        finally:
            self._being_kept.discard(connection)

    def learn(self, rows: Mapping[str, Opened]) -> None:
        """Take over what other processes found out."""
        for connection, state in list(self._states.items()):
            if state.open_until is not None and connection not in rows and connection not in self._being_kept | self._unkept:
                self._states[connection] = Breaker()
        for connection, row in rows.items():
            if connection not in self._being_kept:
                self._unkept.discard(connection)
                probing = row.probe_until - PROBE_PATIENCE if row.probe_until is not None else None
                pause = float(row.pause_s)
                self._states[connection] = Breaker(open_until=row.open_until, pause_s=pause, probing_since=probing)
                self._since[connection] = row.since


def _opened(state: Breaker, until: datetime, since: datetime, why: str) -> Opened:
    return Opened(open_until=until, pause_s=round(state.pause_s), probe_until=None, since=since, reason=why[:500])
