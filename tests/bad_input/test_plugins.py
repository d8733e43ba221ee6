"""A connector that hangs or raises: its own work waits or is parked with what it said, and the other tools go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lifecyclehub.connector import About, Call
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.hub import Hub
from lifecyclehub.messages import Delivery, Document, Json, Key, Notice, Outcome, Ref, Reply, Request, Sighting
from lifecyclehub.registry.registry import Registry
from lifecyclehub.store import tables as t
from lifecyclehub_asana.actions import CreateProjectAction
from lifecyclehub_asana.connector import Asana
from lifecyclehub_zendesk import Zendesk
from tests.support.bad_input import Hall, a_deal, hall

pytestmark = pytest.mark.anyio

TICKET = json.dumps(
    {"type": "zen:event-type:ticket.created", "id": "0f2b", "subject": "zen:ticket:1", "detail": {"id": "1"}}
).encode()


class BadZendesk(Zendesk):
    """Reads and fetches as a test says."""

    def __init__(self, *, read: Callable[[], Any] | None = None, fetch: Callable[[], Any] | None = None) -> None:
        self._read, self._fetch = read, fetch

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        found: Iterable[Notice] = self._read() if self._read else super().read(delivery)
        return found

    async def fetch(self, call: Call, ref: Ref) -> Document:
        found: Document = await self._fetch() if self._fetch else await super().fetch(call, ref)
        return found


BadZendesk.__module__ = Zendesk.__module__  # its default mappings lie beside it


class BadCreate(CreateProjectAction):
    """Renders, judges and finds as a test says."""

    def __init__(self, **does: Callable[[], Any]) -> None:
        self._does = does

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        request: Request = self._does["render"]() if "render" in self._does else super().render(v, body, key)
        return request

    def judge(self, reply: Reply, request: Request) -> Outcome:
        outcome: Outcome = self._does["judge"]() if "judge" in self._does else super().judge(reply, request)
        return outcome

    async def find(self, call: Call, v: CreateProject, key: Key) -> Sighting:
        sighting: Sighting = self._does["find"]() if "find" in self._does else await super().find(call, v, key)
        return sighting


def bad_asana(**does: Callable[[], Any]) -> Asana:
    class BadAsana(Asana):
        about: ClassVar[About] = replace(
            Asana.about, actions=tuple(BadCreate(**does) if one.name == "create_project" else one for one in Asana.about.actions)
        )

    BadAsana.__module__ = Asana.__module__
    return BadAsana()


def raising(error: BaseException) -> Callable[[], Any]:
    def now() -> Any:
        raise error

    return now


@pytest.fixture
def hanging() -> Iterator[Callable[[], Any]]:
    """A function that comes back only when the test is over."""
    over = threading.Event()
    yield lambda: over.wait(30)
    over.set()


@asynccontextmanager
async def with_zendesk(folder: Path, **does: Any) -> AsyncIterator[Hall]:
    async with hall(folder, connectors={"zendesk": BadZendesk(**does)}, hang_after_s=0.1) as h:
        yield h


async def knock_at_zendesk(h: Hall, *but: str) -> dict[str, Any]:
    async with h.undisturbed("delivery", "notice", *but):
        answer = await h.knock("zendesk", TICKET)
    assert answer.is_success, "what was kept is answered, whatever the connector does with it"
    (delivery,) = h.rows(t.delivery, connector="zendesk")
    return delivery


# --- reading ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("detail"), "connector zendesk: BadZendesk.read raised KeyError: 'detail'"),
        (SystemExit(3), "raised SystemExit: 3"),
        (RecursionError("too deep"), "raised RecursionError"),
        (KeyboardInterrupt(), "raised KeyboardInterrupt"),
    ],
)
async def test_a_connector_that_raises_on_reading_parks_that_delivery(tmp_path: Path, error: BaseException, words: str) -> None:
    async with with_zendesk(tmp_path, read=raising(error)) as h:
        delivery = await knock_at_zendesk(h)

        assert delivery["state"] == "parked"
        assert delivery["reason"].startswith("cannot be read: ")
        assert words in delivery["reason"]
        assert h.hub.runner.hanging == set()


@pytest.mark.parametrize("given", [None, 7, [None], ["notice"], [{"kind": "zendesk.ticket"}]], ids=repr)
async def test_what_is_no_list_of_notices_parks_that_delivery(tmp_path: Path, given: Any) -> None:
    async with with_zendesk(tmp_path, read=lambda: given) as h:
        delivery = await knock_at_zendesk(h)

        assert delivery["state"] == "parked"
        assert delivery["reason"].startswith("cannot be read: ")


async def test_notices_that_the_database_refuses_park_that_delivery(tmp_path: Path) -> None:
    nameless: Any = Notice(kind="zendesk.ticket", record_id=None)  # type: ignore[arg-type]
    async with with_zendesk(tmp_path, read=lambda: [nameless]) as h:
        delivery = await knock_at_zendesk(h)

        assert delivery["state"] == "parked"
        assert delivery["reason"].startswith("cannot be kept: IntegrityError")


async def test_notices_without_end_are_not_waited_for(tmp_path: Path) -> None:
    def endless() -> Iterator[Notice]:
        while True:
            yield Notice(kind="zendesk.ticket", record_id="1")

    async with with_zendesk(tmp_path, read=endless) as h:
        h.hub.runner._lanes.clear()
        h.hub.runner._hang_after_s = 30.0
        delivery = await knock_at_zendesk(h)

        assert delivery["state"] == "parked"
        assert "gave more than 100000 items" in delivery["reason"]


async def test_a_connector_that_hangs_holds_its_own_work_and_nobody_elses(tmp_path: Path, hanging: Callable[[], Any]) -> None:
    async with with_zendesk(tmp_path, read=hanging) as h:
        delivery = await knock_at_zendesk(h)
        assert delivery["state"] == "open"
        assert h.hub.runner.hanging == {"zendesk"}

        second = await h.knock("zendesk", TICKET.replace(b"0f2b", b"0f2c"))
        assert second.is_success, "its doors stay open: what comes is kept"
        for _ in range(3):  # the ticks do not try it again and again at the others' expense
            await h.forward(1)
        await h.good()
        assert [row["state"] for row in h.rows(t.delivery, connector="zendesk")] == ["open", "open"]
        await h.hub.stop()

        again = Hub(h.settings, registry=Registry.load(), clock=h.clock, transport=h.hub.client._factory)
        again.timers.start = lambda: None  # type: ignore[method-assign]
        await again.start()
        await again.settled()
        with again.engine.connect() as conn:
            states = conn.execute(t.delivery.select().where(t.delivery.c.connector == "zendesk")).mappings().all()
        await again.stop()
        assert [row["state"] for row in states] == ["split", "split"]


# --- fetching -----------------------------------------------------------------------------------------------------------


async def test_a_connector_that_raises_on_fetching_parks_that_notice_with_what_it_said(tmp_path: Path) -> None:
    async with with_zendesk(tmp_path, fetch=raising(LookupError("no detail"))) as h:
        await knock_at_zendesk(h)

        (notice,) = h.rows(t.notice, connector="zendesk")
        assert (notice["state"], notice["reason"]) == ("parked", "error")
        assert notice["detail"] == "PluginRaised: connector zendesk: fetch raised LookupError: no detail"


@pytest.mark.parametrize("given", [None, 7, {"kind": "zendesk.ticket"}], ids=repr)
async def test_what_is_no_document_parks_that_notice(tmp_path: Path, given: Any) -> None:
    async def fetch() -> Any:
        return given

    async with with_zendesk(tmp_path, fetch=fetch) as h:
        await knock_at_zendesk(h)

        (notice,) = h.rows(t.notice, connector="zendesk")
        assert (notice["state"], notice["reason"]) == ("parked", "error")
        assert notice["detail"]


async def test_another_record_than_asked_for_parks_that_notice(tmp_path: Path) -> None:
    async def fetch() -> Any:
        return Document(kind="zendesk.ticket", id="2")

    async with with_zendesk(tmp_path, fetch=fetch) as h:
        await knock_at_zendesk(h)

        (notice,) = h.rows(t.notice, connector="zendesk")
        assert (notice["state"], notice["reason"]) == ("parked", "mapping")
        assert "asked for zendesk.ticket 1, got zendesk.ticket 2" in notice["detail"]


async def test_a_fetch_that_hangs_is_cut_and_tried_again_later(tmp_path: Path) -> None:
    async def fetch() -> Any:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):  # it even ignores being cancelled
                await over.wait()

    over = asyncio.Event()
    async with with_zendesk(tmp_path, fetch=fetch) as h:
        h.change(t.connection, "con_zendesk", settings={"subdomain": "northwind", "total_s": "0.05"})
        await h.hub.reread()
        await knock_at_zendesk(h)

        (notice,) = h.rows(t.notice, connector="zendesk")
        assert (notice["state"], notice["reason"]) == ("open", "retry")
        assert notice["detail"] == "connector zendesk: fetch was cut after 0.1 s"
        left = [one for one in asyncio.all_tasks() if "_shielding" in repr(one)]
        assert len(left) == 1, "nobody waits for it any more"
        over.set()
        await asyncio.wait(left)


# --- acting -------------------------------------------------------------------------------------------------------------

MOVED = ("delivery", "notice", "deal", "engagement", "link", "mirror", "snapshot", "event", "charge", "effect", "need", "attempt")


async def win_a_deal(h: Hall) -> dict[str, Any]:
    await h.switch_on()
    h.vendors.deals["1"] = a_deal("1", stage="closedwon")
    async with h.undisturbed(*MOVED):
        await h.knock("hubspot", h.deal_changed("1"))
    (effect,) = h.rows(t.effect, name="project")
    return effect


async def test_a_connector_that_raises_on_rendering_parks_that_effect_and_sends_nothing(tmp_path: Path) -> None:
    async with hall(tmp_path, connectors={"asana": bad_asana(render=raising(ValueError("no workspace")))}) as h:
        effect = await win_a_deal(h)

        assert (effect["state"], effect["reason"]) == ("parked", "plugin")
        assert effect["detail"] == "connector asana: BadCreate.render raised ValueError: no workspace"
        assert h.vendors.made == []
        assert h.rows(t.attempt) == []


async def test_a_connector_that_hangs_on_rendering_holds_its_effects_until_the_hub_is_started_again(
    tmp_path: Path, hanging: Callable[[], Any]
) -> None:
    async with hall(tmp_path, connectors={"asana": bad_asana(render=hanging)}, hang_after_s=0.1) as h:
        effect = await win_a_deal(h)

        assert (effect["state"], effect["reason"]) == ("held", "connection")
        assert "Start the hub again" in effect["detail"]
        assert h.vendors.made == []
        await h.hub.stop()

        again = Hub(h.settings, registry=Registry.load(), clock=h.clock, transport=h.hub.client._factory)
        again.timers.start = lambda: None  # type: ignore[method-assign]
        await again.start()
        await again.settled()
        await again.stop()
        assert [path for path, _ in h.vendors.made].count("/api/1.0/projects") == 1


async def test_a_connector_that_raises_on_judging_leaves_the_effect_in_doubt(tmp_path: Path) -> None:
    async with hall(tmp_path, connectors={"asana": bad_asana(judge=raising(KeyError("data")))}) as h:
        effect = await win_a_deal(h)

        assert (effect["state"], effect["reason"]) == ("in doubt", "unknown outcome")
        assert "judge raised KeyError" in effect["detail"]
        assert len(h.vendors.made) == 1
        (attempt,) = h.rows(t.attempt, effect=effect["id"])
        assert attempt["status"] == 201, "what the tool answered is kept"


async def test_a_look_up_that_raises_is_never_taken_for_absence(tmp_path: Path) -> None:
    bad = bad_asana(judge=raising(KeyError("data")), find=raising(LookupError("a list was expected")))
    async with hall(tmp_path, connectors={"asana": bad}) as h:
        effect = await win_a_deal(h)
        for _ in range(4):
            await h.forward(300)

        (effect,) = h.rows(t.effect, id=effect["id"])
        assert effect["state"] == "in doubt"
        assert "find raised LookupError: a list was expected" in effect["detail"]
        assert len(h.vendors.made) == 1, "nothing is sent again on a guess"


async def test_an_outcome_that_is_none_leaves_the_effect_in_doubt(tmp_path: Path) -> None:
    async with hall(tmp_path, connectors={"asana": bad_asana(judge=lambda: "done")}) as h:
        effect = await win_a_deal(h)

        assert effect["state"] == "in doubt"
        assert len(h.vendors.made) == 1


async def test_a_request_that_is_none_parks_that_effect(tmp_path: Path) -> None:
    async with hall(tmp_path, connectors={"asana": bad_asana(render=lambda: {"method": "POST"})}) as h:
        effect = await win_a_deal(h)

        assert effect["state"] == "parked"
        assert h.vendors.made == []
