"""The brake counts what was written to one field of one record, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lifecyclehub.dispatch.brake import LIMITS, quarrel, stopped_before

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
NEXT = {"id": "eff_x", "connection": "con_1", "revision": 1, "handoff": "h", "name": "n", "subject": "cli_1", "state": "ready"}


def write(number: int, minutes_ago: float, **more: Any) -> dict[str, Any]:
    return {
        "id": f"eff_{number}",
        "connection": "con_1",
        "action": "set_fields",
        "state": "done",
        "done_at": NOW - timedelta(minutes=minutes_ago),
        "input": {"record": "7", "values": {"client.phone": "1"}},
        "revision": 1,
        "handoff": "h",
        "name": "n",
        "subject": "cli_1",
        **more,
    }


def judged(effects: list[dict[str, Any]]) -> str | None:
    return quarrel(effects, NEXT, {"client.phone"}, "7", NOW)


@pytest.mark.parametrize(("most", "within"), LIMITS)
def test_so_many_writes_within_that_time_stop_the_next(most: int, within: timedelta) -> None:
    apart = within / (most + 1) / timedelta(minutes=1)
    effects = [write(number, (number + 1) * apart) for number in range(most)]
    assert "client.phone of 7 was written" in (judged(effects) or "")
    assert judged(effects[1:]) is None


@pytest.mark.parametrize(
    "other",
    [
        {"connection": "con_2"},
        {"action": "add_note"},
        {"state": "parked"},
        {"input": {"record": "8", "values": {"client.phone": "1"}}},
        {"input": {"record": "7", "values": {"client.name": "1"}}},
        {"input": None},
        {"done_at": NOW - timedelta(days=2)},
    ],
)
def test_what_was_written_elsewhere_or_long_ago_does_not_count(other: dict[str, Any]) -> None:
    assert judged([write(number, number, **other) for number in range(30)]) is None


def test_what_a_person_had_made_anew_goes_through_and_counting_begins_again() -> None:
    effects = [write(number, 30 - number) for number in range(6)]
    assert quarrel(effects, {**NEXT, "revision": 2}, {"client.phone"}, "7", NOW) is None
    assert judged([*effects, write(7, 20, revision=2), *(write(number, 10) for number in range(8, 13))]) is None
    assert judged([*effects, write(7, 20, revision=2), *(write(number, 10) for number in range(8, 14))])


def test_a_repeat_waits_for_the_one_that_was_stopped() -> None:
    parked = {**NEXT, "id": "eff_0", "state": "parked", "reason": "brake"}
    assert stopped_before([parked], NEXT) is parked
    assert stopped_before([{**parked, "reason": "refused"}], NEXT) is None
    assert stopped_before([{**parked, "subject": "cli_2"}], NEXT) is None
    assert stopped_before([parked], {**NEXT, "revision": 2}) is None
