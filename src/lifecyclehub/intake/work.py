"""Steps 4 to 6 at work: deliveries are split, records looked at one after the other, different ones side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from lifecyclehub.connector import About, Connector
from lifecyclehub.dispatch.dispatcher import Dispatcher
from lifecyclehub.dispatch.perform import Flow
from lifecyclehub.dispatch.tools import Pause, Tools, pause
from lifecyclehub.errors import (
    CallFailed,
    ConfigurationError,
    Forbidden,
    HubError,
    MappingError,
    Moved,
    NeedsReauthorization,
    NotOurJson,
    PluginHangs,
    PluginRefused,
    RecordGone,
    TryAgain,
)
from lifecyclehub.intake.decide import SettleAndDecide
from lifecyclehub.intake.directory import Directory
from lifecyclehub.intake.fetch import gone, observe
from lifecyclehub.intake.keep import Arrival
from lifecyclehub.intake.notices import Failed, due_notices, fail, notices_by_id, open_deliveries, open_notices
from lifecyclehub.intake.observation import Observation, Settled
from lifecyclehub.intake.split import Split, split
from lifecyclehub.intake.sweep import swept_notices
from lifecyclehub.jsonio import parse_strictly
from lifecyclehub.messages import Delivery, Document, Notice, Ref
from lifecyclehub.registry.runner import cut
from lifecyclehub.rules import Rules
from lifecyclehub.store.documents import document_from_json, whole_document_as_json
from lifecyclehub.store.things import Row
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.retry import next_try

BACKLOG = 2_000
_LOOKS = 5  # at a record that others look at in the same moment
LANES = 5_000  # records at work or waiting in memory; what is more stays open in the store
LARGE = 64 * 1024
RecordKey = tuple[str, str, str]


class Intake:
    """Works on what was kept. The store is the truth: what does not fit into memory is read from there later."""

    def __init__(self, tools: Tools, rules: Rules, dispatcher: Dispatcher, directory: Callable[[], Directory]) -> None:
        self._tools, self._dispatcher, self._directory = tools, dispatcher, directory
        self.flow = Flow()
        self._waiting = 0
        self._left_in_store = False
        self._stranded = False
        self._lanes: dict[RecordKey, dict[str, Row]] = {}
        self._at_work: set[str] = set()  # notices that a lane is just working on
        self.use(rules)

    def use(self, rules: Rules) -> None:
        """Work with these rules from now on."""
        self._rules = rules
        self._settle = SettleAndDecide(rules, self._tools.ids, self._tools.clock)

    @property
    def backlog(self) -> int:
        """How many deliveries wait in memory."""
        return self._waiting

    def offer(self, arrival: Arrival) -> None:
        """Take a kept delivery up at once; when too much waits already, it is read from the store later."""
        if self.flow.stopping or self._waiting >= BACKLOG:
            self._left_in_store = True
            return
        self._waiting += 1
        self.flow.start(self._delivery(arrival))

    # --- deliveries ---------------------------------------------------------------------------------------------------

    async def _delivery(self, arrival: Arrival) -> None:
        try:
            await self._split(arrival)
        finally:
            self._waiting -= 1
        if self._left_in_store and self._waiting < BACKLOG // 2:
            self._left_in_store = False
            await self.refill()

    async def refill(self) -> None:
        """Take up open deliveries from the store, as many as memory is meant to hold."""
        for arrival in await self._tools.store.read(open_deliveries, "", BACKLOG // 2):
            self.offer(arrival)

    async def _split(self, arrival: Arrival) -> None:
        now = self._tools.clock.now()
        try:
            parsed = arrival.parsed if arrival.parsed is not None else await _parsed(arrival.body)
            connector = self._tools.registry.get(arrival.connector)
            delivery = Delivery(
                id=arrival.id,
                door=arrival.door,
                headers=arrival.headers,
                body=arrival.body,
                json=parsed,
                received_at=arrival.received_at,
            )
            read: Any = (
                swept_notices(arrival.body)
                if arrival.way == "sweep"
                else await self._tools.runner.call(arrival.connector, connector.read, delivery)
            )
            notices = tuple(self._as_row(arrival, position, one, connector.about) for position, one in enumerate(read))
            item = Split(delivery=arrival.id, at=now, notices=notices)
        except NotOurJson as error:
            item = Split(delivery=arrival.id, at=now, parked=error.reason, detail=error.detail)
        except (PluginHangs, PluginRefused):
            return  # it stays open, and is read when the hub is started again
        except HubError as error:
            item = Split(delivery=arrival.id, at=now, parked="cannot be read", detail=str(error))
        except Exception as error:  # noqa: BLE001 (what a connector gave is no list of notices)
            item = Split(delivery=arrival.id, at=now, parked="cannot be read", detail=f"{type(error).__name__}: {error}")
        await self._write(item)

    async def _write(self, item: Split) -> None:
        try:
            self.take(await self._tools.store.run(split, item))
        except (StoreBusy, StoreClosed):
            return  # it stays open; the tick takes it up again
        except Exception as error:  # noqa: BLE001 (the database refuses what a connector made of it)
            parked = Split(delivery=item.delivery, at=item.at, parked="cannot be kept", detail=f"{type(error).__name__}: {error}")
            await self._tools.store.run(split, parked)

    def _as_row(self, arrival: Arrival, position: int, notice: Notice, about: About) -> Row:
        state, reason, connection = self._place(arrival, notice, about)
        known = self._directory().connections.get(connection or "")
        return {
            "id": self._tools.ids.new("ntc"),
            "delivery": arrival.id,
            "position": position,
            "endpoint": arrival.endpoint,
            "connection": connection,
            "connector": arrival.connector,
            # Never NULL where it is known: a database takes no two of them for equal, and the key would fold nothing.
            "account": notice.account or (known["account_id"] if known else None),
            "key": notice.key,
            "kind": notice.kind,
            "record_id": notice.record_id,
            "change": notice.change,
            "into": notice.into,
            "at": notice.at,
            "version": notice.version,
            "actor": notice.actor,
            "document": whole_document_as_json(notice.document) if notice.document else None,
            "state": state,
            "reason": reason,
            "detail": None,
            "kept_at": arrival.received_at,
        }

    def _place(self, arrival: Arrival, notice: Notice, about: About) -> tuple[str, str | None, str | None]:
        """Find a notice's connection, and say at once when there is nothing to be done about it."""
        directory = self._directory()
        entrance = directory.entrances.get(arrival.endpoint or "")
        own = arrival.connection or (entrance.connection if entrance else None)
        connection = directory.connection_of(about.id, own, notice.account)
        if connection is None:
            return "ignored", "unknown account", None
        kind = about.kind(notice.kind)
        if kind is None:
            return "ignored", "unknown kind", connection["id"]
        if self._rules.mappings[about.id].inbound(notice.kind) is None:
            return "ignored", "not mapped", connection["id"]
        if connection["state"] != "active":
            return "held", "connection", connection["id"]
        return "open", None, connection["id"]

    # --- records ------------------------------------------------------------------------------------------------------

    def take(self, notices: Iterable[Row]) -> None:
        """Put open notices into the lane of their record; a lane works on one thing at a time."""
        for row in notices:
            key = (row["connection"], row["kind"], row["record_id"])
            lane = self._lanes.get(key)
            if lane is not None:
                lane[row["id"]] = row
            elif self.flow.stopping or len(self._lanes) >= LANES:
                self._stranded = True
            else:
                self._lanes[key] = {row["id"]: row}
                self.flow.start(self._lane(key))

    async def _lane(self, key: RecordKey) -> None:
        try:
            while waiting := self._lanes[key]:
                self._lanes[key] = {}
                self._at_work |= waiting.keys()
                try:
                    await self._record(key, list(waiting.values()))
                finally:
                    self._at_work -= waiting.keys()
        except (StoreBusy, StoreClosed):
            self._stranded = True
        finally:
            del self._lanes[key]

    async def _record(self, key: RecordKey, notices: Sequence[Row]) -> None:
        try:
            settled = await self._settled(key, notices)
        except (StoreBusy, StoreClosed):
            self._stranded = True  # the notices stay open; the tick takes them up again
            return
        except Exception as error:  # noqa: BLE001 (one bad notice parks itself, whatever it met)
            await self._failed(key, notices, error)
            return
        self._dispatcher.submit(settled.ready)

    async def _settled(self, key: RecordKey, notices: Sequence[Row]) -> Settled:
        """Look at the record and settle what was seen, again until nothing newer is known than what was seen."""
        for look in range(_LOOKS):
            seen = await self._see(key, notices, self._tools.clock.now(), fetch=look > 0)
            settled = await self._tools.store.run(self._settle, seen)
            if settled.state != "look again":
                return settled
            self._dispatcher.submit(settled.ready)  # those of others that were settled in the same commit
        raise TryAgain("the record changes faster than it can be looked at", sent=False)

    async def _see(self, key: RecordKey, notices: Sequence[Row], began: datetime, *, fetch: bool) -> Observation:
        """Look at the record as it is now; one look serves all notices that were read before it began."""
        connection = self._directory().connections.get(key[0])
        if connection is None:
            raise ConfigurationError(f"the connection {key[0]} is not there any more.")
        connector = self._tools.registry.get(connection["connector"])
        ids = [row["id"] for row in notices]
        last = notices[-1]
        payload = last["document"]
        kind = connector.about.kind(key[1])
        if payload is not None and not fetch and kind is not None and kind.order != "none":
            document = document_from_json(payload)
            way = "webhook"
            return observe(self._rules, connection, connector.about, document, began, notices=ids, fetched=False, way=way)
        try:
            document = await self._fetch(connector, connection, Ref(key[1], key[2]))
        except RecordGone:
            return gone(*key, began, ids)
        except Moved as moved:
            return gone(*key, began, ids, moved.to)
        return observe(self._rules, connection, connector.about, document, began, notices=ids, fetched=True, way="webhook")

    async def _fetch(self, connector: Connector, connection: Row, ref: Ref) -> Document:
        target = await self._tools.targets(connection["id"])
        call = HubCall(self._tools.client, target)
        document = await cut(connector.about.id, "fetch", connector.fetch(call, ref), 2 * target.timeout_s)
        if document.id != ref.id or document.kind != ref.kind:
            raise MappingError(f"asked for {ref.kind} {ref.id}, got {document.kind} {document.id}.", where=connector.about.id)
        return document

    async def _failed(self, key: RecordKey, notices: Sequence[Row], error: Exception) -> None:
        """Say on the notices what went wrong; a passing fault is tried again by the usual schedule."""
        ids = tuple(row["id"] for row in notices)
        now = self._tools.clock.now()
        text = str(error) or type(error).__name__
        if isinstance(error, NeedsReauthorization):
            await self._tools.store.run(pause, Pause(key[0], text))
            item = Failed(notices=ids, state="held", reason="connection", detail=text)
        elif isinstance(error, PluginHangs):
            item = Failed(notices=ids, state="open", reason="connector hangs", detail=text)
        elif isinstance(error, PluginRefused):
            item = Failed(notices=ids, state="open", reason="no connector", detail=text)
        elif isinstance(error, MappingError):
            item = Failed(notices=ids, state="parked", reason="mapping", detail=text)
        elif isinstance(error, Forbidden):
            item = Failed(notices=ids, state="parked", reason="forbidden", detail=text)
        elif isinstance(error, CallFailed):
            since = notices[0]["first_failed_at"] or now
            after = getattr(error, "after", None)
            when = next_try(since, notices[0]["attempts"] + 1, now, after, self._tools.randomness)
            state, reason = ("open", "retry") if when is not None else ("parked", "gave up")
            item = Failed(notices=ids, state=state, reason=reason, detail=text, since=since, next=when)
        else:
            item = Failed(notices=ids, state="parked", reason="error", detail=f"{type(error).__name__}: {text}")
        try:
            await self._tools.store.run(fail, item)
        except (StoreBusy, StoreClosed):
            self._stranded = True

    # --- what time brings ---------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """At a start: take up everything that is open."""
        after = ""
        while len(self._lanes) < LANES and (rows := await self._tools.store.read(open_notices, self._tools.clock.now(), after)):
            self.take(row for row in rows if row["id"] not in self._at_work)
            after = rows[-1]["id"]
        await self.refill()

    async def tick(self) -> None:
        """Try again what is due, and take up what another process or command left open."""
        if self._stranded and len(self._lanes) < LANES // 2:
            self._stranded = False
            await self.recover()
        due = await self._tools.store.read(due_notices, self._tools.clock.now())
        self.take(row for row in due if row["id"] not in self._at_work)  # a slow look is not begun again meanwhile
        if self._waiting == 0:
            await self.refill()

    async def reopened(self, notices: list[str]) -> None:
        """Take up notices that waited for an effect."""
        self.take(await self._tools.store.read(notices_by_id, notices))


async def _parsed(body: bytes) -> Any:
    """Parse a body strictly; a large one beside the event loop, so that others are answered meanwhile."""
    if len(body) > LARGE:
        return await asyncio.to_thread(parse_strictly, body)
    return parse_strictly(body) if body else None


async def nothing_left(*flows: Flow) -> None:
    """Wait until nothing is under way: for tests, the demo, and a graceful stop."""
    while any(flow.busy for flow in flows):
        await asyncio.gather(*(flow.drained() for flow in flows))
