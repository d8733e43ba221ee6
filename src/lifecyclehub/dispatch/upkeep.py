"""Operations on effects that are not part of the straight way: advance, expire, park, unpark, recover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from lifecyclehub.dispatch.advance import BY_A_PERSON
from lifecyclehub.dispatch.claim import release_charges
from lifecyclehub.dispatch.plan import Planner, advance_effects
from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.dispatch.world import Effects
from lifecyclehub.insight.world import read_world
from lifecyclehub.ports import Clock, Ids
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import insert_all

_effect = tables.effect
ADMIN_PARKABLE = ("planned", "held", "ready")


class Advance:
    """Checks waiting effects again, and prepares those that may be sent."""

    def __init__(self, rules: Rules, ids: Ids, clock: Clock) -> None:
        self._rules, self._ids, self._clock = rules, ids, clock

    def __call__(self, conn: Connection, effects: Sequence[str]) -> list[list[Prepared]]:
        """Give, for each effect, what may be sent now."""
        planner = Planner(conn, self._rules, read_world(conn), self._ids, self._clock.now())
        found = Effects(conn, set(effects))
        prepared = advance_effects(planner, found, list(dict.fromkeys(effects)))
        planner.write()
        by_id = dict(zip(dict.fromkeys(effects), prepared, strict=True))
        return [by_id.pop(effect, []) for effect in effects]


@dataclass(frozen=True, slots=True)
class Parking:
    """Put an effect aside for a person."""

    effect: str
    reason: str
    detail: str
    at: datetime


def park(conn: Connection, items: Sequence[Parking]) -> list[bool]:
    """Park effects that are not in flight, done or cancelled. False where that cannot be."""
    parked = []
    for item in items:
        allowed = _effect.c.state.in_((*ADMIN_PARKABLE, "in doubt"))
        values = {"state": "parked", "reason": item.reason, "detail": item.detail, "not_before": None}
        done = conn.execute(update(_effect).where(_effect.c.id == item.effect, allowed).values(**values))
        parked.append(bool(done.rowcount))
    return parked


def hold(conn: Connection, items: Sequence[Parking]) -> list[bool]:
    """Hold effects that nobody sends yet; they are looked at again when the hub starts. False where that cannot be."""
    held = []
    for item in items:
        allowed = _effect.c.state.in_(ADMIN_PARKABLE)
        values = {"state": "held", "reason": item.reason, "detail": item.detail, "not_before": None}
        done = conn.execute(update(_effect).where(_effect.c.id == item.effect, allowed).values(**values))
        held.append(bool(done.rowcount))
    return held


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A person's word on a parked effect: try it anew, this record is the one, or let it be."""

    effect: str
    who: str
    at: datetime
    attempt: str
    verdict: str  # anew | is | cancel
    record_id: str | None = None


def answer(conn: Connection, items: Sequence[Answered]) -> list[str]:
    """Move parked effects as a person says. Gives their new state; "" where the effect is not parked.

    *Anew* is a new revision: its body is rendered again, from present values with the newest mapping. Charges that the
    old revision had reserved are free again.
    """
    results = []
    for item in items:
        row = conn.execute(select(_effect).where(_effect.c.id == item.effect)).mappings().first()
        if row is None or row["state"] != "parked":
            results.append("")
            continue
        values = _answered(item, dict(row))
        if item.verdict in ("anew", "cancel") and row["thing"] is not None and row["action"] == "create_draft_invoice":
            release_charges(conn, row["thing"])
        conn.execute(update(_effect).where(_effect.c.id == item.effect).values(**values))
        insert_all(conn, tables.attempt, [_attempt_of(item, dict(row))])
        results.append(str(values["state"]))
    return results


def _answered(item: Answered, row: dict[str, Any]) -> dict[str, Any]:
    clear = {"reason": None, "detail": None, "not_before": None}
    if item.verdict == "cancel":
        return clear | {"state": "cancelled", "reason": BY_A_PERSON}
    if item.verdict == "is":
        # The look-up is over: the receipt of this answer links the record.
        return clear | {"state": "in doubt", "reason": BY_A_PERSON}
    anew = {"revision": row["revision"] + 1, "body": None, "input": None, "attempts": 0, "first_failed_at": None, "handle": None}
    anew["unsure_since"] = None
    return clear | anew | {"state": "planned", "thing": None if row["action"] == "create_draft_invoice" else row["thing"]}


def _attempt_of(item: Answered, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": item.attempt,
        "effect": item.effect,
        "revision": row["revision"],
        "epoch": row["epoch"],
        "what": "by a person",
        "began_at": item.at,
        "at": item.at,
        "bytes_sent": None,
        "handle": None,
        "status": None,
        "reply": None,
        "outcome": item.verdict,
        "detail": f"{item.who}: {item.record_id}" if item.record_id else item.who,
    }


def expire(conn: Connection, items: Sequence[tuple[datetime, str | None]]) -> list[int]:
    """Put claims whose deadline is over in doubt, never back to ready. With a holder: at once all claims of others.

    What others had put off, because they were just looking it up or asking about it, is looked at now.
    """
    counts = []
    for at, holder in items:
        if holder is not None:
            uncertain = _effect.c.state.in_(("in flight", "in doubt")) & (_effect.c.holder != holder)
            conn.execute(update(_effect).where(tables.OPEN_EFFECT, uncertain, _effect.c.not_before > at).values(not_before=at))
        old = _effect.c.deadline < at if holder is None else _effect.c.holder != holder
        statement = (
            update(_effect)
            .where(tables.OPEN_EFFECT, _effect.c.state == "in flight", _effect.c.handle.is_(None), old)
            .values(
                state="in doubt",
                reason="no answer",
                detail="the sending was never answered, or nobody was there to hear it",
                not_before=at,
                unsure_since=func.coalesce(_effect.c.unsure_since, _effect.c.claimed_at),
            )
        )
        counts.append(conn.execute(statement).rowcount)
    return counts


@dataclass(frozen=True, slots=True)
class DueEffect:
    """An effect whose time has come."""

    id: str
    state: str
    handle: str | None


def due_effects(conn: Connection, now: datetime, limit: int = 500) -> list[DueEffect]:
    """Give effects to be sent again, looked up, or asked about, the longest waiting first."""
    statement = (
        select(_effect.c.id, _effect.c.state, _effect.c.handle)
        .where(tables.OPEN_EFFECT, _effect.c.state.in_(("ready", "in doubt", "in flight")), _effect.c.not_before <= now)
        .order_by(_effect.c.not_before)
        .limit(limit)
    )
    return [DueEffect(row.id, row.state, row.handle) for row in conn.execute(statement)]


def waiting_effects(conn: Connection, after: str, limit: int = 500) -> list[str]:
    """Give effects that wait for something, oldest first: at a start, and after a switch, mapping or connection changed."""
    statement = (
        select(_effect.c.id)
        .where(tables.OPEN_EFFECT, _effect.c.state.in_(("planned", "held", "ready")), _effect.c.id > after)
        .order_by(_effect.c.id)
        .limit(limit)
    )
    return list(conn.execute(statement).scalars())
