"""A field of ours that differs after a restore: we may have written that ourselves, and have forgotten it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import select

from lifecyclehub.dispatch.tools import Restored, restored_of
from lifecyclehub.intake.batch import Batch
from lifecyclehub.intake.observation import Observation
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row, canonical, observed

_SKEW: Final = timedelta(hours=1)  # between a vendor's clock and ours, as for effects after a restore
_TICK: Final = timedelta(microseconds=1)
_RESTORED: Final = select(
    tables.installation.c.restored_from, tables.installation.c.restored_at, tables.installation.c.looked_back_at
)


def maybe_written_by_us(batch: Batch, seen: Observation, link: Row | None) -> bool:
    """Tell whether a foreign value may be our own, written in the time that a restore made us forget.

    It may until every tool was looked at, as nothing is written before; later only at the first look at that record, and
    not where the tool says that it changed since. `link`: as it was before this look.
    """
    row = batch.conn.execute(_RESTORED).mappings().first() if link is not None else None
    restored = restored_of(dict(row)) if row is not None else None
    if restored is None or link is None or link["fetched_at"] is None:
        return False
    if _still_looking(restored):
        return True
    changed_since = seen.changed_at is not None and seen.changed_at > restored.over + _SKEW
    return bool(link["fetched_at"] <= restored.since) and not changed_since


def _still_looking(restored: Restored) -> bool:
    return restored.looked is None or restored.looked < restored.at


def ours_now(thing: Row | None, seen: Observation, path: str) -> str | None:
    """Give what a thing of ours says of a field by now, as the mirror writes it, None where it is not one of its fields."""
    kind, _, name = path.partition(".")
    return observed(canonical(kind, thing).get(name)) if thing is not None and kind == seen.fills else None


def count_anew(batch: Batch, thing: Row | None, path: str) -> None:
    """Date the standing anew: it is what it was in the backup, but was another one since, and the tool was told that one.

    An effect of that standing and time is done, so that nothing would ever be written again.
    """
    if path == "client.standing" and thing is not None and thing["standing_since"] is not None:
        thing["standing_since"] = max(batch.now, thing["standing_since"] + _TICK)
        batch.change("client", thing)
