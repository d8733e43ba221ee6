"""Effects in doubt, and jobs that a vendor accepted: find out what happened before anything is sent again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from lifecyclehub.connector import Action, Marker, NativeKey, Natural, Never, UniqueId
from lifecyclehub.dispatch.perform import Performer
from lifecyclehub.dispatch.prepared import Prepared, Receipt
from lifecyclehub.dispatch.tools import Tools
from lifecyclehub.dispatch.upkeep import DueEffect
from lifecyclehub.errors import CallFailed, ConfigurationError, HubError, NeedsReauthorization
from lifecyclehub.handoffs import idempotency_key
from lifecyclehub.messages import Absent, Accepted, CannotTell, Done, Key, Outcome, Refused, Retry, Sighting, Unknown
from lifecyclehub.registry.runner import cut
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from lifecyclehub.store.writer import as_operation
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.target import Target

_GRACE_S = 5.0
_AGAIN_S = 2.0


def _later(conn: Connection, item: tuple[str, datetime]) -> None:
    """Put off the next look, so that one is under way at a time."""
    conn.execute(update(tables.effect).where(tables.effect.c.id == item[0]).values(not_before=item[1]))


later = as_operation(_later)


class Lookup:
    """Resolves uncertain effects, each kind of `once` in its own way."""

    grace = timedelta(seconds=_GRACE_S)

    def __init__(
        self,
        tools: Tools,
        performer: Performer,
        receive: Callable[[Receipt], Awaitable[None]],
        park: Callable[[str, str, str], Awaitable[None]],
    ) -> None:
        self._tools, self._performer, self._receive, self._park = tools, performer, receive, park

    @staticmethod
    def row(conn: Connection, effect: str) -> Row | None:
        """Read one effect."""
        found = conn.execute(select(tables.effect).where(tables.effect.c.id == effect)).mappings().first()
        return dict(found) if found is not None else None

    async def run(self, due: DueEffect) -> None:
        """Find out about one effect, and write the receipt of that."""
        tools = self._tools
        row = await tools.store.read(self.row, due.id)
        if row is None or row["state"] not in ("in flight", "in doubt") or not row["connection"]:
            return
        began = tools.clock.now()
        await tools.store.run(later, (due.id, began + timedelta(minutes=2)))
        try:
            target = await tools.targets(row["connection"])
            connector = target.about.id
            action = tools.registry.get(connector).about.action(row["action"])
        except ConfigurationError as error:
            await self._write(row, began, "looked up", CannotTell(str(error)))
            return
        if action is None:
            await self._park(row["id"], "unsupported", f"{connector} cannot {row['action']} any more")
        elif row["state"] == "in flight":
            await self._check(row, action, target, began)
        else:
            await self._resolve(row, action, target, began)

    async def _check(self, row: Row, action: Action[Any], target: Target, began: datetime) -> None:
        """Ask how an accepted job stands. It is never sent again, and never looked up."""
        outcome: Any
        detail = None
        try:
            call = HubCall(self._tools.client, target)
            outcome = await cut(target.about.id, f"{action.name}.check", action.check(call, row["handle"]), 2 * target.timeout_s)
        except NeedsReauthorization as error:
            outcome, detail = None, str(error)
        except (CallFailed, HubError) as error:
            outcome, detail = Accepted(row["handle"]), str(error)
        else:
            if not isinstance(outcome, Done | Accepted | Refused | Retry | Unknown):
                outcome, detail = Accepted(row["handle"]), f"{action.name}.check gave {type(outcome).__name__}, no outcome"
        await self._write(row, began, "checked", outcome, detail)

    async def _resolve(self, row: Row, action: Action[Any], target: Target, began: datetime) -> None:
        once = action.once
        exists = row["reason"] == "exists already"
        if isinstance(once, Natural) or (isinstance(once, UniqueId) and not exists):
            await self._write(row, began, "looked up", Retry("doing it again changes nothing"))
        elif isinstance(once, NativeKey) and not exists and self._key_serves(row, once, target, began):
            await self._write(row, began, "looked up", Retry("the vendor folds requests with the same key"))
        elif isinstance(once, Never):
            await self._park(row["id"], "in doubt", "whether it was done cannot be looked up in this tool: a person must say")
        else:
            await self._find(row, action, target, began)

    @staticmethod
    def _key_serves(row: Row, once: NativeKey, target: Target, now: datetime) -> bool:
        """Tell whether a repeat still arrives within the key's window, and no stored error would only come back."""
        ends = (row["unsure_since"] or row["claimed_at"]) + timedelta(seconds=once.window_s - target.timeout_s - _AGAIN_S)
        answered = row["reason"] == "unknown outcome" and "status" in (row["detail"] or "")
        return bool(now < ends and not (once.caches_errors and answered))

    async def _find(self, row: Row, action: Action[Any], target: Target, began: datetime) -> None:
        value = action.input.model_validate(row["input"])
        prepared = self._as_prepared(row, target)
        try:
            sighting: Sighting = await self._performer.look(action, value, prepared, target)
        except NeedsReauthorization as error:
            await self._write(row, began, "looked up", None, str(error))
            return
        horizon = self._horizon(row, action, target)
        if isinstance(sighting, Absent) and began < horizon and row["reason"] != "exists already":
            await self._tools.store.run(later, (row["id"], horizon))
            return
        await self._write(row, began, "looked up", sighting)

    def _horizon(self, row: Row, action: Action[Any], target: Target) -> datetime:
        """From when on absence proves anything: the deadline, the vendor's own time-out, and its lag."""
        declared = action.once.lag_s if isinstance(action.once, Marker) else 0.0
        lag = float(target.settings.get("lag_s") or declared)
        timeout = float(target.settings.get("server_timeout_s") or target.about.server_timeout_s)
        deadline: datetime = row["deadline"]
        return deadline + timedelta(seconds=timeout + lag)

    def _as_prepared(self, row: Row, target: Target) -> Prepared:
        key = Key(idempotency_key(row["key"], row["revision"], self._tools.installation), row["marker"])
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
        self, row: Row, began: datetime, what: Any, outcome: Outcome | Sighting | None, detail: str | None = None
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
            )
        )
