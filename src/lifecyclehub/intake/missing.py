"""P4, deletes that nobody announced: a known record that a whole list does not hold any more is looked at.

Only the look decides: gone is gone, forbidden is not. Where a mass of records disappeared at once nothing is looked at
before a person has: that is rather a right that was lost, or a filter, than so many deletes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, exists, func, or_, select, text, update

from lifecyclehub.connector import Kind
from lifecyclehub.dispatch.tools import Tools
from lifecyclehub.intake.keep import Arrival, keep, keep_for_a_person
from lifecyclehub.intake.page import swept
from lifecyclehub.messages import Notice
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from lifecyclehub.store.writer import as_operation

FEW: Final = 10
SHARE: Final = 0.1
ALL: Final = 3
"""More records than a few, and than this share of all, do not disappear in one night by themselves; nor do all of these."""

MASS: Final = "mass disappearance"
CHUNK: Final = 50
_ON_THEIR_WAY: Final = ("open", "held")


async def look_for_missing(tools: Tools, connection: Row, kind: Kind, began: datetime, last: Sequence[str]) -> list[Arrival]:
    """Keep, for the records that a whole list did not hold, deliveries to be worked on; give them.

    `began`: when the list was begun; `last`: what its last page held.
    """
    if kind.deletes == "fetch":
        return []  # lists of this kind leave out living records
    gone, known = await tools.store.read(missing, connection["id"], kind.id, began, last, tools.clock.now())
    await tools.store.run(_forgetting, (connection["id"], kind.id))
    notices = [Notice(kind=kind.id, record_id=one, account=connection["account_id"]) for one in gone]
    if is_mass(len(gone), known):
        said = (
            f"{MASS}: {len(gone)} of {known} records of {kind.id} are not listed any more. Look whether they are there, and "
            "whether our access still reaches them; a replay of this delivery looks at each of them."
        )
        await tools.store.run(keep_for_a_person, (swept(tools, connection, notices, door=f"missing {kind.id}"), said))
        return []
    some = [notices[start : start + CHUNK] for start in range(0, len(notices), CHUNK)]
    arrivals = [swept(tools, connection, one) for one in some]
    if arrivals:
        await tools.store.run_all(keep, arrivals)
    return arrivals


def missing(
    conn: Connection, connection: str, kind: str, began: datetime, last: Sequence[str], now: datetime
) -> tuple[list[str], int]:
    """Give the records that a whole pass did not list though they were alive when it began, and how many are known alive.

    Those that wait for a person already, since our last look, are left out. What was looked at since the pass began is
    alive as well; a look that seems to have begun after `now` says nothing: our clock was put back since.
    """
    link, listed, notice = tables.link, tables.listed, tables.notice
    alive = (
        link.c.connection == connection,
        link.c.kind == kind,
        link.c.deleted_at.is_(None),
        link.c.merged_into.is_(None),
        link.c.fetched_at.is_not(None),
    )
    before = or_(link.c.fetched_at < began, link.c.fetched_at > now)
    seen = exists().where(listed.c.connection == connection, listed.c.kind == kind, listed.c.record_id == link.c.record_id)
    waits = exists().where(
        notice.c.connection == connection,
        notice.c.kind == kind,
        notice.c.record_id == link.c.record_id,
        or_(notice.c.state.in_(_ON_THEIR_WAY), (notice.c.state == "parked") & (notice.c.kept_at >= link.c.fetched_at)),
    )
    on_last = set(last)
    found = conn.execute(select(link.c.record_id).where(*alive, before, ~seen, ~waits).order_by(link.c.record_id)).scalars()
    known = int(conn.execute(select(func.count()).select_from(link).where(*alive)).scalar_one())
    return [one for one in found if one not in on_last], known


def is_mass(gone: int, known: int) -> bool:
    """Tell whether so many records cannot have disappeared one by one: too large a share, or all there were."""
    return gone > max(FEW, known * SHARE) or (gone >= ALL and gone >= known)


def _forget(conn: Connection, item: tuple[str, str]) -> None:
    """Close what an earlier list left for a person: the later one tells more."""
    connection, kind = item
    table = tables.delivery
    mine = (table.c.connection == connection) & (table.c.door == f"missing {kind}")
    conn.execute(update(table).where(text("state = 'parked'"), mine).values(state="split", reason="a later list was taken"))


_forgetting = as_operation(_forget)
