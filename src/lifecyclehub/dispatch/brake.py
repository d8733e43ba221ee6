"""The brake: a field that is written again and again is a quarrel between systems, and a person's to settle.

An automation in the tool, another integration or a rule of ours may answer each of our writes with a change that calls
for the next one. No rule can see that beforehand, since half of it happens elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from lifecyclehub.insight.findings import BRAKE
from lifecyclehub.store.things import Row

LIMITS: Final = ((6, timedelta(hours=1)), (24, timedelta(days=1)))
"""So many writes of one field of one record within that time, and the next one waits for a person."""


def quarrel(effects: Iterable[Row], row: Row, fields: Collection[str], record: str, now: datetime) -> str | None:
    """Say which field of the record was written too often, None when that is not so.

    What a person had made anew goes through, and counting begins again after it.
    """
    if row["revision"] > 1:
        return None
    effects = [one for one in effects if one["id"] != row["id"]]
    settled = max((one["done_at"] or now for one in effects if _let_go(one, row)), default=now - timedelta(days=365))
    others = [one for one in effects if _writes(one, row["connection"], record)]
    for field in sorted(fields):
        done = [one["done_at"] for one in others if one["state"] == "done" and field in one["input"]["values"]]
        times = [at for at in done if at is not None and at > settled]
        for most, within in LIMITS:
            count = sum(at > now - within for at in times)
            if count >= most:
                return f"{field} of {record} was written {count} times within {_told(within)}"
    return None


def stopped_before(effects: Iterable[Row], row: Row) -> Row | None:
    """Give an earlier repeat of the same effect that the brake stopped, and that a person has not answered yet."""
    if row["revision"] > 1:
        return None
    stopped = (one for one in effects if one["state"] == "parked" and one["reason"] == BRAKE)
    return next((one for one in stopped if one["id"] != row["id"] and _alike(one, row)), None)


def _alike(one: Row, other: Row) -> bool:
    return all(one[name] == other[name] for name in ("handoff", "name", "subject"))


def _let_go(one: Row, row: Row) -> bool:
    """Tell whether a person had an earlier repeat made anew: what was written before that is settled."""
    return one["revision"] > 1 and one["state"] not in ("parked", "cancelled") and _alike(one, row)


def _writes(one: Row, connection: str, record: str) -> bool:
    given = one["input"]
    if one["action"] != "set_fields" or one["connection"] != connection or not given:
        return False
    return bool(given.get("record") == record and given.get("values"))


def _told(within: timedelta) -> str:
    return "a day" if within >= timedelta(days=1) else "an hour"
