"""Ids are unlike one another, whoever makes them, and sort by when they were made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from lifecyclehub.ports import Ids, SystemClock, SystemRandomness, base32


class Standing(SystemClock):
    """A clock that somebody sets."""

    moment = datetime(2026, 5, 4, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


def test_ids_of_a_clock_that_stands_still_or_goes_back_stay_sorted() -> None:
    clock = Standing()
    ids = Ids(clock, SystemRandomness())
    made = [ids.new("eff") for _ in range(3)]
    clock.moment -= timedelta(hours=1)
    made.append(ids.new("eff"))
    clock.moment += timedelta(hours=2)
    made.append(ids.new("eff"))

    assert made == sorted(set(made))
    assert {len(one) for one in made} == {len("eff_") + 21}


def test_threads_that_share_their_randomness_are_given_different_bytes() -> None:
    randomness = SystemRandomness()
    with ThreadPoolExecutor(8) as pool:
        taken = [one for many in pool.map(lambda _: [randomness.bytes(5) for _ in range(2_000)], range(8)) for one in many]

    assert {len(one) for one in taken} == {5}
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize("length", [1, 2, 4, 8, 9, 26])
def test_text_in_base_32_sorts_as_its_numbers(length: int) -> None:
    numbers = sorted(one for one in (0, 1, 31, 32, 1023, 1024, 2**39, 2**129) if one < 2 ** (5 * length))

    written = [base32(number, length) for number in numbers]

    assert written == sorted(set(written))
    assert {len(one) for one in written} == {length}
