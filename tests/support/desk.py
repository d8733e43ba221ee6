"""A tool that is asked about effects in doubt, and the hub's look-up that asks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from sqlalchemy import update

from lifecyclehub.connector import Marker, NativeKey
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.dispatch.lookup import Lookup
from lifecyclehub.dispatch.perform import Performer
from lifecyclehub.dispatch.stopwatch import Stopwatch
from lifecyclehub.dispatch.upkeep import DueEffect
from lifecyclehub.messages import Absent
from lifecyclehub.store import tables as t
from lifecyclehub.vendor.breakers import Breakers
from tests.support.effects import effect, in_flight, receive
from tests.support.story import Story

KEY = NativeKey("Once", window_s=3600)
CACHING = replace(KEY, caches_errors=True)
MARKER = Marker("data.notes", lag_s=20)
SERVER_S = 60.0
TOTAL_S = 30.0
ENDS_S = 7200.0


class Act:
    """An action whose `once`, look-up and check a test sets."""

    name = "create_project"
    input = CreateProject
    creates = "asana.project"

    def __init__(self, once: Any, found: Callable[[], Any], checked: Callable[[], Any] | None = None) -> None:
        self.once, self.found, self.checked, self.looks, self.accepted_s = once, found, checked, 0, ENDS_S

    async def find(self, *_: Any) -> Any:
        self.looks += 1
        return self.found()

    async def check(self, *_: Any) -> Any:
        assert self.checked is not None
        return self.checked()


class Desk:
    """A look-up whose receipts are really written, without a network."""

    def __init__(
        self, story: Story, once: Any, found: Callable[[], Any] = Absent, checked: Callable[[], Any] | None = None
    ) -> None:
        self.story, self.parked = story, []
        self.act: Any = Act(once, found, checked)
        about = SimpleNamespace(id="asana", action=lambda _: self.act, server_timeout_s=SERVER_S)
        self.settings: dict[str, str] = {}
        self.target: Any = SimpleNamespace(about=about, settings=self.settings, timeout_s=TOTAL_S)
        tools: Any = SimpleNamespace(
            store=self,
            clock=story.clock,
            holder="hub_1",
            installation=story.made.installation,
            targets=self._target,
            registry=SimpleNamespace(get=lambda _: SimpleNamespace(about=about)),
            restored=lambda: None,
            client=SimpleNamespace(clock=story.clock, breakers=Breakers(story.clock)),
        )
        self.tools = tools
        nobody: Any = None
        performer = Performer(tools, nobody, nobody, nobody, nobody)
        self.stopwatch = Stopwatch(story.clock)
        self.lookup = Lookup(tools, performer, self.stopwatch, self._receive, self._park)
        self.unreachable: Exception | None = None

    parked: list[tuple[str, str]]

    async def read(self, question: Any, *args: Any) -> Any:
        with self.story.engine.begin() as conn:
            return question(conn, *args)

    async def run(self, operation: Any, item: Any) -> Any:
        with self.story.engine.begin() as conn:
            return operation(conn, [item])[0]

    async def _target(self, _: str) -> Any:
        if self.unreachable is not None:
            raise self.unreachable
        return self.target

    async def _receive(self, receipt: Any) -> None:
        assert receipt.bytes_sent is False
        prepared: Any = SimpleNamespace(effect=receipt.effect)
        receive(
            self.story,
            prepared,
            receipt.outcome,
            epoch=receipt.epoch,
            what=receipt.what,
            began_at=receipt.began_at,
            detail=receipt.detail,
            new_key=receipt.new_key,
            overdue=receipt.overdue,
            revision=receipt.revision,
        )

    async def _park(self, effect_id: str, reason: str, detail: str) -> None:
        self.parked.append((reason, detail))
        with self.story.engine.begin() as conn:
            conn.execute(update(t.effect).where(t.effect.c.id == effect_id).values(state="parked", reason=reason, detail=detail))

    def sent(self, prepared: Any) -> Desk:
        """It was this hub's own process that sent it, as its claim notes; else another one's."""
        self.stopwatch.start(prepared.effect, effect(self.story, prepared)["epoch"], first=True)
        return self

    async def look(self, prepared: Any) -> dict[str, Any]:
        row = effect(self.story, prepared)
        await self.lookup.run(DueEffect(row["id"], row["state"], row["handle"]))
        return effect(self.story, prepared)


def doubt(story: Story, **values: Any) -> Any:
    prepared = in_flight(story, state="in doubt", reason="no answer", handle=None, **values)
    story.clock.at += TOTAL_S + 1
    return prepared


def raising(error: Exception) -> Callable[[], Any]:
    def now() -> Any:
        raise error

    return now
