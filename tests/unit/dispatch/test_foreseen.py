"""Nothing is planned again of a handoff whose effects are all there, and all else is."""

from __future__ import annotations

from typing import Any

import pytest

from lifecyclehub.dispatch.foreseen import Foreseen
from lifecyclehub.handoffs import effect_key
from lifecyclehub.insight.view import Subject
from lifecyclehub.store.state import State
from tests.unit.handoffs.test_handoffs import FIXED, load

ALL = (("note", ""), ("steps", "hello"), ("steps", "plan"))


def all_there(more: str = "", **states: tuple[str, str | None]) -> bool:
    found = load(FIXED.format(more=more))
    effects: dict[str, Any] = {
        effect_key("won-deal", name, "deal", "dea_1", item): dict(zip(("state", "reason"), states[item or name], strict=True))
        for name, item in ALL
        if (item or name) in states
    }
    subject = Subject("deal", {"id": "dea_1"}, State({}, effects=effects))
    return Foreseen(found.tables).all_there(found.handoffs[0], subject)


DONE = {"note": ("done", None), "hello": ("held", "needs"), "plan": ("parked", "refused")}


def test_nothing_is_left_to_plan_where_all_effects_exist() -> None:
    assert all_there(**DONE)


@pytest.mark.parametrize("missing", DONE)
def test_an_effect_that_does_not_exist_may_be_due(missing: str) -> None:
    assert not all_there(**{name: state for name, state in DONE.items() if name != missing})


@pytest.mark.parametrize(("reason", "left"), [("condition", True), (None, True), ("by a person", False)])
def test_a_cancelled_effect_may_be_wanted_again_unless_a_person_cancelled_it(reason: str | None, left: bool) -> None:
    assert all_there(**{**DONE, "hello": ("cancelled", reason)}) is not left


def test_an_effect_that_hangs_on_a_value_may_have_more_items() -> None:
    assert not all_there('item = "deal.status"', **DONE)
