"""Grants that rotate: a tool whose refresh tokens serve once, and what a lost answer to a refresh may and may not lead to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from lifecyclehub.torture.database import TOKEN
from lifecyclehub.torture.said import Said
from lifecyclehub.torture.violation import Violation
from lifecyclehub.vendor.grants import Tokens

if TYPE_CHECKING:
    from lifecyclehub.torture.loop import Process
    from lifecyclehub.torture.world import World

LIFETIME_S: Final = 130.0


# How long keeping a new token may take, and how long where the database is busy or slow.
_KEPT_S: Final = 5.0
KEPT_LATE_S: Final = 75.0


@dataclass(slots=True)
class Rotation:
    """One exchange of a refresh token: who asked, and when the answer came back to it."""

    old: str
    new: str
    process: Process | None
    answered_at: float | None = None

    def excused(self, keeping_s: float) -> bool:
        """Tell whether the new token may be lost: no answer came, or whoever had it was stopped before it could be kept."""
        if self.answered_at is None or self.process is None:
            return True
        stopped = self.process.interrupted
        return stopped is not None and stopped < self.answered_at + keeping_s


class Rotating:
    """The vendor's side of one grant. Tokens are worth something only here; which of them the hub kept, it is told."""

    def __init__(self, vendor: str) -> None:
        self._vendor, self._count = vendor, 0
        self.keeping_s = _KEPT_S
        self.excused = False  # a backup brought back tokens that were used
        self.refresh = ""
        self._access: dict[str, datetime] = {}
        self.rotations: list[Rotation] = []
        self.kept: set[str] = set()  # refresh tokens that were committed
        self.wrong: list[str] = []

    def issue(self, now: datetime) -> Tokens:
        """Give new credentials, as a person gets them who signs in."""
        self._count += 1
        self.refresh = f"{TOKEN}-{self._vendor}-refresh-{self._count}"
        self.kept.add(self.refresh)
        secrets = {"client_id": SecretStr("hub"), "client_secret": SecretStr(TOKEN), "refresh_token": SecretStr(self.refresh)}
        return Tokens(secrets=secrets, access=SecretStr(self._granted(now)), expires_at=now + timedelta(seconds=LIFETIME_S))

    def _granted(self, now: datetime) -> str:
        access = f"{TOKEN}-{self._vendor}-access-{len(self._access) + 1}"
        self._access[access] = now + timedelta(seconds=LIFETIME_S)
        return access

    def allows(self, headers: Mapping[str, str], now: datetime) -> bool:
        """Tell whether a request has an access token that is good now."""
        until = self._access.get(headers.get("authorization", "").removeprefix("Bearer "))
        return until is not None and now < until

    def end_access(self) -> None:
        """Let no access token count any more."""
        self._access = dict.fromkeys(self._access, datetime.fromisoformat("2000-01-01T00:00:00+00:00"))

    def exchange(self, body: Mapping[str, Any], process: Process | None, now: datetime) -> Said:
        """Take a refresh token for good, and give the next one."""
        told = str(body.get("refresh_token"))
        if told != self.refresh:
            self._judge(told)
            return Said(400, {"error": "invalid_grant"})
        self._count += 1
        self.refresh = f"{TOKEN}-{self._vendor}-refresh-{self._count}"
        self.rotations.append(Rotation(told, self.refresh, process))
        answer = {"access_token": self._granted(now), "refresh_token": self.refresh, "expires_in": LIFETIME_S}
        return Said(200, answer, acted=True)

    def answered(self, said: Said, at: float) -> None:
        """Note that an answer came to whoever waited for it."""
        if isinstance(said.body, dict):
            for one in self.rotations:
                if one.new == said.body.get("refresh_token"):
                    one.answered_at = at

    def _judge(self, told: str) -> None:
        """A token came a second time: right only where its answer can have been kept by nobody."""
        if self.excused:
            return
        rotation = next((one for one in self.rotations if one.old == told), None)
        if rotation is not None and rotation.new in self.kept:
            self.wrong.append(f"{self._vendor}: a used refresh token was sent, though the one after it was kept")
        elif rotation is not None and not rotation.excused(self.keeping_s):
            self.wrong.append(f"{self._vendor}: the answer to a refresh came, and its token was thrown away")

    @property
    def lost(self) -> bool:
        """Tell whether there is a token that nobody kept."""
        return self.excused or any(one.new not in self.kept for one in self.rotations)


def grants_held(world: World) -> Iterator[Violation]:
    """F8: no connection is lost but by an answer that is lost."""
    rotating = world.vendors[world.plan.rotates].rotating if world.plan.rotates else None
    if rotating is None:
        return
    for said in rotating.wrong:
        yield Violation("F8", said)
    refused = world.fired["access lost"] + world.fired["401"]
    if world.fired["signed in again"] and not rotating.lost and not refused:
        yield Violation("F8", "a person had to sign in again, and no answer to a refresh was lost")
