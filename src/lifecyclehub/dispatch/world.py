"""Effects as operations of steps 6 to 8 read them: with the locked state of what they are about."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from lifecyclehub.insight.view import Subject
from lifecyclehub.store import tables
from lifecyclehub.store.state import State, load_client_states, load_states, rows
from lifecyclehub.store.things import Row


class Effects:
    """Some effects with the state of what they are about."""

    def __init__(self, conn: Connection, ids: Collection[str]) -> None:
        found = rows(conn, tables.effect, "id", ids)
        self.states = load_states(conn, {row["engagement"] for row in found if row["engagement"]}, lock=True)
        self.clients = load_client_states(conn, {row["subject"] for row in found if not row["engagement"]})
        self._owner = {row["id"]: (row["engagement"], row["subject"], row["key"]) for row in found}

    def row(self, effect: str) -> tuple[Row, State] | None:
        """Give an effect's row, the one that belongs to its state."""
        owner = self._owner.get(effect)
        if owner is None:
            return None
        state = self.states.get(owner[0]) if owner[0] else self.clients.get(owner[1])
        return (state.effects[owner[2]], state) if state is not None else None


def subject_of(state: State, row: Row) -> Subject | None:
    """Give the subject whose state made an effect due, None when it is not there any more."""
    for kind, thing in ((row["cause_kind"], row["cause"]), (row["subject_kind"], row["subject"])):
        found = next((one for one in state.things(kind) if one["id"] == thing), None)
        if found is not None and not state.gone(kind, found["id"]):
            return Subject(kind, found, state)
    return None
