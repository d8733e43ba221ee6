"""Operations on effects that are not part of the straight way: advance, expire, park, unpark, recover."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Integer, and_, bindparam, delete, exists, func, or_, select, update

from lifecyclehub.dispatch.advance import BY_A_PERSON, OVER
from lifecyclehub.dispatch.behind import behind_nothing
from lifecyclehub.dispatch.claim import release_charges
from lifecyclehub.dispatch.moves import Stood, swap, write
from lifecyclehub.dispatch.plan import Planner, advance_effects
from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.dispatch.world import Effects
from lifecyclehub.insight.findings import BRAKE
from lifecyclehub.insight.world import read_world
from lifecyclehub.ports import Clock, Ids
from lifecyclehub.rules import Rules
from lifecyclehub.store import leases, tables
from lifecyclehub.store.sql import Query, Write
from lifecyclehub.store.state import rows
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all

_effect = tables.effect
_PRESENT_SET = select(tables.installation.c.applied_set)
ADMIN_PARKABLE = ("planned", "held", "ready")
_ASIDE_COLUMNS = ("state", "reason", "detail", "not_before")
_ASIDE = swap(*_ASIDE_COLUMNS)


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
    return _aside(conn, items, "parked", (*ADMIN_PARKABLE, "in doubt"))


def hold(conn: Connection, items: Sequence[Parking]) -> list[bool]:
    """Hold effects that nobody sends yet; they are looked at again when the hub starts. False where that cannot be."""
    return _aside(conn, items, "held", ADMIN_PARKABLE)


def _aside(conn: Connection, items: Sequence[Parking], state: str, takes: Collection[str]) -> list[bool]:
    effects = {row["id"]: row for row in rows(conn, _effect, "id", {one.effect for one in items}, lock=True)}
    moved: list[tuple[Row, Stood]] = []
    for one in items:
        row = effects.get(one.effect)
        if row is not None and row["state"] in takes:
            moved.append((row, Stood.of(row)))
            row |= {"state": state, "reason": one.reason, "detail": one.detail, "not_before": None}
    write(conn, _ASIDE, _ASIDE_COLUMNS, moved)
    aside = {row["id"] for row, _ in moved}
    return [one.effect in aside for one in items]


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
    """Move parked effects as a person says. Gives their state; "" where the effect is not parked.

    *Anew* is a new revision: its body is rendered again, from present values with the newest mapping. Charges that the
    old revision had reserved are free again. *Is* leaves it parked until the receipt of that answer links the record.
    """
    results = []
    for item in items:
        row = next(iter(rows(conn, _effect, "id", {item.effect}, lock=True)), None)
        if row is None or row["state"] != "parked":
            results.append("")
            continue
        stood, values = Stood.of(row), _ANSWERS[item.verdict](row)
        if item.verdict == "anew":
            values["applied_set"] = conn.execute(_PRESENT_SET).scalar() or row["applied_set"]
        if item.verdict in ("anew", "cancel") and row["thing"] is not None and row["action"] == "create_draft_invoice":
            release_charges(conn, row["thing"])
        if values:
            write(conn, swap(*values), tuple(values), [(row | values, stood)])
        if row["reason"] == BRAKE:
            found = tables.finding
            conn.execute(delete(found).where(found.c.kind == BRAKE, found.c.about == row["key"]))
        insert_all(conn, tables.attempt, [_attempt_of(item, row)])
        results.append(str(values.get("state", row["state"])))
    return results


def _cancelled(_: Row) -> Row:
    return {"state": "cancelled", "reason": BY_A_PERSON, "detail": None, "not_before": None}


def _anew(row: Row) -> Row:
    keeps = row["action"] != "create_draft_invoice"  # whose charges are free again
    thing = row["thing"] if keeps else None
    return dict.fromkeys(_OF_ONE_REVISION) | {"state": "planned", "revision": row["revision"] + 1, "attempts": 0, "thing": thing}


_OF_ONE_REVISION = (
    "reason",
    "detail",
    "not_before",
    "body",
    "input",
    "first_failed_at",
    "handle",
    "unsure_since",
    "record_id",
    "address",
)
_ANSWERS: Mapping[str, Callable[[Row], Row]] = {"cancel": _cancelled, "anew": _anew, "is": lambda _: {}}


def _attempt_of(item: Answered, row: Row) -> Row:
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
    """Put claims whose deadline is over in doubt, never back to ready. With a holder: at once all claims of hubs that died.

    What these had put off, because they were just looking it up or asking about it, is looked at now.
    """
    counts = []
    for at, holder in items:
        if holder is None:
            counts.append(_OVER_TIME.count(conn, at=at))
        else:
            dead = {"at": at, "me": holder, "alive_at": leases.database_time(conn, at)}
            _LOOKED_AT_BY_DEAD.count(conn, **dead)
            counts.append(_CLAIMED_BY_DEAD.count(conn, **dead))
    return counts


def _doubtful(old: ColumnElement[bool]) -> Write:
    """Make the operation that puts old claims in doubt; what has a handle is asked after instead."""
    return Write(
        update(_effect)
        .where(tables.OPEN_EFFECT, _effect.c.state == "in flight", _effect.c.handle.is_(None), old)
        .values(
            state="in doubt",
            reason="no answer",
            detail="the sending was never answered, or nobody was there to hear it",
            not_before=bindparam("at"),
            unsure_since=func.coalesce(_effect.c.unsure_since, _effect.c.claimed_at),
        )
    )


_LIVING = leases.living_at(bindparam("alive_at"))
_WORKING = leases.working_at(bindparam("alive_at"))
_OF_DEAD = (_effect.c.holder != bindparam("me")) & _effect.c.holder.not_in(_LIVING)
_OVER_TIME = _doubtful(_effect.c.deadline < bindparam("at"))
_CLAIMED_BY_DEAD = _doubtful(_OF_DEAD)
_UNCERTAIN = or_(_effect.c.state == "in flight", _effect.c.state == "in doubt")
_LOOKED_AT_BY_DEAD = Write(
    update(_effect)
    .where(tables.OPEN_EFFECT, _UNCERTAIN, _OF_DEAD, _effect.c.not_before > bindparam("at"))
    .values(not_before=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class PutOff:
    """Let a ready effect wait until a moment, which counts as no attempt."""

    effect: str
    epoch: int
    until: datetime
    detail: str


def put_off(conn: Connection, items: Sequence[PutOff]) -> list[None]:
    """Let ready effects wait."""
    for one in items:
        mine = (_effect.c.id == one.effect) & (_effect.c.state == "ready") & (_effect.c.epoch == one.epoch)
        conn.execute(update(_effect).where(mine).values(not_before=one.until, reason="spared", detail=one.detail))
    return [None] * len(items)


@dataclass(frozen=True, slots=True)
class DueEffect:
    """An effect whose time has come."""

    id: str
    state: str
    handle: str | None
    connection: str | None = None


def _has_its_turn() -> ColumnElement[bool]:
    """Give the condition that nothing goes before an effect that is ready on its target record: the claim asks the same."""
    other = _effect.alias()
    begun, other_begun = _effect.c.epoch > 0, other.c.epoch > 0
    earlier = or_(and_(begun, other_begun), and_(~begun, ~other_begun)) & (other.c.id < _effect.c.id)
    first = or_(other.c.state != "ready", and_(other_begun, ~begun), earlier)
    return ~exists().where(other.c.target == _effect.c.target, tables.ON_TARGET, first)


def may_have_its_turn() -> ColumnElement[bool]:
    """Give the condition that an effect need not wait for others: what is ready goes in order on its target record."""
    return or_(_effect.c.state != "ready", _effect.c.target.is_(None), _has_its_turn())


def have_their_turn(conn: Connection, effects: Sequence[str]) -> list[str]:
    """Give those that wait behind others on their target records no more."""
    return [row["id"] for row in _HAVE_THEIR_TURN.each(conn, effects)]


_HAVE_THEIR_TURN = Query(select(_effect.c.id).where(_has_its_turn()), _effect.c.id)


def due_effects(conn: Connection, now: datetime, holder: str | None = None, limit: int = 500) -> list[DueEffect]:
    """Give effects to be sent again, looked up, or asked about, the longest waiting first; not before their turn.

    With a holder: but those that another hub claimed last that lives, may call the tools, and goes on with them itself.
    """
    if holder is None:
        return [DueEffect(**row) for row in _DUE.all(conn, now=now, limit=limit)]
    alive_at = leases.database_time(conn, now)
    return [DueEffect(**row) for row in _DUE_HERE.all(conn, now=now, limit=limit, me=holder, alive_at=alive_at)]


def _due_that(*wanted: ColumnElement[bool]) -> Query:
    its_time = _effect.c.not_before <= bindparam("now")
    which = select(_effect.c.id, _effect.c.state, _effect.c.handle, _effect.c.connection)
    which = which.where(tables.OPEN_EFFECT, or_(_UNCERTAIN, _effect.c.state == "ready"), its_time, may_have_its_turn(), *wanted)
    return Query(which.order_by(_effect.c.not_before).limit(bindparam("limit", type_=Integer)))


_DUE = _due_that()
_DUE_HERE = _due_that(
    or_(_effect.c.holder.is_(None), _effect.c.holder == bindparam("me"), _effect.c.holder.not_in(_WORKING)),
)


def waiting_effects(conn: Connection, after: str, limit: int = 10_000) -> list[str]:
    """Give effects that wait for something, oldest first: at a start, and after a switch, mapping or connection changed.

    Each page sorts all that wait, so a page is large.
    """
    return [row["id"] for row in _WAITING.all(conn, after=after, limit=limit)]


_WAITING = Query(
    select(_effect.c.id)
    .where(
        tables.OPEN_EFFECT,
        or_(*(_effect.c.state == one for one in ("planned", "held", "ready"))),
        _effect.c.id > bindparam("after"),
    )
    .order_by(_effect.c.id)
    .limit(bindparam("limit", type_=Integer))
)


def forgotten_effects(conn: Connection, limit: int = 500) -> list[str]:
    """Give effects that nothing keeps any more and no time is set for: whoever was to go on with them may have died."""
    return [row["id"] for row in _FORGOTTEN.all(conn, limit=limit)]


def _kept_by_nothing() -> ColumnElement[bool]:
    need, other = tables.need, _effect.alias()
    going_on = and_(*(other.c.state != one for one in OVER))
    kept = (need.c.effect == _effect.c.id) & (need.c.needed == other.c.id) & going_on
    waits = (_effect.c.state == "held") & (_effect.c.reason == "needs") & ~exists().where(kept)
    its_turn = or_(_effect.c.state == "planned", (_effect.c.state == "ready") & or_(_effect.c.target.is_(None), _has_its_turn()))
    left = its_turn & _effect.c.not_before.is_(None)
    return or_(left, waits, behind_nothing())


_FORGOTTEN = Query(
    select(_effect.c.id)
    .where(tables.OPEN_EFFECT, _kept_by_nothing())
    .order_by(_effect.c.id)
    .limit(bindparam("limit", type_=Integer))
)


def undecided(conn: Connection, but: Collection[str] = (), limit: int = 100) -> list[tuple[str, str | None]]:
    """Give engagements that a receipt linked something of and nobody decided on since, each with its client; `but` these."""
    engagement = tables.engagement
    wanted = select(engagement.c.id, engagement.c.client).where(tables.UNDECIDED)
    wanted = wanted.where(engagement.c.id.not_in(sorted(but))) if but else wanted
    return [(row.id, row.client) for row in conn.execute(wanted.order_by(engagement.c.id).limit(limit))]
