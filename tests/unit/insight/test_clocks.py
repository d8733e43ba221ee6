"""When sweeps are due: changes by their interval, everything at night, history when asked; what failed waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lifecyclehub.connector import Kind
from lifecyclehub.insight.clocks import CHANGES, FULL, IMPORT, next_night, next_pass

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
KIND = Kind(id="tool.deal", fills="deal", poll_s=60)


def connection(**more: Any) -> dict[str, Any]:
    return {"settings": {}, "polls": False, "created_at": NOON, "account": {"timezone": None}, **more}


def cursor(**more: Any) -> dict[str, Any]:
    return {"began_at": None, "swept_at": None, "not_before": None, **more}


@pytest.mark.parametrize(
    ("after", "zone", "night"),
    [
        ("2026-05-04T12:00", None, "2026-05-05T02:00"),
        ("2026-05-04T01:59", None, "2026-05-04T02:00"),
        ("2026-05-04T02:00", None, "2026-05-05T02:00"),
        ("2026-05-04T12:00", "Europe/Vienna", "2026-05-05T00:00"),
        ("2026-05-04T12:00", "Pacific/Auckland", "2026-05-04T14:00"),
        ("2026-05-04T12:00", "Mars/Olympus", "2026-05-05T02:00"),
        ("2026-03-28T12:00", "Europe/Vienna", "2026-03-29T01:00"),  # the hour that clocks leave out
        ("2026-10-24T12:00", "Europe/Vienna", "2026-10-25T00:00"),  # the hour that comes twice
    ],
)
def test_the_night_is_the_accounts_own(after: str, zone: str | None, night: str) -> None:
    said = next_night(datetime.fromisoformat(after).replace(tzinfo=UTC), zone)
    assert said == datetime.fromisoformat(night).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("way", "last", "due"),
    [
        (CHANGES, None, NOON),
        (CHANGES, cursor(swept_at=NOON), NOON + timedelta(minutes=15)),
        (CHANGES, cursor(swept_at=NOON, began_at=NOON + timedelta(minutes=20)), NOON + timedelta(minutes=20)),
        (CHANGES, cursor(began_at=NOON, not_before=NOON + timedelta(minutes=1)), NOON + timedelta(minutes=1)),
        (FULL, None, NOON + timedelta(hours=14)),
        (FULL, cursor(swept_at=NOON + timedelta(hours=15)), NOON + timedelta(hours=38)),
        (FULL, cursor(began_at=NOON), NOON),
        (IMPORT, None, None),
        (IMPORT, cursor(swept_at=NOON), None),
        (IMPORT, cursor(began_at=NOON), NOON),
    ],
)
def test_a_pass_is_due(way: str, last: dict[str, Any] | None, due: datetime | None) -> None:
    assert next_pass(connection(), KIND, way, last) == due


def test_a_connection_that_polls_is_asked_as_often_as_its_kind_or_its_setting_says() -> None:
    asked = cursor(swept_at=NOON)
    assert next_pass(connection(polls=True), KIND, CHANGES, asked) == NOON + timedelta(seconds=60)
    often = connection(polls=True, settings={"poll_s": "5"})
    assert next_pass(often, KIND, CHANGES, asked) == NOON + timedelta(seconds=5)


def test_what_cannot_be_listed_is_never_swept() -> None:
    for kind in (Kind(id="tool.note", poll_s=60), Kind(id="tool.deal", fills="deal")):
        assert [next_pass(connection(), kind, way, cursor(began_at=NOON)) for way in (CHANGES, FULL, IMPORT)] == [None] * 3
