"""The moves that an effect can make between its states, and the one way to write one: as compare-and-set.

Whoever writes a state says where the effect stood when it was read. If it stands elsewhere by now, nothing is written
and the operation runs again on what is true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, update

from lifecyclehub.errors import HubError, LostRace
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Write
from lifecyclehub.store.things import Row

MOVES: Final[Mapping[str, Mapping[str, str]]] = {
    # from -> to: why. Whatever is not here does not happen; an effect may always stay where it is, for another reason.
    "planned": {
        "held": "something is missing: a switch, a connection, what it needs",
        "ready": "nothing is missing",
        "in doubt": "a record came to light that carries its marker",
        "done": "there is nothing to do, such as no charge to bill",
        "parked": "its values cannot be mapped, or a person puts it aside",
        "cancelled": "its condition does not hold any more",
    },
    "held": {
        "ready": "what was missing came",
        "in flight": "a late answer tells that the tool accepted it after all",
        "in doubt": "a record came to light that carries its marker",
        "done": "there is nothing to do; or a late answer tells that it was done after all",
        "parked": "its values cannot be mapped, or a person puts it aside",
        "cancelled": "its condition does not hold any more",
    },
    "ready": {
        "in flight": "it is claimed; or a late answer tells that the tool accepted it after all",
        "held": "the check before the claim fails",
        "in doubt": "it may have been done, and the tool would not fold a repeat any more; or its marker came to light",
        "done": "there is nothing to do; or a late answer tells that it was done after all",
        "parked": "its values cannot be mapped, its connector fails, or a person puts it aside",
        "cancelled": "its condition does not hold any more",
    },
    "in flight": {
        "done": "the tool says so",
        "ready": "nothing was sent, or the reply proves that nothing was done",
        "held": "our credentials are refused",
        "in doubt": "its outcome is unknown",
        "parked": "the tool refuses it, or has not ended it in time",
    },
    "in doubt": {
        "done": "it was found, or a late answer came",
        "ready": "its absence is proven, or doing it again changes nothing",
        "in flight": "a late answer tells that the tool accepted it",
        "parked": "nobody but a person can tell",
    },
    "parked": {
        "planned": "a person has it made anew",
        "done": "a person names the record; or a late answer does",
        "cancelled": "a person lets it be",
    },
    "cancelled": {"planned": "its condition holds again"},
    "done": {},
}


class NoSuchMove(HubError):
    """Somebody tried to move an effect in a way that is not in the table. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Stood:
    """Where an effect stood when it was read."""

    state: str
    epoch: int

    @classmethod
    def of(cls, row: Row) -> Stood:
        """Remember it, before anything is changed."""
        return cls(row["state"], row["epoch"])


def allowed(was: str, now: str) -> bool:
    """Tell whether an effect may go from one state to another, or stay."""
    return was == now or now in MOVES[was]


def swap(*columns: str) -> Write:
    """Give the statement that writes these columns of effects, each only where it stood when it was read."""
    effect = tables.effect
    still = (effect.c.id == bindparam("which"), effect.c.state == bindparam("stood"), effect.c.epoch == bindparam("stood_at"))
    return Write(update(effect).where(*still).values({name: bindparam(f"new_{name}") for name in columns}))


def write(conn: Connection, statement: Write, columns: Sequence[str], moved: Sequence[tuple[Row, Stood]]) -> None:
    """Write effects with a statement of `swap`, all or none. Raises LostRace when one of them stands elsewhere by now."""
    values: list[dict[str, Any]] = []
    for row, stood in moved:
        if not allowed(stood.state, row["state"]):
            raise NoSuchMove(f"the effect {row['id']} cannot go from {stood.state} to {row['state']}")
        news = {f"new_{name}": row[name] for name in columns}
        values.append({"which": row["id"], "stood": stood.state, "stood_at": stood.epoch, **news})
    if statement.run(conn, values) != len(values):
        raise LostRace("another worker moved an effect at the same moment")
