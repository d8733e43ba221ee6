"""Times and numbers come back as they went in, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, select
from sqlalchemy.exc import StatementError

from lifecyclehub.store.types import Instant, Json

kept = Table("kept", MetaData(), Column("id", Integer, primary_key=True), Column("at", Instant), Column("value", Json))


def back(engine: Engine, **columns: Any) -> Any:
    with engine.connect() as conn, conn.begin() as transaction:
        kept.create(conn, checkfirst=True)
        conn.execute(kept.insert(), [{"id": 1, "at": None, "value": None, **columns}])
        row = conn.execute(select(kept)).mappings().one()
        transaction.rollback()
    return row


def test_a_time_without_a_zone_is_refused(engine: Engine) -> None:
    with pytest.raises(StatementError, match="no time zone"):
        back(engine, at=datetime(2026, 5, 4, 9, 30))  # noqa: DTZ001


def test_a_time_of_another_zone_is_the_same_instant_in_utc(engine: Engine) -> None:
    there = datetime(2026, 5, 4, 9, 30, 0, 123457, tzinfo=timezone(timedelta(hours=5, minutes=45)))

    found = back(engine, at=there)["at"]

    assert found == there
    assert found.tzinfo is UTC


def test_both_times_of_an_hour_that_comes_twice_are_kept_apart(engine: Engine) -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    kept_as = [back(engine, at=one)["at"] for one in (first, first.replace(fold=1))]

    assert kept_as == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_microsecond_is_kept(engine: Engine, at: datetime) -> None:
    assert back(engine, at=at)["at"] == at


@pytest.mark.parametrize(
    ("at", "kept_as"),
    [
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23))), datetime.min.replace(tzinfo=UTC)),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-23))), datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_time_beyond_all_times_can_be_read_back(engine: Engine, at: datetime, kept_as: datetime) -> None:
    assert back(engine, at=at)["at"] == kept_as


def test_times_sort_as_they_are(engine: Engine) -> None:
    times = [datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)]
    times += [times[-1] + timedelta(microseconds=1), datetime(2026, 5, 4, tzinfo=UTC)]
    with engine.connect() as conn, conn.begin() as transaction:
        kept.create(conn, checkfirst=True)
        conn.execute(kept.insert(), [{"id": n, "at": at} for n, at in enumerate(reversed(times))])
        assert list(conn.execute(select(kept.c.at).order_by(kept.c.at)).scalars()) == times
        assert list(conn.execute(select(kept.c.at).where(kept.c.at < times[1])).scalars()) == times[:1]
        transaction.rollback()


@pytest.mark.parametrize(
    "value",
    [
        {"amount": Decimal("12500.00"), "tiny": Decimal("0.1"), "exact": Decimal("1234567890123456.789")},
        [1, 9_223_372_036_854_775_807, -1],
        "Ünïcode ✓ \u2028 'quoted' \"twice\" \\",
        {},
        [],
        "",
        0,
        False,
        {"deep": [{"er": [None]}]},
    ],
)
def test_a_value_comes_back_as_it_was(engine: Engine, value: Any) -> None:
    found = back(engine, value=value)["value"]

    assert found == value
    assert type(found) is type(value)


def test_a_number_with_a_fraction_is_never_a_float(engine: Engine) -> None:
    found = back(engine, value={"amount": Decimal("0.10")})["value"]["amount"]

    assert isinstance(found, Decimal)
    assert str(found) == "0.10"


def test_nothing_stays_nothing(engine: Engine) -> None:
    row = back(engine)

    assert row["at"] is None
    assert row["value"] is None
