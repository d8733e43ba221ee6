"""P4: older news never overwrites newer, however it is ordered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lifecyclehub.intake.newness import age
from lifecyclehub.intake.observation import Observation

T = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
S = timedelta(seconds=1)
NOW = T + 10 * S


def seen(order: Any = "none", *, version: str | None = None, changed: datetime | None = None, **more: Any) -> Observation:
    facts = {"seen_at": T, "resolution_s": 0.0, **more}
    return Observation(
        connection="c", kind="k", record_id="1", fills="deal", order=order, version=version, changed_at=changed, **facts
    )


def known(
    version: str | None = None, changed: datetime | None = None, fetched: datetime | None = T, **more: Any
) -> dict[str, Any]:
    columns = {"version": version, "changed_at": changed, "fetched_at": fetched, "answered_at": None}
    return {**columns, "deleted_at": None, "merged_into": None, **more}


CASES: list[tuple[str, Observation, dict[str, Any] | None, str]] = [
    ("never seen", seen(), None, "newer"),
    ("made by us, never looked at", seen(), known(fetched=None), "newer"),
    # by version, as numbers where they are numbers
    ("a higher version", seen("version", version="10"), known("9"), "newer"),
    ("a lower version", seen("version", version="9"), known("10"), "older"),
    ("a higher version that sorts lower as text", seen("version", version="100"), known("99"), "newer"),
    ("a version as text", seen("version", version="b"), known("a"), "newer"),
    ("an older version as text", seen("version", version="a"), known("b"), "older"),
    ("a higher version beats a fetch that began earlier", seen("version", version="2", seen_at=T - S), known("1"), "newer"),
    ("the same version, looked at later", seen("version", version="9", seen_at=T + S), known("9"), "newer"),
    ("the same version, looked at earlier", seen("version", version="9", seen_at=T - S), known("9"), "older"),
    ("no version, looked at later", seen("version", seen_at=T + S), known("9"), "newer"),
    # by the vendor's time, within its clock's resolution
    ("changed later", seen("time", changed=T + S), known(changed=T), "newer"),
    ("changed earlier", seen("time", changed=T - S), known(changed=T), "older"),
    ("changed earlier, though looked at later", seen("time", changed=T - S, seen_at=T + S), known(changed=T), "older"),
    ("within whole seconds, later", seen("time", changed=T + S / 2, resolution_s=1.0, seen_at=T + S), known(changed=T), "newer"),
    (
        "within whole seconds, earlier",
        seen("time", changed=T + S / 2, resolution_s=1.0, seen_at=T - S),
        known(changed=T),
        "older",
    ),
    ("exactly the resolution later", seen("time", changed=T + S, resolution_s=1.0), known(changed=T), "newer"),
    ("no time, looked at later", seen("time", seen_at=T + S), known(changed=T), "newer"),
    # by when our own look began
    ("nothing but looks, later", seen(seen_at=T + S), known(), "newer"),
    ("nothing but looks, at once", seen(), known(), "newer"),
    ("nothing but looks, earlier", seen(seen_at=T - S), known(), "older"),
    # payloads: nobody looked, so what the vendor's order leaves open must be looked at
    ("a payload with a higher version", seen("version", version="10", fetched=False), known("9"), "newer"),
    ("a payload with a lower version", seen("version", version="8", fetched=False), known("9"), "older"),
    ("a payload with the same version", seen("version", version="9", fetched=False), known("9"), "tie"),
    ("a payload of the same second", seen("time", changed=T, resolution_s=1.0, fetched=False), known(changed=T), "tie"),
    ("a payload without an order", seen(fetched=False, seen_at=T + S), known(), "tie"),
    ("a payload of a record never seen", seen(fetched=False), None, "newer"),
    # a delete beats a late update
    ("a payload of a deleted record", seen("version", version="10", fetched=False), known("9", deleted_at=T), "tie"),
    ("a late payload of a deleted record", seen("time", changed=T + S, fetched=False), known(changed=T, deleted_at=T), "tie"),
    ("a fresh look that shows it alive", seen("version", version="9", seen_at=T + S), known("9", deleted_at=T), "newer"),
    ("a late payload of a merged record", seen("version", version="10", fetched=False), known("9", merged_into="2"), "tie"),
    (
        "a look that began before the merge, with a higher version",
        seen("version", version="10", seen_at=T - S),
        known("9", merged_into="2"),
        "older",
    ),
    ("a look that began before the delete", seen(seen_at=T - S), known(deleted_at=T), "older"),
    (
        "a look that began before the delete, with a higher version",
        seen("version", version="10", seen_at=T - S),
        known("9", deleted_at=T),
        "older",
    ),
]


@pytest.mark.parametrize(("what", "now", "link", "wanted"), CASES, ids=[case[0] for case in CASES])
def test_age(what: str, now: Observation, link: dict[str, Any] | None, wanted: str) -> None:
    assert age(now, link, NOW) == wanted, what


def look(began: int, answered: int, order: Any = "none", **more: Any) -> Observation:
    return seen(order, seen_at=T + began * S, answered_at=T + answered * S, **more)


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        (look(0, 1), "older"),
        (look(0, 2), "older"),
        (look(0, 3), "tie"),  # what it saw may be what came last
        (look(3, 4), "tie"),  # though it began later
        (look(0, 9), "tie"),
        (look(2, 5), "newer"),  # the same look
        (look(5, 6), "newer"),
        (look(3, 4, "version", version="9"), "newer"),
        (look(3, 4, "version", version="7"), "older"),
    ],
)
def test_of_two_looks_under_way_together_nobody_knows_which_saw_the_later_state(now: Observation, wanted: str) -> None:
    link = known(version="8", fetched=T + 2 * S) | {"answered_at": T + 5 * S}
    assert age(now, link, NOW) == wanted
    if wanted == "tie":
        assert age(now, link | {"deleted_at": T}, NOW) == "tie"


AHEAD = T + timedelta(hours=1)


@pytest.mark.parametrize(
    "link", [known(fetched=AHEAD), known(fetched=AHEAD, deleted_at=AHEAD), known(fetched=AHEAD, merged_into="2")]
)
def test_a_look_in_the_future_is_not_later_than_one_of_now(link: dict[str, Any]) -> None:
    assert age(seen(), link, T + S) == "newer", "our clock was put back since"
    assert age(seen("version", version="9"), link | {"version": "9"}, T + S) == "newer"
    assert age(seen("version", version="8"), link | {"version": "9"}, T + S) == "older", "versions do not care about our clock"
    assert age(seen(), link, AHEAD) == "older"
