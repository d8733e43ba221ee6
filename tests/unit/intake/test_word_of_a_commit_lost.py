"""The database commits and its word of that gets lost: what was split is worked on all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lifecyclehub.intake.split import split
from lifecyclehub.store import tables as t
from lifecyclehub.store.writer import StoreBusy
from tests.support.world import World, world

pytestmark = pytest.mark.anyio


async def test_notices_whose_split_was_committed_unheard_are_taken_up(tmp_path: Any) -> None:
    async with world(tmp_path) as w:
        _lose_one(w)
        await w.win()
        await w.quiet(within_s=8)
        assert len(w.made("asana", "project")) == 1
        assert {row["state"] for row in w.rows(t.notice)} <= {"processed", "ignored"}


def _lose_one(w: World) -> None:
    """Let the word of every split's commit get lost, until ten did."""
    run, left = w.hub.store.run, [10]

    async def losing(operation: Any, item: Any) -> Any:
        result = await run(operation, item)
        if operation is split and left[0]:
            left[0] -= 1
            assert isinstance(result, Sequence)
            raise StoreBusy("the server closed the connection unexpectedly")
        return result

    w.hub.store.run = losing  # type: ignore[method-assign]
