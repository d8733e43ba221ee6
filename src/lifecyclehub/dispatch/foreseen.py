"""What need not be planned again: a handoff is due as long as one of its effects does not exist, whatever else changed."""

from __future__ import annotations

from lifecyclehub.dispatch.advance import BY_A_PERSON
from lifecyclehub.handoffs import Context, Handoff, effect_key
from lifecyclehub.insight.view import Subject
from lifecyclehub.store.things import Row


class Foreseen:
    """Knows of handoffs whose effects hang on no value which these are. `tables` are those of the applied files."""

    def __init__(self, tables: Context) -> None:
        self._tables = tables
        self._known: dict[str, tuple[tuple[str, str], ...]] = {}

    def all_there(self, handoff: Handoff, subject: Subject) -> bool:
        """Tell whether every effect that a handoff can ever have for a subject exists, so that nothing of it can be due."""
        effects = subject.state.effects
        if not effects:
            return False
        wanted = self._known.get(handoff.id)
        if wanted is None:
            wanted = self._known[handoff.id] = handoff.foreseen(self._tables)
        keys = (effect_key(handoff.id, name, subject.kind, subject.id, item) for name, item in wanted)
        return bool(wanted) and all(_stays(effects.get(key)) for key in keys)


def _stays(row: Row | None) -> bool:
    """Tell whether an effect exists and planning would leave it alone: one that was cancelled may be wanted again."""
    return row is not None and (row["state"] != "cancelled" or row["reason"] == BY_A_PERSON)
