"""Step 8, the receipt: what came of a sending, a look-up or a check is committed at once, whatever it is.

Attempts are append-only. A late answer is always stored: it settles its effect, or becomes a *double* finding. An effect
that was put back after a sending of which nothing more was heard is settled by the answer of just that sending, as long as
nothing was sent since: what the tool made must not be made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, literal, select, update

from lifecyclehub.dispatch.advance import OVER, WAITING
from lifecyclehub.dispatch.claim import IN_TURN, release_charges
from lifecyclehub.dispatch.light import as_reply, came_to_light, shown, was_wanted_anew
from lifecyclehub.dispatch.made import Made
from lifecyclehub.dispatch.moves import Stood, swap, write
from lifecyclehub.dispatch.prepared import Receipt
from lifecyclehub.messages import Absent, Accepted, CannotTell, Done, Found, Refused, Retry, Unknown
from lifecyclehub.ports import Clock, Ids, Randomness
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query, Write
from lifecyclehub.store.state import rows
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.vendor.retry import next_try

_effect, _attempt = tables.effect, tables.attempt
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
_WRITE = swap(*_COLUMNS)
# All of an effect but its request, which may be long: only whether there is one is asked.
_ANSWERED = Query(
    select(*(one for one in _effect.columns if one.name != "body"), _effect.c.body.is_not(None).label("rendered"))
    .order_by(_effect.c.id)
    .with_for_update(),  # which SQLite, with its one writer, leaves out
    _effect.c.id,
)
_RENEW = update(_effect).where(_effect.c.id == bindparam("which")).values(revision=bindparam("next"), body=None, input=None)
_HELD_FOR = Query(select(tables.notice.c.id, tables.notice.c.reason).where(tables.HELD_NOTICE), tables.notice.c.reason)
_OPEN = Write(
    update(tables.notice)
    .where(tables.notice.c.id == bindparam("which"))
    .values(state="open", holder=None, reason=None, detail=None)
)
_NEXT = Query(
    select(_effect.c.target, _effect.c.id).where(tables.ON_TARGET, _effect.c.state == "ready").order_by(*IN_TURN),
    _effect.c.target,
)
_link = tables.link
_GONE = (
    update(_link)
    .where(_link.c.connection == bindparam("of"), _link.c.record_id == bindparam("who"), _link.c.thing_kind == "teammate")
    .values(deleted_at=bindparam("now"))
)
_CHECK_AGAIN_S = (1.0, 2.0, 5.0, 15.0, 60.0)
_UNCERTAIN = ("in flight", "in doubt")
_PUT_BACK = ("ready", "held", "parked")
"""Where an effect may stand that nothing was sent of since its last answer, or since its absence seemed proven."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What follows from a receipt: effects to be advanced, and the engagement or client that is to be decided anew.

    `still`: what waits for the effect goes on waiting, since nothing is known yet.
    """

    woken: list[str] = field(default_factory=list)
    engagement: str | None = None
    client: str | None = None
    still: bool = False


class WriteReceipts:
    """The operation of step 8. Gives, for each receipt, what follows from it."""

    def __init__(self, rules: Rules, ids: Ids, clock: Clock, randomness: Randomness) -> None:
        self._rules, self._ids, self._clock, self._randomness = rules, ids, clock, randomness

    def __call__(self, conn: Connection, receipts: Sequence[Receipt]) -> list[Aftermath]:
        """Write attempts, states, links and things; give what is to be advanced and decided."""
        now = self._clock.now()
        effects = {row["id"]: row for row in _ANSWERED.each(conn, {one.effect for one in receipts})}
        stood = {effect: Stood.of(row) for effect, row in effects.items()}
        seen = shown(conn, receipts)
        insert_all(conn, tables.attempt, [self._attempt(one, now) for one in receipts if one.effect in effects])
        receipts = [replace(one, outcome=Found(seen[one.effect])) if one.effect in seen else one for one in receipts]
        made = Made(conn, self._rules, self._ids, now)
        made.meet((effects[one.effect], done) for one in receipts if one.effect in effects for done in _told(one))
        changed: dict[str, Row] = {}
        for one in receipts:
            row = effects.get(one.effect)
            if row is not None and one.lands_s is not None and row["deadline"] is not None:
                made.unanswered(row, row["deadline"] + timedelta(seconds=one.lands_s))
            if row is not None and self._apply(conn, one, row, made, now):
                changed[row["id"]] = row
                if one.new_key and row["state"] == "ready" and row["unsure_since"] is None and row["rendered"]:
                    made.renew(row)
        made.write()
        write(conn, _WRITE, _COLUMNS, [(row, stood[effect]) for effect, row in changed.items()])
        self._renew(conn, made, now)
        woken = self._woken(conn, changed)
        linked = {row["id"]: row for row in changed.values() if row["id"] in made.linked}
        return [_aftermath(one, effects, woken.get(one.effect, []), linked.get(one.effect)) for one in receipts]

    @staticmethod
    def _renew(conn: Connection, made: Made, now: datetime) -> None:
        """Let be rendered anew what was certainly not done; forget the people whom tools refused to assign to."""
        for row in made.renewed.values():
            if row["action"] == "create_draft_invoice" and row["thing"] is not None:
                release_charges(conn, row["thing"])
                conn.execute(update(_effect).where(_effect.c.id == row["id"]).values(thing=None))
            conn.execute(_RENEW, {"which": row["id"], "next": row["revision"] + 1})
        if made.gone:
            conn.execute(_GONE, [{"of": connection, "who": record, "now": now} for connection, record in made.gone])

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
            "reply": one.reply if one.what != "came to light" else as_reply(one.outcome),
            "outcome": outcome,
            "detail": one.detail or getattr(one.outcome, "reason", None),
        }

    def _apply(self, conn: Connection, one: Receipt, row: Row, made: Made, now: datetime) -> bool:
        """Move the effect as its state and the outcome say. False when the answer changes nothing."""
        outcome = one.outcome
        if isinstance(outcome, Found) and len(outcome.records) == 1:
            outcome = outcome.records[0]
        present = one.epoch == row["epoch"] and one.revision == row["revision"]  # nothing was sent or rendered since
        shown_only = one.what == "came to light" and row["state"] in WAITING and was_wanted_anew(conn, row)
        if one.what == "came to light" and row["state"] not in OVER and not shown_only:
            return came_to_light(one, row, self._rules, now)
        if isinstance(outcome, Done):
            unsent = present or (one.revision == row["revision"] and _nothing_left_since(conn, one, row["epoch"]))
            unsent = unsent and not shown_only
            return self._told_done(one, outcome, row, made, now, unsent=unsent)
        if not present or not _concerns(one, row):
            return False  # an older sending's failure says nothing about the present one
        self._move(one, row, made, now)
        return True

    def _told_done(self, one: Receipt, outcome: Done, row: Row, made: Made, now: datetime, *, unsent: bool) -> bool:
        """Somebody says that it was done: that settles it, unless another record was taken for it, or a person moved on."""
        named = one.what == "by a person" and row["state"] == "parked"
        settles = row["state"] in _UNCERTAIN or (unsent and row["state"] in _PUT_BACK and row["record_id"] is None)
        if named or settles:
            self._done(one, row, outcome, made, now)
            return True
        makes = row["creates"] is not None or one.what == "came to light"  # also what was never prepared
        if not makes or row["record_id"] == outcome.record_id:  # a change that is made twice is no second record
            return False
        made.double(row, outcome)
        if row["record_id"] is not None or outcome.record_id is None:
            return False
        row |= {"record_id": outcome.record_id, "address": outcome.url}  # it is not sent again without a person's word
        return True

    def _move(self, one: Receipt, row: Row, made: Made, now: datetime) -> None:
        match one.outcome:
            case Found(records):
                self._several(row, records)
            case Accepted(handle) if one.overdue:
                row |= {"state": "parked", "reason": "not finished", "detail": one.overdue, "handle": handle, "not_before": None}
            case Accepted(handle):
                row |= {  # also when it was in doubt meanwhile: from now on it is asked after, never looked up
                    "state": "in flight",
                    "reason": None,
                    "handle": handle,
                    "not_before": now + timedelta(seconds=self._check_after(row)),
                    "attempts": row["attempts"] + 1,
                }
            case Retry(reason, after) if one.spared and row["state"] == "in flight":
                until = now + timedelta(seconds=after or 0.0)
                row |= {"state": "ready", "reason": "spared", "detail": reason, "not_before": until}
            case Refused() | Retry() | Unknown() | Absent() | CannotTell() as outcome:
                self._not_done(outcome, row, made, now)
            case _:
                self._barred(one, row, now)

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

    def _not_done(self, outcome: Refused | Retry | Unknown | Absent | CannotTell, row: Row, made: Made, now: datetime) -> None:
        match outcome:
            case Refused(reason, owner=True) if _assignee(row) is not None:
                self._unassign(row, reason, made, now)
            case Refused(reason, exists):
                self._refused(row, reason, exists=exists, now=now)
            case Retry(reason, after):
                self._again(row, reason, after, now)
            case Unknown(reason):
                row |= {"state": "in doubt", "reason": "unknown outcome", "detail": reason, "not_before": now}
                row["unsure_since"] = row["unsure_since"] or row["claimed_at"]
                row["first_failed_at"] = row["first_failed_at"] or now
            case Absent():
                self._absent(row, now)
            case CannotTell(reason):
                self._cannot_tell(row, reason, now)

    def _check_after(self, row: Row) -> float:
        return _CHECK_AGAIN_S[min(row["attempts"], len(_CHECK_AGAIN_S) - 1)]

    @staticmethod
    def _done(one: Receipt, row: Row, outcome: Done, made: Made, now: datetime) -> None:
        other = None if one.what == "by a person" else made.whose(row, outcome)
        if other is not None:  # a person's word may move a link; a look-up or a tool's answer may not
            row |= {"state": "parked", "reason": "linked elsewhere", "detail": other, "not_before": None}
            return
        ours = one.what != "by a person" and not (one.what == "looked up" and row["state"] == "in flight")
        row |= {"state": "done", "reason": None, "detail": None, "not_before": None, "done_at": now}
        row |= {"record_id": outcome.record_id, "address": outcome.url}
        made.note(row, outcome, ours=ours)

    @staticmethod
    def _refused(row: Row, reason: str, *, exists: bool, now: datetime) -> None:
        if exists:  # the tool says that it is there already: look for it, and adopt it if it is the one
            row |= {"state": "in doubt", "reason": "exists already", "detail": reason, "not_before": now}
        else:
            row |= {"state": "parked", "reason": "refused", "detail": reason, "not_before": None}

    @staticmethod
    def _unassign(row: Row, reason: str, made: Made, now: datetime) -> None:
        """The tool itself says that the owner is nobody there (any more): nothing was done, and it is made without one.

        Only a fresh look that shows this person there makes them one to assign to again.
        """
        made.gone.append((row["connection"], _assignee(row) or ""))
        made.renew(row)
        row |= {"state": "ready", "reason": "owner refused", "detail": reason, "not_before": now}

    def _again(self, row: Row, reason: str, after: float | None, now: datetime) -> None:
        first = row["first_failed_at"] or now
        when = next_try(first, row["attempts"] + 1, now, after, self._randomness)
        row |= {"first_failed_at": first, "attempts": row["attempts"] + 1, "detail": reason, "handle": None}
        if when is None:
            row |= {"state": "parked", "reason": "gave up", "not_before": None}
        else:
            row |= {"state": "ready", "reason": "retry", "not_before": when}

    @staticmethod
    def _several(row: Row, records: tuple[Done, ...]) -> None:
        names = ", ".join(str(one.url or one.record_id) for one in records) or "none of them can be named"
        row |= {
            "state": "parked",
            "reason": "several found",
            "detail": f"a person must say which one it is: {names}",
            "not_before": None,
        }

    def _absent(self, row: Row, now: datetime) -> None:
        if row["reason"] == "exists already":
            row |= {"state": "parked", "reason": "refused", "not_before": None}
        elif row["handle"] is not None:  # the tool took the job, and may still be at it
            row |= {"state": "parked", "reason": "not finished", "not_before": None}
        else:  # proven: nothing was done. Sent again by the usual schedule, for a tool that fails each time
            self._again(row, row["detail"] or "it was not done", None, now)
            row["unsure_since"] = None
            if row["state"] == "ready":
                row["reason"] = "absence proven"

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
            seen: set[str] = set()
            for row in _NEXT.each(conn, free):
                if row["target"] not in seen:
                    seen.add(row["target"])
                    woken[free[row["target"]]].append(row["id"])
        for one, row in changed.items():
            if row["state"] == "ready" and row["reason"] == "owner refused":
                woken[one].append(one)
        return woken


def _assignee(row: Row) -> str | None:
    """Give the record of the person whom an effect is to be assigned to."""
    owner = (row["input"] or {}).get("owner")
    record = owner.get("record") if isinstance(owner, dict) else None
    return str(record) if record else None


def _nothing_left_since(conn: Connection, one: Receipt, epoch: int) -> bool:
    """Tell whether every claim since this sending ended before anything left: the tool knows of no later one."""
    known = _attempt.c.effect == one.effect, _attempt.c.revision == one.revision, _attempt.c.epoch > one.epoch
    later = conn.execute(select(_attempt.c.epoch, _attempt.c.bytes_sent).where(*known, _attempt.c.what == "sent")).all()
    return {row.epoch for row in later} == set(range(one.epoch + 1, epoch + 1)) and not any(row.bytes_sent for row in later)


def _told(one: Receipt) -> tuple[Done, ...]:
    """Give the one record that a receipt tells of."""
    if isinstance(one.outcome, Found):
        return one.outcome.records if len(one.outcome.records) == 1 else ()
    return (one.outcome,) if isinstance(one.outcome, Done) else ()


def _concerns(one: Receipt, row: Row) -> bool:
    """Tell whether an answer that tells of no record may move an effect that stands where this one does."""
    outcome = one.outcome
    if isinstance(outcome, Accepted):  # the tool will do it, whatever was thought meanwhile
        return row["state"] in (*_UNCERTAIN, "ready", "held")
    if isinstance(outcome, Found | Absent | CannotTell):
        return bool(row["state"] == "in doubt")
    if row["state"] == "in flight" and row["handle"] is not None:
        return one.what == "checked"  # a look-up that began before it was accepted
    return row["state"] in _UNCERTAIN


def _aftermath(one: Receipt, effects: Mapping[str, Row], woken: list[str], linked: Row | None) -> Aftermath:
    if linked is None:
        stands = effects[one.effect]["state"] if one.effect in effects else None
        return Aftermath(woken, still=one.what == "came to light" and stands in (*WAITING, *_UNCERTAIN))
    return Aftermath(woken, linked["engagement"], linked["client"])


def open_held(conn: Connection, effects: Sequence[str]) -> list[list[str]]:
    """Open the notices that waited for creates that are settled or parked now; give, for each create, their ids."""
    reasons = {f"waiting({effect})": effect for effect in effects}
    opened: dict[str, list[str]] = {}
    for row in _HELD_FOR.each(conn, reasons):
        opened.setdefault(reasons[row["reason"]], []).append(row["id"])
    _OPEN.run(conn, [{"which": one} for held in opened.values() for one in held])
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
    _OPEN.run(conn, [{"which": one} for one in ids])
    return [ids for _ in items]
