"""When the store's next effect or notice is due: before that, a tick would look in vain."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, ScalarSelect, func, or_, select

from lifecyclehub.dispatch.upkeep import may_have_its_turn
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query

_effect, _notice = tables.effect, tables.notice
MOST_EFFECTS: Final = 400  # a scenario has some dozens
CHANGES_NOTHING_DUE: Final = frozenset({"beat", "hold", "let_go", "_take", "_came_to", "_add", "_stop", "drop_ended"})
_OVER: Final = timedelta(seconds=6)  # a claim is over only some seconds after its deadline


def _first(of: Any, *where: Any) -> ScalarSelect[Any]:
    return select(func.min(of)).where(*where).scalar_subquery()


_WAITS: Final = or_(*(_effect.c.state == state for state in ("ready", "in doubt", "in flight")))
_SENT: Final = (_effect.c.state == "in flight") & _effect.c.handle.is_(None)
_QUESTION: Final = Query(
    select(
        _first(_effect.c.not_before, tables.OPEN_EFFECT, _WAITS, may_have_its_turn()).label("effect"),
        _first(_effect.c.deadline, tables.OPEN_EFFECT, _SENT).label("claim"),
        _first(_notice.c.not_before, tables.OPEN_NOTICE, _notice.c.state == "open").label("notice"),
        select(func.count()).select_from(_effect).scalar_subquery().label("effects"),
    )
)


class Standing(NamedTuple):
    """`due`: the moment when the first of all is due, None when nothing has a time. `effects`: how many there are."""

    due: datetime | None
    effects: int


def standing(conn: Connection) -> Standing:
    """Give what the store holds for ticks."""
    found = _QUESTION.all(conn)[0]
    effects = found.pop("effects")
    if found["claim"] is not None:
        found["claim"] += _OVER
    return Standing(min((one for one in found.values() if one is not None), default=None), effects)
