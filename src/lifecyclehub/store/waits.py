"""Waits that no clock in order could have written: the machine's was far ahead when they were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, update

from lifecyclehub.store import tables

LONGEST: Final = timedelta(hours=26)
"""Vendors' wishes are cut at 24 hours, our own schedule waits for an hour; nothing waits for longer by itself."""

AHEAD: Final = timedelta(hours=1)
LONG_AGO: Final = timedelta(days=30)
"""No vendor is known to fold what is sent again under a key after so long."""

_DRIFT: Final = timedelta(seconds=5)  # by which clocks of several machines differ anyway
_effect, _notice, _cursor, _breaker = tables.effect, tables.notice, tables.cursor, tables.breaker


def bring_near(conn: Connection, items: Sequence[datetime]) -> list[int]:
    """Let what waits for a moment beyond any wait go on now, else it would wait for ever. Gives how many effects and notices.

    What was sent first at a moment that is still to come was sent nobody knows when: its key is not trusted any more.
    """
    counts = []
    for now in items:
        far, ahead = now + LONGEST, now + AHEAD
        values = {"not_before": now}
        effects = update(_effect).where(tables.OPEN_EFFECT, _effect.c.not_before > far).values(**values)
        notices = update(_notice).where(tables.OPEN_NOTICE, _notice.c.not_before > far).values(**values)
        counts.append(conn.execute(effects).rowcount + conn.execute(notices).rowcount)
        conn.execute(update(_cursor).where(_cursor.c.not_before > far).values(**values))
        conn.execute(update(_cursor).where(_cursor.c.swept_at > ahead).values(swept_at=now))
        conn.execute(update(_cursor).where(_cursor.c.held_until > ahead).values(held_until=now))
        sent_then = update(_effect).where(tables.OPEN_EFFECT, _effect.c.unsure_since > now + _DRIFT)
        conn.execute(sent_then.values(unsure_since=now - LONG_AGO))
        conn.execute(delete(_breaker).where(_breaker.c.open_until > ahead))
    return counts
