"""After a restore: what the hub must know before it writes to the tools again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, func, or_, select, update

from lifecyclehub.admin.stored import changed
from lifecyclehub.insight.clocks import CHANGES, swept_every
from lifecyclehub.intake.directory import Directory
from lifecyclehub.registry.registry import Registry
from lifecyclehub.store import tables

LOOK_S: Final = 5.0
_cursor = tables.cursor
_TRIED: Final = ("retry", "connector hangs", "no connector")  # a restore takes these words away: they were said since


def not_looked_at(conn: Connection, directory: Directory, registry: Registry) -> list[str]:
    """Name what was not looked at since the restore: kinds of connections that work and can be looked for."""
    at = conn.execute(select(tables.installation.c.restored_at)).scalar()
    if at is None:
        return []
    done = select(_cursor.c.connection, _cursor.c.kind).where(_cursor.c.way == CHANGES, _cursor.c.swept_at >= at)
    looked = {(row.connection, row.kind) for row in conn.execute(done)}
    return [
        f"{kind.id} of {connection['name']}"
        for connection in directory.connections.values()
        if connection["state"] == "active" and connection["connector"] in registry.connectors
        for kind in registry.connectors[connection["connector"]].about.kinds
        if swept_every(connection, kind) is not None and (connection["id"], kind.id) not in looked
    ]


def looked_back(conn: Connection, directory: Directory, registry: Registry, hanging: Collection[str] = ()) -> bool:
    """Tell whether every tool was looked at since the restore, and everything that this brought was taken in.

    What came since the last look is news of its own: at a busy hub there is always something of that. What was tried since
    and cannot be taken in, or waits for a person to mend its connector, holds up nothing else.
    """
    if not_looked_at(conn, directory, registry):
        return False
    notice, delivery = tables.notice, tables.delivery
    last = conn.execute(
        select(func.max(_cursor.c.swept_at, type_=_cursor.c.swept_at.type)).where(_cursor.c.way == CHANGES)
    ).scalar()
    untried = or_(notice.c.reason.is_(None), notice.c.reason.not_in(_TRIED))
    still = select(notice.c.id).where(tables.OPEN_NOTICE, notice.c.state == "open", untried)
    usable = delivery.c.connector.in_(sorted(registry.connectors.keys() - set(hanging)))
    left = select(delivery.c.id).where(tables.OPEN_DELIVERY, delivery.c.state == "open", usable)
    if last is not None:
        still, left = still.where(notice.c.kept_at <= last), left.where(delivery.c.received_at <= last)
    return conn.execute(left.limit(1)).first() is None and conn.execute(still.limit(1)).first() is None


@dataclass(frozen=True, slots=True)
class LookedBack:
    """What a hub found when it looked, and by which configuration it judged that."""

    at: datetime
    configured: int


def has_looked_back(conn: Connection, items: Sequence[LookedBack]) -> list[bool]:
    """Note that what happened before the restore is known as far as it can be.

    Not where the configuration is another one by now: a connection that works again may not have been looked at.
    """
    return [_note(conn, one) for one in items]


def _note(conn: Connection, one: LookedBack) -> bool:
    table = tables.installation
    same = update(table).where(table.c.configured == one.configured)
    noted = conn.execute(same.values(looked_back_at=one.at)).rowcount > 0
    if noted:
        changed(conn)
    return noted


def drop_ended(conn: Connection, items: Sequence[datetime]) -> list[int]:
    """Drop signing secrets whose time is over. Gives how many."""
    table = tables.secret
    ended = (table.c.owner_kind == "endpoint") & (table.c.valid_until <= max(items))
    count = conn.execute(delete(table).where(ended)).rowcount
    return [count] * len(items)
