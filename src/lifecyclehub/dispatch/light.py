"""What comes to light: nobody asked, and a record shows itself that carries the marker of an effect that seemed not done.

It may be what that effect made, in a time that a restore made us forget or later than its tool declares; or a copy that a
person made of that, marker and all. So it is not taken for the one: its tool is asked for all that carry the marker, and of
several a person chooses.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select

from lifecyclehub.connector import Marker
from lifecyclehub.dispatch.advance import WAITING
from lifecyclehub.dispatch.prepared import Receipt
from lifecyclehub.jsonio import dumps, loads
from lifecyclehub.messages import Absent, Done
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row

_attempt = tables.attempt


def came_to_light(one: Receipt, row: Row, rules: Rules, now: datetime) -> bool:
    """Let an effect that waits be looked up rather than sent. False where that is being found out already, or asked.

    What was never rendered, as far as we know, has nothing to look up by: its claim sees to that first. What is about to be
    sent again in a way that its tool folds needs no look.
    """
    if row["state"] not in WAITING:
        return False
    known = row["unsure_since"]
    row["unsure_since"] = known or row["claimed_at"] or one.began_at
    if row["rendered"] and (known is None or _is_found_by_marker(row, rules)):
        row |= {"state": "in doubt", "reason": "came to light", "detail": one.detail, "not_before": now}
    return True


def was_wanted_anew(conn: Connection, row: Row) -> bool:
    """Tell whether a person had an effect made anew: whatever shows itself then is told to a person, and not taken for it."""
    mine = (_attempt.c.effect == row["id"]) & (_attempt.c.what == "by a person") & (_attempt.c.outcome == "anew")
    return row["revision"] > 1 and conn.execute(select(_attempt.c.id).where(mine).limit(1)).first() is not None


def _is_found_by_marker(row: Row, rules: Rules) -> bool:
    action = rules.action(str(row["creates"]).partition(".")[0], row["action"])
    return action is not None and isinstance(action.once, Marker)


def as_reply(outcome: object) -> str | None:
    """Write which record it was, to be read again by `shown`."""
    return dumps({"id": outcome.record_id, "url": outcome.url}) if isinstance(outcome, Done) else None


def shown(conn: Connection, receipts: Iterable[Receipt]) -> dict[str, tuple[Done, ...]]:
    """Give, by effect, what came to light of those whose tools now say that there is nothing: it was seen all the same."""
    absent = sorted({one.effect for one in receipts if isinstance(one.outcome, Absent)})
    if not absent:
        return {}
    seen: dict[str, dict[str, Done]] = {}
    light = select(_attempt.c.effect, _attempt.c.reply).where(_attempt.c.effect.in_(absent), _attempt.c.what == "came to light")
    for row in conn.execute(light.order_by(_attempt.c.id)):
        record = loads(row.reply)
        seen.setdefault(row.effect, {})[record["id"]] = Done(record_id=record["id"], url=record["url"])
    return {effect: tuple(records.values()) for effect, records in seen.items()}
