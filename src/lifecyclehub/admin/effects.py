"""A person's word on effects: park one, or say what becomes of a parked one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from lifecyclehub.admin.stored import changed
from lifecyclehub.dispatch.advance import BY_A_PERSON
from lifecyclehub.dispatch.prepared import Receipt
from lifecyclehub.dispatch.receipt import WriteReceipts, held_notices
from lifecyclehub.dispatch.upkeep import ADMIN_PARKABLE, Answered, Parking, answer, park
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.insight.filters import not_there
from lifecyclehub.messages import Done
from lifecyclehub.ports import Clock, Ids, Randomness
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.state import rows
from lifecyclehub.store.things import Row

Verdict = Literal["anew", "is", "cancel"]


class CannotAnswer(ConfigurationError):
    """What was named is in another state than the word asks for. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A person's word on a parked effect.

    `anew`: render it again from present values and send it. `is`: the record `record_id` in the tool is the one (`url`
    opens it). `cancel`: let it be, also while its condition holds.
    """

    effect: str
    verdict: Verdict
    who: str
    record_id: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A person's wish to put an effect aside, and why."""

    effect: str
    who: str
    why: str = ""


class AnswerEffects:
    """The operation: moves parked effects as persons say, and tells the running hub. Gives each effect's new state.

    Raises NotThere and CannotAnswer; then nothing at all was changed.
    """

    def __init__(self, rules: Rules, ids: Ids, clock: Clock, randomness: Randomness) -> None:
        self._ids, self._clock = ids, clock
        self._receipts = WriteReceipts(rules, ids, clock, randomness)

    def __call__(self, conn: Connection, items: Sequence[Answer]) -> list[str]:
        """Answer for all items, or for none."""
        for item in items:
            _check(item, _effect(conn, item.effect))
        now = self._clock.now()
        words = [
            Answered(
                effect=item.effect,
                who=item.who,
                at=now,
                attempt=self._ids.new("att"),
                verdict=item.verdict,
                record_id=item.record_id,
            )
            for item in items
        ]
        answer(conn, words)
        self._receipts(conn, [self._receipt(conn, item) for item in items if item.verdict == "is"])
        held_notices(conn, [item.effect for item in items])
        changed(conn)
        return [str(_effect(conn, item.effect)["state"]) for item in items]

    def _receipt(self, conn: Connection, item: Answer) -> Receipt:
        row, now = _effect(conn, item.effect), self._clock.now()
        return Receipt(
            effect=item.effect,
            epoch=row["epoch"],
            revision=row["revision"],
            what="by a person",
            began_at=now,
            outcome=Done(record_id=item.record_id, url=item.url),
            detail=item.who,
        )


class ParkEffects:
    """The operation: puts effects aside that were not sent yet, or whose outcome is unknown. Gives each one's new state.

    Raises NotThere and CannotAnswer; then nothing at all was changed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, conn: Connection, items: Sequence[Aside]) -> list[str]:
        """Park all items, or none."""
        now = self._clock.now()
        for item in items:
            detail = f"{item.who}: {item.why}" if item.why else item.who
            state = _effect(conn, item.effect)["state"]
            if not park(conn, [Parking(item.effect, BY_A_PERSON, detail, now)])[0]:
                mend = f"Only one that is {', '.join(ADMIN_PARKABLE)} or in doubt can be put aside."
                raise CannotAnswer(f"the effect {item.effect} is {state}.", mend=mend)
        held_notices(conn, [item.effect for item in items])
        changed(conn)
        return ["parked"] * len(items)


def _effect(conn: Connection, effect: str) -> Row:
    found = rows(conn, tables.effect, "id", {effect})
    if not found:
        raise not_there("effect", effect)
    return found[0]


def _check(item: Answer, row: Row) -> None:
    if row["state"] != "parked":
        raise CannotAnswer(f"the effect {item.effect} is {row['state']}, not parked.", mend="Park it first, if it waits.")
    if item.verdict == "is" and not item.record_id and row["creates"] is not None:
        mend = f"Give the id of the {row['creates']} in the tool."
        raise CannotAnswer(f"the effect {item.effect} makes a record, and none is named.", mend=mend)
