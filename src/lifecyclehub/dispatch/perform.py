"""Step 7, perform: claim, send once, and hand what came of it to the receipt."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from pydantic import BaseModel

from lifecyclehub.connector import Action, NativeKey, Natural
from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.prepared import Claim, Prepared, Receipt
from lifecyclehub.dispatch.tools import Tools
from lifecyclehub.dispatch.upkeep import PutOff, put_off
from lifecyclehub.errors import ConfigurationError, Forbidden, NeedsReauthorization, PluginHangs, PluginRaised, Spared, TryAgain
from lifecyclehub.messages import (
    Absent,
    Accepted,
    CannotTell,
    Done,
    Found,
    Outcome,
    Refused,
    Reply,
    Request,
    Retry,
    Sighting,
    Unknown,
)
from lifecyclehub.ports import Clock
from lifecyclehub.registry.runner import cut
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.target import Target, server_timeout_s

logger = logging.getLogger(__name__)

_MARGIN_S = 1.0  # a request that begins with less time left than this is not begun
_KEPT_REPLY = 2_000
_GATEWAY = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sending came to."""

    outcome: Outcome | Found | None
    bytes_sent: bool
    reply: Reply | None = None
    detail: str | None = None
    spared: bool = False


class Deadline:
    """Until when something may be sent, by both clocks: a machine that slept may have stopped one, an admin put the other."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self.monotonic = clock.monotonic() + seconds
        self._at = clock.now() + timedelta(seconds=seconds)

    def left(self) -> float:
        """Give the seconds that are left by the stricter clock."""
        return min(self.monotonic - self._clock.monotonic(), (self._at - self._clock.now()).total_seconds())


class Performer:
    """Performs prepared effects, many at a time, each exactly as its claim says."""

    def __init__(
        self,
        tools: Tools,
        claims: TakeClaims,
        receive: Callable[[Receipt], Awaitable[None]],
        again: Callable[[Iterable[str]], Awaitable[None]],
        park: Callable[[str, str, str], Awaitable[None]],
    ) -> None:
        self._tools, self._claims, self._receive, self._again, self._park = tools, claims, receive, again, park

    async def perform(self, prepared: Prepared) -> bool:
        """Take one effect from prepared to its receipt; True when another one goes first on its target record.

        Never raises for what a vendor or a plugin does, but PluginHangs: then nothing was sent.
        """
        if prepared.connector in self._tools.runner.hanging:
            raise PluginHangs(prepared.connector, prepared.action, "waits: the connector hangs. Start the hub again.")
        action = self._action(prepared)
        value = action.input.model_validate(prepared.input)
        request = prepared.frozen
        if request is None:
            try:
                request = await self._tools.runner.call(prepared.connector, action.render, value, prepared.body, prepared.key)
            except PluginRaised as error:
                await self._park(prepared.effect, "plugin", str(error))
                return False
        try:
            target = await self._tools.targets(prepared.connection)
        except ConfigurationError as error:
            await self._park(prepared.effect, "connection", str(error))
            return False
        if (wait := self._tools.client.breakers.wait_s(prepared.connection)) > 0:  # not even claimed: that is no attempt
            until, why = self._tools.clock.now() + timedelta(seconds=wait), str(Spared(prepared.connection, wait))
            await self._tools.store.run(put_off, PutOff(prepared.effect, prepared.epoch, until, why))
            return False
        return await self._claim_and_send(prepared, action, value, request, target)

    async def _claim_and_send(
        self, prepared: Prepared, action: Action[Any], value: BaseModel, request: Request, target: Target
    ) -> bool:
        sending_s = min(request.timeout_s or target.timeout_s, target.timeout_s)
        # Taken before the claim is queued: however long the queue, what is sent is sent within the deadline on record.
        deadline = Deadline(self._tools.clock, sending_s)
        key_s = key_lasts_s(action.once, sending_s, target) if isinstance(action.once, NativeKey) else None
        claim = Claim(prepared=prepared, request=request, holder=self._tools.holder, sending_s=sending_s, key_s=key_s)
        claimed = await self._tools.store.run(self._claims, claim)
        if claimed.verdict == "again":
            await self._again([prepared.effect])
        if claimed.verdict != "go":
            return claimed.verdict == "wait"
        began = self._tools.clock.now()
        twin = await self._twin(action, value, prepared, target) if action.adopts_twin else None
        answer = twin or await self._send(action, request, target, deadline)
        stores_errors = isinstance(action.once, NativeKey) and action.once.caches_errors
        if action.verify_after and not twin and isinstance(answer.outcome, Done):
            answer = await self._verified(action, value, prepared, target, answer)
        await self._receive(
            Receipt(
                effect=prepared.effect,
                epoch=claimed.epoch,
                revision=prepared.revision,
                what="looked up" if twin else "sent",
                began_at=began,
                outcome=answer.outcome,
                bytes_sent=answer.bytes_sent,
                status=answer.reply.status if answer.reply else None,
                reply=self._tools.people.known.reply(_text(answer.reply)),
                detail=answer.detail,
                new_key=stores_errors and answer.bytes_sent,
                lands_s=server_timeout_s(target) if _may_land(action, answer) else None,
                spared=answer.spared,
            )
        )
        return False

    async def _twin(self, action: Action[Any], value: BaseModel, prepared: Prepared, target: Target) -> Answer | None:
        """Look for what a person or another automation made already; None when there is none and it may be created."""
        try:
            sighting = await self.look(action, value, prepared, target)
        except NeedsReauthorization as error:
            return Answer(None, bytes_sent=False, detail=str(error))
        match sighting:
            case Found(records) if len(records) == 1:
                return Answer(records[0], bytes_sent=False, detail="it was there already and is taken over")
            case Absent() | Found(()):
                return None
            case Found():
                return Answer(sighting, bytes_sent=False)
            case CannotTell(reason):
                return Answer(Retry(f"could not look whether it is there already: {reason}"), bytes_sent=False)

    async def _verified(
        self, action: Action[Any], value: BaseModel, prepared: Prepared, target: Target, answer: Answer
    ) -> Answer:
        """Look whether what the tool says it did is there: some answer 204 and do nothing."""
        sighting: Sighting
        try:
            sighting = await self.look(action, value, prepared, target)
        except NeedsReauthorization as error:
            sighting = CannotTell(str(error))
        if isinstance(sighting, Found) and sighting.records:
            return replace(answer, outcome=sighting.records[0])
        said = sighting.reason if isinstance(sighting, CannotTell) else "the tool said that it was done, but it is not there"
        return replace(answer, outcome=Unknown(said))

    async def look(
        self, action: Action[Any], value: BaseModel, prepared: Prepared, target: Target
    ) -> Found | Absent | CannotTell:
        """Look whether it was done. Whatever fails on the way is *cannot tell*, never absence."""
        call = HubCall(self._tools.client, target)
        try:
            sighting: Any = await cut(
                prepared.connector, f"{action.name}.find", action.find(call, value, prepared.key), 2 * target.timeout_s
            )
        except NeedsReauthorization:
            raise
        except (TryAgain, Forbidden, PluginRaised, ConfigurationError) as error:
            return CannotTell(str(error))
        except Exception as error:  # noqa: BLE001 (RecordGone and the like: the look-up was not complete)
            return CannotTell(f"{type(error).__name__}: {error}")
        if isinstance(sighting, Found | Absent | CannotTell):
            return sighting
        return CannotTell(f"{action.name}.find gave {type(sighting).__name__}, which is no sighting")

    async def _send(self, action: Action[Any], request: Request, target: Target, deadline: Deadline) -> Answer:
        if deadline.left() < _MARGIN_S:
            return Answer(Retry("the deadline passed before anything was sent", 0.0), bytes_sent=False)
        sent = False

        def left() -> None:
            nonlocal sent
            sent = True

        try:
            reply = await self._tools.client.send(target, request, deadline_monotonic=deadline.monotonic, on_sent=left)
        except Spared as error:
            return Answer(Retry(error.reason, error.after), bytes_sent=sent, spared=True)
        except TryAgain as error:
            nothing_done = not error.sent or isinstance(action.once, Natural)
            outcome: Outcome = Retry(error.reason, error.after) if nothing_done else Unknown(error.reason)
            return Answer(outcome, bytes_sent=sent)
        except NeedsReauthorization as error:
            return Answer(None, bytes_sent=sent, detail=str(error))
        except ConfigurationError as error:
            return Answer(Retry(str(error)), bytes_sent=False)
        return await self._judged(action, reply, request, target)

    async def _judged(self, action: Action[Any], reply: Reply, request: Request, target: Target) -> Answer:
        try:
            outcome: Any = await self._tools.runner.call(target.about.id, action.judge, reply, request)
        except PluginRaised as error:
            if isinstance(error.error, NeedsReauthorization):  # said inside another status than 401
                return Answer(None, bytes_sent=True, reply=reply, detail=str(error.error))
            outcome = Unknown(str(error))
        except PluginHangs as error:
            outcome = Unknown(str(error))
        if not isinstance(outcome, Done | Accepted | Refused | Retry | Unknown):
            outcome = Unknown(f"{action.name}.judge gave {type(outcome).__name__}, which is no outcome")
        if isinstance(outcome, Done) and outcome.record_id is None and action.creates is not None:
            outcome = Unknown("the reply does not say what was made")
        return Answer(outcome, bytes_sent=True, reply=reply)

    def _action(self, prepared: Prepared) -> Action[Any]:
        action = self._tools.registry.get(prepared.connector).about.action(prepared.action)
        assert action is not None  # noqa: S101 (prepared only for actions that the connector has)
        return action


def _may_land(action: Action[Any], answer: Answer) -> bool:
    """Tell whether the vendor may still do what is simply sent again: it left, and nobody but a gateway answered."""
    uncertain = isinstance(answer.outcome, Retry | Unknown) and answer.bytes_sent and isinstance(action.once, Natural)
    return uncertain and (answer.reply is None or answer.reply.status >= _GATEWAY)


def _text(reply: Reply | None) -> str | None:
    return None if reply is None else reply.body[:_KEPT_REPLY].decode("utf-8", "replace").replace("\x00", "")


class Flow:
    """Keeps at most so many things in flight, of one connection at most its share, and remembers them until they are over."""

    def __init__(self, limit: int = 128, share: int | None = None) -> None:
        self._gate = asyncio.Semaphore(limit)
        self._shares: defaultdict[str | None, asyncio.Semaphore] = defaultdict(partial(asyncio.Semaphore, share or limit))
        self._running: set[asyncio.Task[None]] = set()
        self.stopping = False

    def start(self, work: Coroutine[Any, Any, None], left: Callable[[], None] | None = None, of: str | None = None) -> None:
        """Begin as soon as there is room. What has not begun when the hub stops is left where it is: in the store.

        `left` is called then: a hub that only sleeps must not take it for begun when it wakes. `of`: the connection whose
        share it takes; a tool that is slow, or whose rate is used up, takes no other one's room.
        """
        runner = asyncio.ensure_future(self._within(work, left, of))
        self._running.add(runner)
        runner.add_done_callback(self._running.discard)
        runner.add_done_callback(lambda _: work.close())  # what was cancelled before it began; else it is closed already

    async def _within(self, work: Coroutine[Any, Any, None], left: Callable[[], None] | None, of: str | None) -> None:
        async with self._shares[of], self._gate:
            if self.stopping:
                work.close()
                if left is not None:
                    left()
                return
            try:
                await work
            except Exception:
                logger.exception("work ended in an error; what it was about stays in the store and is taken up again")

    @property
    def busy(self) -> int:
        """How many things are under way or waiting for room."""
        return len(self._running)

    async def drained(self) -> None:
        """Wait until everything begun is over."""
        while self._running:
            await asyncio.gather(*list(self._running), return_exceptions=True)


def key_lasts_s(once: NativeKey, sending_s: float, target: Target) -> float:
    """Give for how long after a first sending a repeat may begin.

    It may be done as late as the tool's own time-out after our deadline, and the key must fold it even then.
    """
    return once.window_s - sending_s - server_timeout_s(target) - _MARGIN_S
