"""Effects in doubt, and jobs that a vendor accepted: find out what happened before anything is sent again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, update

from lifecyclehub.connector import Action, Marker, NativeKey, Natural, Never, Once, UniqueId
from lifecyclehub.dispatch.perform import Performer, key_lasts_s
from lifecyclehub.dispatch.prepared import Prepared, Receipt
from lifecyclehub.dispatch.stopwatch import Stopwatch
from lifecyclehub.dispatch.tools import Tools
from lifecyclehub.dispatch.upkeep import DueEffect
from lifecyclehub.errors import ConfigurationError, NeedsReauthorization, RecordGone
from lifecyclehub.handoffs import idempotency_key
from lifecyclehub.messages import Absent, Accepted, CannotTell, Done, Found, Key, Outcome, Refused, Retry, Sighting, Unknown
from lifecyclehub.registry.runner import cut
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query, Write
from lifecyclehub.store.things import Row
from lifecyclehub.store.writer import as_operation
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.target import Target, server_timeout_s

_GRACE_S = 5.0
_AGAIN_S = 2.0
_LOOK_S = 120.0


def _later(conn: Connection, item: tuple[str, datetime]) -> None:
    """Put off the next look."""
    conn.execute(update(tables.effect).where(tables.effect.c.id == item[0]).values(not_before=item[1]))


later = as_operation(_later)


@dataclass(frozen=True, slots=True)
class Look:
    """Ask to look after an effect that is due at `at`, and so put off everybody else's look until `until`."""

    effect: str
    holder: str
    at: datetime
    until: datetime


def _taken(conn: Connection, look: Look) -> bool:
    return bool(_TAKE.count(conn, which=look.effect, at=look.at, until=look.until, me=look.holder))


_effect = tables.effect
_UNCERTAIN = or_(_effect.c.state == "in flight", _effect.c.state == "in doubt")
_DUE = or_(_effect.c.not_before.is_(None), _effect.c.not_before <= bindparam("at"))
_TAKE = Write(
    update(_effect)
    .where(_effect.c.id == bindparam("which"), _UNCERTAIN, _DUE)
    .values(not_before=bindparam("until"), holder=bindparam("me"))
)
_ONE = Query(select(_effect).where(_effect.c.id == bindparam("which")))


take_look = as_operation(_taken)
"""Take the next look at an effect, so that one is under way at a time, whichever hub it is."""


def answered(conn: Connection, effect: str, revision: int) -> bool:
    """Tell whether the vendor answered a sending of this revision, under its key, without doing it."""
    attempt = tables.attempt
    sent = (attempt.c.effect == effect) & (attempt.c.revision == revision) & (attempt.c.what == "sent")
    return conn.execute(select(attempt.c.id).where(sent, attempt.c.status.is_not(None)).limit(1)).first() is not None


