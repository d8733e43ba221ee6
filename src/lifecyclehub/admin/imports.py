"""Importing history: a full list from the beginning, taken up by the running hub and gone on with over restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from lifecyclehub.errors import ConfigurationError, nearest
from lifecyclehub.insight.clocks import IMPORT, swept_every
from lifecyclehub.intake.passes import Ask, Place, ask, read_passes
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row

if TYPE_CHECKING:
    from lifecyclehub.hub import Hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """How far the import of a kind is: records `listed` in this pass, notices `found` to be looked at, how many wait.

    `done`: everything is listed; what is still looked at shows in `open`. `reason`: why it stands still.
    """

    kind: str
    done: bool
    listed: int
    found: int
    open: int
    reason: str | None
    not_before: datetime | None


async def begin_import(hub: Hub, connection: Row, kinds: Sequence[str] = ()) -> dict[str, bool]:
    """Ask for everything that a connection's tool holds, of some kinds or all. Gives each kind: whether it is a new pass.

    One that is under way goes on, at once. Raises ConfigurationError for a paused connection and for a kind that
    cannot be listed.
    """
    about = hub.registry.get(connection["connector"]).about
    listed = {kind.id for kind in about.kinds if swept_every(connection, kind) is not None}
    for kind in kinds:
        if kind not in listed:
            raise ConfigurationError(f"{about.name} lists no {kind!r}.", mend=nearest(kind, listed))
    if not listed:
        raise ConfigurationError(f"{about.name} cannot list its records.", mend="Records come in as they change.")
    if connection["state"] != "active":
        raise ConfigurationError(
            "the connection is paused.", where=connection["name"], mend="Resume it first: lifecyclehub connections resume."
        )
    wanted = [kind.id for kind in about.kinds if kind.id in (kinds or listed)]
    asks = [Ask(Place(connection["id"], kind, IMPORT), hub.clock.now()) for kind in wanted]
    new = await hub.store.run_all(ask, asks)
    return dict(zip(wanted, new, strict=True))


def imports_of(conn: Connection, connection: str) -> list[Importing]:
    """Give how far a connection's imports are, by kind."""
    notice = tables.notice
    statement = (
        select(notice.c.kind, func.count())
        .where(tables.OPEN_NOTICE, notice.c.connection == connection, notice.c.way == "import")
        .group_by(notice.c.kind)
    )
    waiting: dict[str, int] = dict((kind, count) for kind, count in conn.execute(statement))  # noqa: C402
    return [
        Importing(
            kind=place.kind,
            done=row["began_at"] is None,
            listed=row["listed"],
            found=row["found"],
            open=waiting.get(place.kind, 0),
            reason=row["reason"],
            not_before=row["not_before"],
        )
        for place, row in sorted(read_passes(conn).items())
        if place.connection == connection and place.way == IMPORT
    ]
