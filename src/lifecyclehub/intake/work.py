"""Steps 4 to 6 at work: deliveries are split, records looked at one after the other, different ones side by side."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
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
    LostRace,
    MappingError,
    Moved,
    NeedsReauthorization,
    NotOurJson,
    PluginHangs,
    PluginRefused,
    RecordGone,
    Spared,
    TryAgain,
    Unsupported,
)
from lifecyclehub.intake.decide import SettleAndDecide
from lifecyclehub.intake.directory import Directory
from lifecyclehub.intake.fetch import gone, observe
from lifecyclehub.intake.hands import Hands
from lifecyclehub.intake.keep import Arrival
from lifecyclehub.intake.lanes import BUSY, LANES, ROOM, Lanes, RecordKey
from lifecyclehub.intake.notices import Failed, due_notices, fail, notices_by_id, open_deliveries, open_notices
from lifecyclehub.intake.observation import Observation, Settled
from lifecyclehub.intake.page import WAYS, swept_notices
from lifecyclehub.intake.split import Split, split, without_erased
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
IN_FLIGHT = 512  # deliveries and records together; of one connection only so many as its lanes allow
LARGE = 64 * 1024


class Intake:
    """Works on what was kept. The store is the truth: what does not fit into memory is read from there later."""

    def __init__(self, tools: Tools, rules: Rules, dispatcher: Dispatcher, directory: Callable[[], Directory]) -> None:
        self._tools, self._dispatcher, self._directory = tools, dispatcher, directory
        self.flow = Flow(IN_FLIGHT)
        self.lanes = Lanes(self.flow, self._record)
        self.hands = Hands(tools, self.flow)
        self._waiting = 0
        self._swept: Counter[str] = Counter()  # swept deliveries that wait in memory, by connection
        self._left_in_store = False
        self.use(rules)

    def use(self, rules: Rules) -> None:
        """Work with these rules from now on."""
        self._rules = rules
        self._settle = SettleAndDecide(rules, self._tools.ids, self._tools.clock, self._tools.people)

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
        if arrival.connection is not None:
            self._swept[arrival.connection] += 1
        self.flow.start(self._delivery(arrival), partial(self._left, arrival))

    def waiting(self, connection: str) -> int:
        """Give how many records of a connection are at work or wait."""
        return self.lanes.count(connection)

    async def room(self, connection: str) -> None:
        """Wait until little of a connection waits: who looks for more brings it no faster than it is worked on."""
        while not self.flow.stopping and (self._left_in_store or self._swept[connection] or self.lanes.count(connection) >= ROOM):
            await self.lanes.fewer(connection)

    # --- deliveries ---------------------------------------------------------------------------------------------------

    async def _delivery(self, arrival: Arrival) -> None:
        try:
            self.lanes.take(await self._split(arrival))
        finally:
            self._out_of_memory(arrival)
        if self._left_in_store and self._waiting < BACKLOG // 2:
            await self.refill()

    def _left(self, arrival: Arrival) -> None:
        self._out_of_memory(arrival)
        self._left_in_store = True

    def _out_of_memory(self, arrival: Arrival) -> None:
        self._waiting -= 1
        if arrival.connection is not None:
            self._swept[arrival.connection] -= 1

    async def refill(self) -> None:
        """Take up open deliveries from the store, as many as memory is meant to hold, of every connector its share."""
        self._left_in_store = False
        usable = self._tools.registry.connectors.keys() - self._tools.runner.hanging
        if usable:
            room = BACKLOG // 2 // len(usable) + 1
            found = await self._tools.store.read(open_deliveries, usable, self._tools.holder, room)
            for arrival in await self.hands.deliveries(found):
                self.offer(arrival)

    async def _split(self, arrival: Arrival) -> Sequence[Row]:
        part = partial(Split, delivery=arrival.id, at=self._tools.clock.now(), holder=self._tools.holder)
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
                if arrival.way in WAYS
                else await self._tools.runner.call(arrival.connector, connector.read, delivery)
            )
            notices = tuple(self._as_row(arrival, position, one, connector.about) for position, one in enumerate(read))
            item = without_erased(part(notices=notices), arrival, self._tools.people.known, self._rules)
        except NotOurJson as error:
            item = part(parked=error.reason, detail=error.detail)
        except (PluginHangs, PluginRefused):
            return ()  # it stays open, and is read when the hub is started again
        except HubError as error:
            item = part(parked="cannot be read", detail=str(error))
        except Exception as error:  # noqa: BLE001 (what a connector gave is no list of notices)
            item = part(parked="cannot be read", detail=f"{type(error).__name__}: {error}")
        return await self._write(item)

    async def _write(self, item: Split) -> Sequence[Row]:
        try:
            return await self._tools.store.run(split, item)
        except (StoreBusy, StoreClosed):
            # It stays open, and the tick takes it up again; or it was split, and only the word of that got lost.
            self.lanes.stranded = True
            return ()
        except Exception as error:  # noqa: BLE001 (the database refuses what a connector made of it)
            detail = f"{type(error).__name__}: {error}"
            return await self._tools.store.run(split, replace(item, notices=(), parked="cannot be kept", detail=detail))

    def _as_row(self, arrival: Arrival, position: int, notice: Notice, about: About) -> Row:
        state, reason, connection = self._place(arrival, notice, about)
        known = self._directory().connections.get(connection or "")
        return {
            "id": self._tools.ids.new("ntc"),
            "delivery": arrival.id,
            "position": position,
            "endpoint": arrival.endpoint,
            "way": arrival.way,
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
            "holder": self._tools.holder,
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

    async def _record(self, key: RecordKey, notices: Sequence[Row]) -> None:
        began = self._tools.clock.now()
        connection = self._directory().connections.get(key[0])
        if connection is not None and connection["state"] != "active":  # it was paused since they were split
            ids, since = tuple(row["id"] for row in notices), notices[0]["first_failed_at"]
            said = connection["reason"] or "it is paused"
            await self._wait(Failed(notices=ids, state="held", reason="connection", detail=said, since=since, tries=0))
            return
        try:
            settled = await self._settled(key, notices)
        except (StoreBusy, StoreClosed):
            self.lanes.stranded = True  # the notices stay open; the tick takes them up again
            return
        except Exception as error:  # noqa: BLE001 (one bad notice parks itself, whatever it met)
            await self._failed(key, notices, began, error)
            return
        self._dispatcher.submit(settled.ready)
        for receipt in settled.found:
            await self._dispatcher.receive(receipt)

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
        payload = last["document"] if len(notices) == 1 else None  # which of several is the newest, a look tells
        kind = connector.about.kind(key[1])
        if payload is not None and not fetch and kind is not None and kind.order != "none":
            document = document_from_json(payload)
            return await self._observed(connector, connection, document, began, notices=ids, fetched=False)
        unannounced = _unannounced(connection, notices)
        try:
            document = await self._fetch(connector, connection, Ref(key[1], key[2]))
        except (RecordGone, Moved) as left:
            into = left.to if isinstance(left, Moved) else None
            unannounced = unannounced and kind is not None and kind.deletes == "webhook"
            return replace(gone(*key, began, ids, into), unannounced=unannounced, answered_at=self._tools.clock.now())
        answered_at = self._tools.clock.now()
        seen = await self._observed(connector, connection, document, began, notices=ids, fetched=True)
        changed_at = document.changed_at or last["at"]
        since_ours = changed_at is None or changed_at >= connection["created_at"]
        related = tuple(replace(one, answered_at=answered_at) for one in seen.related)
        return replace(seen, unannounced=unannounced and since_ours, answered_at=answered_at, related=related)

    async def _observed(
        self, connector: Connector, connection: Row, document: Document, began: datetime, *, notices: Sequence[str], fetched: bool
    ) -> Observation:
        """Map a document: on the event loop with what is ours, under the watchdog with a connector's own converters."""
        about, erased = connector.about, self._tools.people.known

        def look() -> Observation | MappingError:
            try:
                return observe(self._rules, connection, about, document, began, notices=notices, fetched=fetched, erased=erased)
            except MappingError as error:
                return error

        seen = await self._tools.runner.call(about.id, look) if about.converters else look()
        if isinstance(seen, MappingError):
            raise seen
        return seen

    async def _fetch(self, connector: Connector, connection: Row, ref: Ref) -> Document:
        target = await self._tools.targets(connection["id"])
        call = HubCall(self._tools.client, target)
        document = await cut(connector.about.id, "fetch", connector.fetch(call, ref), 2 * target.timeout_s)
        if document.id != ref.id or document.kind != ref.kind:
            raise MappingError(f"asked for {ref.kind} {ref.id}, got {document.kind} {document.id}.", where=connector.about.id)
        return document

    async def _failed(self, key: RecordKey, notices: Sequence[Row], began: datetime, error: Exception) -> None:
        """Say on the notices what went wrong; a passing fault is tried again by the usual schedule."""
        ids = tuple(row["id"] for row in notices)
        now = self._tools.clock.now()
        text = str(error) or type(error).__name__
        if isinstance(error, NeedsReauthorization) and await self._tools.store.run(pause, Pause(key[0], text, began)):
            item = Failed(notices=ids, state="held", reason="connection", detail=text)
        elif isinstance(error, PluginHangs):
            item = Failed(notices=ids, state="open", reason="connector hangs", detail=text)
        elif isinstance(error, PluginRefused):
            item = Failed(notices=ids, state="open", reason="no connector", detail=text)
        elif isinstance(error, MappingError):
            item = Failed(notices=ids, state="parked", reason="mapping", detail=text)
        elif isinstance(error, Forbidden):
            item = Failed(notices=ids, state="parked", reason="forbidden", detail=text)
        elif isinstance(error, Unsupported):  # trying again changes nothing: another plan, or another connector does
            item = Failed(notices=ids, state="parked", reason="unsupported", detail=text)
        elif isinstance(error, Spared):
            first, until = notices[0]["first_failed_at"], now + timedelta(seconds=error.after or 0.0)
            item = Failed(notices=ids, state="open", reason="spared", detail=text, since=first, next=until, tries=0)
        elif isinstance(error, CallFailed | LostRace):
            since = notices[0]["first_failed_at"] or now
            after = getattr(error, "after", None)
            when = next_try(since, notices[0]["attempts"] + 1, now, after, self._tools.randomness)
            state, reason = ("open", "retry") if when is not None else ("parked", "gave up")
            item = Failed(notices=ids, state=state, reason=reason, detail=text, since=since, next=when)
        else:
            item = Failed(notices=ids, state="parked", reason="error", detail=f"{type(error).__name__}: {text}")
        await self._wait(item)

    async def _wait(self, item: Failed) -> None:
        try:
            await self._tools.store.run(fail, item)
        except (StoreBusy, StoreClosed):
            self.lanes.stranded = True

    # --- what time brings ---------------------------------------------------------------------------------------------

    async def take_over(self) -> None:
        """At a start, or when another hub is gone: take over what dead hubs had in hand, then everything that is open."""
        one_by_one = await self.hands.take_over(self._split, self._by_itself)
        if one_by_one is not None:
            self.flow.start(self._then_the_rest(one_by_one), self.hands.none_alone)
        await self.recover()

    async def _then_the_rest(self, one_by_one: Callable[[], Awaitable[None]]) -> None:
        try:
            await one_by_one()
        finally:
            self.lanes.stranded = True

    async def _by_itself(self, row: Row) -> None:
        self.lanes.take([row])
        await self.lanes.over((row["connection"], row["kind"], row["record_id"]))

    async def recover(self) -> None:
        """Take up everything that is open and in this hub's hands, or in nobody's."""
        after = ""
        now = self._tools.clock.now()
        while len(self.lanes) < LANES:
            rows = await self._tools.store.read(open_notices, now, self._tools.holder, after, but=self.lanes.full())
            if not rows:
                break
            self.lanes.take(await self.hands.notices(rows, self.lanes.at_work))
            after = rows[-1]["id"]
        await self.refill()

    async def tick(self) -> None:
        """Try again what is due, and take up what another process or command left open."""
        if self.lanes.stranded and len(self.lanes) < LANES // 2:
            self.lanes.stranded = False
            await self.recover()
        now, holder = self._tools.clock.now(), self._tools.holder
        due = await self._tools.store.read(due_notices, now, holder, but=self.lanes.full(BUSY))
        self.lanes.take(await self.hands.notices(due, self.lanes.at_work))  # a slow look is not begun again meanwhile
        if self._waiting == 0:
            await self.refill()

    async def reopened(self, notices: list[str]) -> None:
        """Take up notices that waited for an effect."""
        self.lanes.take(await self.hands.notices(await self._tools.store.read(notices_by_id, notices), self.lanes.at_work))


def _unannounced(connection: Row, notices: Sequence[Row]) -> bool:
    """Tell whether only sweeps told of a record on a connection whose webhooks should have."""
    return bool(connection["listens"]) and all(row["way"] == "sweep" for row in notices)


async def _parsed(body: bytes) -> Any:
    """Parse a body strictly; a large one beside the event loop, so that others are answered meanwhile."""
    if len(body) > LARGE:
        return await asyncio.to_thread(parse_strictly, body)
    return parse_strictly(body) if body else None


async def nothing_left(*flows: Flow) -> None:
    """Wait until nothing is under way: for tests, the demo, and a graceful stop."""
    while any(flow.busy for flow in flows):
        await asyncio.gather(*(flow.drained() for flow in flows))
