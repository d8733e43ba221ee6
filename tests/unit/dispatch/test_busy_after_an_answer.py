"""A database that is busy just after an answer was kept keeps nobody waiting for ever; one effect is in one worker's hands."""

from __future__ import annotations

from typing import Any

import pytest

from lifecyclehub.dispatch.receipt import open_held
from lifecyclehub.store import tables as t
from lifecyclehub.store.writer import StoreBusy
from tests.support.bad_input import Hall

pytestmark = pytest.mark.anyio


async def test_what_an_answer_sets_free_goes_on_with_the_tick(h: Hall) -> None:
    run = h.hub.store.run
    refused: list[Any] = []

    async def busy_once(asked: Any, item: Any) -> Any:
        if asked is open_held and not refused:
            refused.append(item)
            raise StoreBusy("database is locked")
        return await run(asked, item)

    h.hub.store.run = busy_once  # type: ignore[method-assign,assignment]
    await h.win()
    assert refused
    assert {row["state"] for row in h.rows(t.effect)} == {"done", "held"}

    await h.forward(0)

    assert "held" not in {row["state"] for row in h.rows(t.effect)}


async def test_an_effect_that_is_under_way_is_begun_no_second_time(h: Hall) -> None:
    dispatcher = h.hub.dispatcher
    begun: list[Any] = []

    def start(work: Any, *_: Any) -> None:
        begun.append(work)
        work.close()

    dispatcher.flow.start = start  # type: ignore[method-assign]
    await h.win()
    begun.clear()

    await dispatcher.advance_all()
    await dispatcher.advance_all()

    assert begun == []
    assert dispatcher._stranded == set(dispatcher._under_way)