class Lookup:
    """Resolves uncertain effects, each kind of `once` in its own way."""

    grace = timedelta(seconds=_GRACE_S)

    def __init__(
        self,
        tools: Tools,
        performer: Performer,
        stopwatch: Stopwatch,
        receive: Callable[[Receipt], Awaitable[None]],
        park: Callable[[str, str, str], Awaitable[None]],
    ) -> None:
        self._tools, self._performer, self._stopwatch = tools, performer, stopwatch
        self._receive, self._park = receive, park

    @staticmethod
    def row(conn: Connection, effect: str) -> Row | None:
        """Read one effect."""
        return next(iter(_ONE.all(conn, which=effect)), None)

    async def run(self, due: DueEffect) -> None:
        """Find out about one effect, and write the receipt of that."""
        tools = self._tools
        row = await tools.store.read(self.row, due.id)
        if row is None or row["state"] not in ("in flight", "in doubt") or not row["connection"]:
            return
        began = tools.clock.now()
        try:
            target = await tools.targets(row["connection"])
            connector = target.about.id
            action = tools.registry.get(connector).about.action(row["action"])
        except ConfigurationError as error:
            await self._write(row, began, "looked up", self._no_way(row, str(error)))
            return
        if (wait := tools.client.breakers.wait_s(row["connection"])) > 0:
            await tools.store.run(later, (row["id"], began + timedelta(seconds=wait)))
            return
        # At most two calls' time, and a while to write it down.
        until = began + timedelta(seconds=max(_LOOK_S, 3 * target.timeout_s))
        if not await tools.store.run(take_look, Look(due.id, tools.holder, began, until)):
            return
        if action is None and row["state"] == "in flight":
            why = f"{connector} cannot {row['action']} any more, so its job {row['handle']} cannot be asked after"
            await self._write(row, began, "checked", Accepted(row["handle"]), overdue=why)
        elif action is None:
            await self._park(row["id"], "unsupported", f"{connector} cannot {row['action']} any more")
        elif row["state"] == "in flight":
            await self._check(row, action, target, began)
        else:
            await self._resolve(row, action, target, began)

    @staticmethod
    def _no_way(row: Row, why: str) -> Outcome | Sighting:
        """What is only accepted stays so; it is asked after when there is a way again."""
        return Accepted(row["handle"]) if row["state"] == "in flight" else CannotTell(why)

    # --- accepted jobs ------------------------------------------------------------------------------------------------

    async def _check(self, row: Row, action: Action[Any], target: Target, began: datetime) -> None:
        """Ask how an accepted job stands. It is never sent again."""
        outcome: Any
        detail = None
        try:
            call = HubCall(self._tools.client, target)
            outcome = await cut(target.about.id, f"{action.name}.check", action.check(call, row["handle"]), 2 * target.timeout_s)
        except NeedsReauthorization as error:
            outcome, detail = None, str(error)
        except RecordGone as error:
            outcome = Unknown(f"the tool does not know its job {row['handle']} any more: {error}")
        except Exception as error:  # noqa: BLE001 (whatever fails on the way says nothing about the job)
            outcome, detail = Accepted(row["handle"]), str(error) or type(error).__name__
        else:
            if not isinstance(outcome, Done | Accepted | Refused | Retry | Unknown):
                outcome, detail = Accepted(row["handle"]), f"{action.name}.check gave {type(outcome).__name__}, no outcome"
        accepted_s = float(target.settings.get("accepted_s") or action.accepted_s)
        if isinstance(outcome, Accepted) and self._stopwatch.since(row["id"], row["epoch"], row["claimed_at"]) > accepted_s:
            await self._overdue(row, action, target, began, _overdue(row, accepted_s, detail))
        else:
            await self._write(row, began, "checked", outcome, detail)

    async def _overdue(self, row: Row, action: Action[Any], target: Target, began: datetime, why: str) -> None:
        """Look for what a job that does not end may have made; what is not found may still come, so a person is asked."""
        sighting = await self._sighting(row, action, target)
        if isinstance(sighting, Found) and len(sighting.records) == 1:
            await self._write(row, began, "looked up", sighting.records[0])
        else:
            await self._write(row, began, "checked", Accepted(row["handle"]), why, overdue=why)

    # --- effects in doubt ---------------------------------------------------------------------------------------------

    async def _resolve(self, row: Row, action: Action[Any], target: Target, began: datetime) -> None:
        once = action.once
        exists = row["reason"] == "exists already"
        if isinstance(once, Natural) or (isinstance(once, UniqueId) and not exists):
            retry, lands_s = Retry("doing it again changes nothing"), server_timeout_s(target)
            await self._write(row, began, "looked up", retry, lands_s=lands_s)
        elif isinstance(once, NativeKey) and not exists and await self._key_serves(row, once, target):
            await self._write(row, began, "looked up", Retry("the vendor folds requests with the same key"))
        elif _cannot_be_looked_for(once) and row["reason"] != "came to light":
            await self._park(row["id"], "in doubt", "whether it was done cannot be looked up in this tool: a person must say")
        else:
            await self._find(row, action, target, began)

    async def _key_serves(self, row: Row, once: NativeKey, target: Target) -> bool:
        """Tell whether a repeat is surely done within the key's window, and no stored error would only come back.

        After a restore it may have been rendered anew since, under another key: what can be looked for is looked for.
        """
        if once.marker_after and self._was_forgotten(row):
            return False
        age = self._stopwatch.since_first(row["id"], row["epoch"], row["unsure_since"] or row["claimed_at"])
        if not 0 <= age < key_lasts_s(once, target.timeout_s, target) - _AGAIN_S:
            return False
        return not (once.caches_errors and await self._tools.store.read(answered, row["id"], row["revision"]))

    def _was_forgotten(self, row: Row) -> bool:
        """Tell whether a restore made us forget what became of it, or what we knew of it was wrong."""
        restored = self._tools.restored()
        before = restored is not None and row["claimed_at"] is not None and row["claimed_at"] < restored.at
        return before or row["reason"] in ("restored", "came to light")

    async def _find(self, row: Row, action: Action[Any], target: Target, began: datetime) -> None:
        # Before the look: it proves nothing about what only shows up while it is made. Also where the tool said that it
        # exists already: it knows of what its own lists do not show yet.
        left = self._until_visible(row, action, target)
        sighting = await self._sighting(row, action, target)
        if isinstance(sighting, NeedsReauthorization):
            await self._write(row, began, "looked up", None, str(sighting))
        elif isinstance(sighting, Absent) and left > 0:
            await self._tools.store.run(later, (row["id"], self._tools.clock.now() + timedelta(seconds=left)))
        else:
            stores_errors = isinstance(action.once, NativeKey) and action.once.caches_errors
            await self._write(row, began, "looked up", sighting, new_key=stores_errors)

    async def _sighting(self, row: Row, action: Action[Any], target: Target) -> Sighting | NeedsReauthorization:
        """Look once. That our credentials are refused is given back, not raised."""
        try:
            value = action.input.model_validate(row["input"])
            return await self._performer.look(action, value, self._as_prepared(row, target), target)
        except NeedsReauthorization as error:
            return error
        except ValueError as error:  # another version of the connector wants another input
            return CannotTell(f"{action.name} does not take the input of then any more: {error}")

    def _until_visible(self, row: Row, action: Action[Any], target: Target) -> float:
        """Give the seconds until absence proves anything: the deadline, the vendor's own time-out, and its lag are over.

        Where another process sent it, its deadline was dated by a wall clock that may have been put forward since.
        """
        declared = action.once.lag_s if isinstance(action.once, Marker) else 0.0
        lag = float(target.settings.get("lag_s") or declared)
        return server_timeout_s(target) + lag - self._stopwatch.surely_since(row["id"], row["epoch"], row["deadline"])

    def _as_prepared(self, row: Row, target: Target) -> Prepared:
        key = Key(idempotency_key(row["marker"], row["revision"], self._tools.installation), row["marker"])
        return Prepared(
            effect=row["id"],
            epoch=row["epoch"],
            revision=row["revision"],
            connection=row["connection"],
            connector=target.about.id,
            action=row["action"],
            target=row["target"],
            engagement=row["engagement"],
            engagement_version=0,
            input=row["input"],
            body=None,
            key=key,
        )

    async def _write(
        self,
        row: Row,
        began: datetime,
        what: Any,
        outcome: Outcome | Sighting | None,
        detail: str | None = None,
        *,
        new_key: bool = False,
        overdue: str | None = None,
        lands_s: float | None = None,
    ) -> None:
        await self._receive(
            Receipt(
                effect=row["id"],
                epoch=row["epoch"],
                revision=row["revision"],
                what=what,
                began_at=began,
                outcome=outcome,
                bytes_sent=False,
                detail=detail,
                new_key=new_key,
                overdue=overdue,
                lands_s=lands_s,
            )
        )


def _overdue(row: Row, accepted_s: float, said: str | None) -> str:
    last = f" Asked last, it said: {said}." if said else ""
    return f"the tool took it as its job {row['handle']} and has not ended it within {accepted_s / 60:.0f} minutes.{last}"


def _cannot_be_looked_for(once: Once) -> bool:
    """Tell whether no look-up can show what was made in such a way, once a key that folds repeats serves no more."""
    return isinstance(once, Never) or (isinstance(once, NativeKey) and not once.marker_after)
