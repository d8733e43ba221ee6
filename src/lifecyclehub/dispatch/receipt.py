"""Step 8, the receipt: what came of a sending, a look-up or a check is committed at once, whatever it is.

Attempts are append-only. A late answer is always stored; it settles an effect in doubt, or becomes a *double* finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, literal, select, update

from lifecyclehub.dispatch.made import Made
from lifecyclehub.dispatch.prepared import Receipt
from lifecyclehub.messages import Absent, Accepted, CannotTell, Done, Found, Refused, Retry, Unknown
from lifecyclehub.ports import Clock, Ids, Randomness
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.state import rows
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.vendor.retry import next_try

_effect = tables.effect
_COLUMNS = (
    "state",
    "reason",
    "detail",
    "not_before",
    "attempts",
    "first_failed_at",
    "handle",
    "record_id",
    "address",
    "done_at",
    "thing",
    "unsure_since",
)
_WRITE = update(_effect).where(_effect.c.id == bindparam("which")).values(**{name: bindparam(f"new_{name}") for name in _COLUMNS})
_HELD_FOR = select(tables.notice.c.id, tables.notice.c.reason).where(
    tables.HELD_NOTICE, tables.notice.c.reason.in_(bindparam("reasons", expanding=True))
)
_OPEN = update(tables.notice).where(tables.notice.c.id == bindparam("which")).values(state="open", reason=None, detail=None)
_CHECK_AGAIN_S = (1.0, 2.0, 5.0, 15.0, 60.0)


class WriteReceipts:
    """The operation of step 8. Gives, for each receipt, the effects that may go on because of it."""

    def __init__(self, rules: Rules, ids: Ids, clock: Clock, randomness: Randomness) -> None:
        self._rules, self._ids, self._clock, self._randomness = rules, ids, clock, randomness

    def __call__(self, conn: Connection, receipts: Sequence[Receipt]) -> list[list[str]]:
        """Write attempts, states, links and things; give the ids of effects that are to be advanced."""
        now = self._clock.now()
        effects = {row["id"]: row for row in rows(conn, _effect, "id", {one.effect for one in receipts}, lock=True)}
        insert_all(conn, tables.attempt, [self._attempt(one, now) for one in receipts if one.effect in effects])
        made = Made(conn, self._rules, self._ids, now)
        changed: dict[str, Row] = {}
        for one in receipts:
            row = effects.get(one.effect)
            if row is not None and self._apply(one, row, made, now):
                changed[row["id"]] = row
        made.write()
        if changed:
            conn.execute(
                _WRITE, [{"which": row["id"], **{f"new_{name}": row[name] for name in _COLUMNS}} for row in changed.values()]
            )
        woken = self._woken(conn, changed)
        return [woken.get(one.effect, []) for one in receipts]

    def _attempt(self, one: Receipt, now: datetime) -> Row:
        outcome = type(one.outcome).__name__ if one.outcome is not None else "NeedsReauthorization"
        return {
            "id": self._ids.new("att"),
            "effect": one.effect,
            "revision": one.revision,
            "epoch": one.epoch,
            "what": one.what,
            "began_at": one.began_at,
            "at": now,
            "bytes_sent": one.bytes_sent,
            "handle": one.outcome.handle if isinstance(one.outcome, Accepted) else None,
            "status": one.status,
            "reply": one.reply,
            "outcome": outcome,
            "detail": one.detail or getattr(one.outcome, "reason", None),
        }

    def _apply(self, one: Receipt, row: Row, made: Made, now: datetime) -> bool:
        """Move the effect as its state and the outcome say. False when the answer changes nothing."""
        outcome = one.outcome
        if row["state"] not in ("in flight", "in doubt"):
            if isinstance(outcome, Done) and row["record_id"] != outcome.record_id:
                made.double(row, outcome)
            return False
        if one.epoch != row["epoch"] and not isinstance(outcome, Done):
            return False  # an older sending's failure says nothing about the present one
        self._move(one, row, made, now)
        return True

    def _move(self, one: Receipt, row: Row, made: Made, now: datetime) -> None:
        match one.outcome:
            case Done() as outcome:
                self._done(row, outcome, made, now)
            case Found(records):
                self._found(row, records, made, now)
            case Accepted(handle):
                row |= {  # also when it was in doubt meanwhile: from now on it is asked after, never looked up
                    "state": "in flight",
                    "reason": None,
                    "handle": handle,
                    "not_before": now + timedelta(seconds=self._check_after(row)),
                    "attempts": row["attempts"] + 1,
                }
            case None:
                self._barred(one, row, now)
            case _:
                self._not_done(one.outcome, row, now)

    def _barred(self, one: Receipt, row: Row, now: datetime) -> None:
        """Our credentials are refused: what was not done is held; what may have been done stays uncertain, and is asked after."""
        if row["state"] == "in doubt":
            self._cannot_tell(row, one.detail or "our credentials are refused", now)
        elif row["handle"] is not None:
            row |= {
                "detail": one.detail,
                "not_before": now + timedelta(seconds=self._check_after(row)),
                "attempts": row["attempts"] + 1,
            }
        else:
            row |= {"state": "held", "reason": "connection", "detail": one.detail, "not_before": None}

    def _not_done(self, outcome: Refused | Retry | Unknown | Absent | CannotTell, row: Row, now: datetime) -> None:
        match outcome:
            case Refused(reason, exists):
                self._refused(row, reason, exists=exists, now=now)
            case Retry(reason, after):
                self._again(row, reason, after, now)
            case Unknown(reason):
                row |= {"state": "in doubt", "reason": "unknown outcome", "detail": reason, "not_before": now}
                row["unsure_since"] = row["unsure_since"] or row["claimed_at"]
            case Absent():
                self._absent(row, now)
            case CannotTell(reason):
                self._cannot_tell(row, reason, now)

    def _check_after(self, row: Row) -> float:
        return _CHECK_AGAIN_S[min(row["attempts"], len(_CHECK_AGAIN_S) - 1)]

    def _done(self, row: Row, outcome: Done, made: Made, now: datetime) -> None:
        row |= {"state": "done", "reason": None, "detail": None, "not_before": None, "done_at": now}
        row |= {"record_id": outcome.record_id, "address": outcome.url}
        made.note(row, outcome)

    @staticmethod
    def _refused(row: Row, reason: str, *, exists: bool, now: datetime) -> None:
        if exists:  # the tool says that it is there already: look for it, and adopt it if it is the one
            row |= {"state": "in doubt", "reason": "exists already", "detail": reason, "not_before": now}
        else:
            row |= {"state": "parked", "reason": "refused", "detail": reason, "not_before": None}

    def _again(self, row: Row, reason: str, after: float | None, now: datetime) -> None:
        first = row["first_failed_at"] or now
        when = next_try(first, row["attempts"] + 1, now, after, self._randomness)
        row |= {"first_failed_at": first, "attempts": row["attempts"] + 1, "detail": reason, "handle": None}
        if when is None:
            row |= {"state": "parked", "reason": "gave up", "not_before": None}
        else:
            row |= {"state": "ready", "reason": "retry", "not_before": when}

    def _found(self, row: Row, records: tuple[Done, ...], made: Made, now: datetime) -> None:
        if len(records) == 1:
            self._done(row, records[0], made, now)
            return
        names = ", ".join(str(one.url or one.record_id) for one in records)
        row |= {
            "state": "parked",
            "reason": "several found",
            "detail": f"a person must say which one it is: {names}",
            "not_before": None,
        }

    def _absent(self, row: Row, now: datetime) -> None:
        if row["reason"] == "exists already":
            row |= {"state": "parked", "reason": "refused", "not_before": None}
        else:  # proven: nothing was done
            row |= {"state": "ready", "reason": "absence proven", "not_before": now, "unsure_since": None}

    def _cannot_tell(self, row: Row, reason: str, now: datetime) -> None:
        first = row["first_failed_at"] or now
        when = next_try(first, row["attempts"] + 1, now, None, self._randomness)
        row |= {"first_failed_at": first, "attempts": row["attempts"] + 1, "detail": reason, "not_before": when}
        if when is None:
            row |= {"state": "parked", "reason": "in doubt"}

    # --- who may go on ------------------------------------------------------------------------------------------------

    @staticmethod
    def _woken(conn: Connection, changed: dict[str, Row]) -> dict[str, list[str]]:
        """Effects that needed this one, and the next one on the same target record."""
        woken: dict[str, list[str]] = {one: [] for one in changed}
        done = {one for one, row in changed.items() if row["state"] == "done"}
        for row in rows(conn, tables.need, "needed", done):
            woken[row["needed"]].append(row["effect"])
        free: dict[str, str] = {
            row["target"]: one for one, row in changed.items() if row["target"] and row["state"] != "in flight"
        }
        if free:
            statement = (
                select(_effect.c.target, _effect.c.id)
                .where(tables.ON_TARGET, _effect.c.target.in_(sorted(free)), _effect.c.state == "ready")
                .order_by(_effect.c.id)
            )
            seen: set[str] = set()
            for target, effect in conn.execute(statement):
                if target not in seen:
                    seen.add(target)
                    woken[free[target]].append(effect)
        for one, row in changed.items():
            if row["state"] == "ready" and row["not_before"] is not None and row["reason"] == "absence proven":
                woken[one].append(one)
        return woken


def open_held(conn: Connection, effects: Sequence[str]) -> list[list[str]]:
    """Open the notices that waited for creates that are settled or parked now; give, for each create, their ids."""
    reasons = {f"waiting({effect})": effect for effect in effects}
    opened: dict[str, list[str]] = {}
    for notice, reason in conn.execute(_HELD_FOR, {"reasons": sorted(reasons)}):
        opened.setdefault(reasons[reason], []).append(notice)
    if opened:
        conn.execute(_OPEN, [{"which": one} for held in opened.values() for one in held])
    return [opened.get(effect, []) for effect in effects]


def held_notices(conn: Connection, effects: Sequence[str]) -> list[str]:
    """Open the notices that waited for any of these creates; give their ids."""
    return [notice for held in open_held(conn, effects) for notice in held]


def open_settled(conn: Connection, items: Sequence[None]) -> list[list[str]]:
    """Open the notices that wait for a create which is uncertain no more, where nobody was left to do it; give their ids."""
    effect, notice = tables.effect, tables.notice
    uncertain = select(literal("waiting(") + effect.c.id + ")").where(tables.UNCERTAIN_EFFECT)
    waits = notice.c.reason.startswith("waiting(") & notice.c.reason.not_in(uncertain)
    ids = sorted(conn.execute(select(notice.c.id).where(tables.HELD_NOTICE, waits)).scalars())
    if ids:
        conn.execute(_OPEN, [{"which": one} for one in ids])
    return [ids for _ in items]
