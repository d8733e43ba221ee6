"""Replay: look again at what came in. Records are fetched afresh, so that what is true now counts; safe to repeat."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select, text, update

from lifecyclehub.admin.stored import find_connection
from lifecyclehub.errors import NotThere
from lifecyclehub.ports import Clock
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.state import rows
from lifecyclehub.store.things import Row

_CHUNK: Final = 400
_notice, _delivery = tables.notice, tables.delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to look at again: notices, whole deliveries, or all that came for a connection (name or id) since a time.

    `only_parked`: refuse notices that wait for no person.
    """

    notices: tuple[str, ...] = ()
    deliveries: tuple[str, ...] = ()
    connection: str | None = None
    since: datetime | None = None
    only_parked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Something that is not looked at again, and why."""

    id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How many notices and deliveries were opened again, and what was left as it is. The running hub takes them up."""

    notices: int
    deliveries: int
    left: tuple[Left, ...]


class Replay:
    """The operation. Raises NotThere, and ConfigurationError for an unknown connection; then nothing was changed."""

    def __init__(self, rules: Rules, clock: Clock) -> None:
        self._rules, self._clock = rules, clock

    def __call__(self, conn: Connection, items: Sequence[Wanted]) -> list[Replayed]:
        """Open again what is wanted."""
        return [self._one(conn, item) for item in items]

    def _one(self, conn: Connection, item: Wanted) -> Replayed:
        found = _there(_all_rows(conn, _notice, item.notices), item.notices, "notice")
        deliveries = _there(_all_rows(conn, _delivery, item.deliveries), item.deliveries, "delivery")
        found += rows(conn, _notice, "delivery", {row["id"] for row in deliveries})
        if item.connection is not None:
            connection = find_connection(conn, item.connection)
            found += _since(conn, connection, item.since)
            deliveries += _parked_since(conn, connection, item.since)
        left: list[Left] = []
        opened = self._open_notices(conn, found, left, only_parked=item.only_parked)
        return Replayed(notices=opened, deliveries=_open_deliveries(conn, deliveries, left), left=tuple(left))

    # --- notices --------------------------------------------------------------------------------------------------------

    def _open_notices(self, conn: Connection, found: Iterable[Row], left: list[Left], *, only_parked: bool) -> int:
        places = _Places(conn)
        groups: dict[str, list[str]] = {}
        for row in {row["id"]: row for row in found}.values():
            place = places.of(row)
            why = self._why_not(row, place, only_parked=only_parked)
            if why is not None or place is None:
                left.append(Left(id=row["id"], why=why or ""))
            else:
                groups.setdefault(place["id"], []).append(row["id"])
        # Without the payload's own document the record is fetched.
        again: dict[str, Any] = {
            "state": "open",
            "holder": None,
            "document": None,
            "not_before": self._clock.now(),
            "done_at": None,
        }
        again |= {"reason": None, "detail": None, "attempts": 0, "first_failed_at": None}
        for connection, ids in groups.items():
            for some in _chunks(ids):
                conn.execute(update(_notice).where(_notice.c.id.in_(some)).values(connection=connection, **again))
                of = select(_notice.c.delivery).where(_notice.c.id.in_(some))
                conn.execute(update(_delivery).where(_delivery.c.id.in_(of), _delivery.c.crash_count > 0).values(crash_count=0))
        return sum(len(ids) for ids in groups.values())

    def _why_not(self, row: Row, place: Row | None, *, only_parked: bool) -> str | None:
        """Say why a notice is not looked at again."""
        if only_parked and row["state"] != "parked":
            return f"it is {row['state']}, not parked."
        if row["state"] == "open":
            return "it is worked on already."
        if row["state"] == "held":
            return f"it waits ({row['reason']}) and goes on by itself."
        if place is None:
            return f"no connection serves the account {row['account']}: connect it first."
        mappings = self._rules.mappings.get(row["connector"])
        if mappings is None or mappings.inbound(row["kind"]) is None:
            return f"records of the kind {row['kind']} have no mapping."
        return None


class _Places:
    """Finds the connection of a notice as it is now: an account may have been connected since."""

    def __init__(self, conn: Connection) -> None:
        self._connections = [dict(row) for row in conn.execute(select(tables.connection).where(tables.CONNECTED)).mappings()]
        endpoints = conn.execute(select(tables.endpoint.c.id, tables.endpoint.c.connection))
        self._endpoints = {one.id: one.connection for one in endpoints}

    def of(self, notice: Row) -> Row | None:
        """Give the connection that a notice belongs to."""
        known = notice["connection"] or self._endpoints.get(notice["endpoint"])
        if known is not None:
            own = next((one for one in self._connections if one["id"] == known), None)
            return own if own is not None and notice["account"] in (None, own["account_id"]) else None
        wanted = (notice["connector"], notice["account"])
        return next((one for one in self._connections if (one["connector"], one["account_id"]) == wanted), None)


def _since(conn: Connection, connection: Row, since: datetime | None) -> list[Row]:
    """Give what came since a time: the last notice of each record, and all that wait for a person.

    Also of what came before the account was connected.
    """
    unplaced = and_(
        _notice.c.connection.is_(None),
        _notice.c.connector == connection["connector"],
        _notice.c.account == connection["account_id"],
    )
    mine = or_(_notice.c.connection == connection["id"], unplaced)
    last = select(func.max(_notice.c.id)).where(mine).group_by(_notice.c.kind, _notice.c.record_id)
    parked = select(_notice.c.id).where(text("state = 'parked'"), mine)
    if since is not None:
        last, parked = (one.where(_notice.c.kept_at >= since) for one in (last, parked))
    wanted = {*conn.execute(last).scalars(), *conn.execute(parked).scalars()}
    found = _all_rows(conn, _notice, sorted(wanted))
    return [row for row in found if row["state"] not in ("open", "held")]


# --- deliveries ---------------------------------------------------------------------------------------------------------


def _parked_since(conn: Connection, connection: Row, since: datetime | None) -> list[Row]:
    own = select(tables.endpoint.c.id).where(tables.endpoint.c.connection == connection["id"])
    mine = or_(_delivery.c.connection == connection["id"], _delivery.c.endpoint.in_(own))
    statement = select(_delivery).where(text("state = 'parked'"), mine).order_by(_delivery.c.id)
    if since is not None:
        statement = statement.where(_delivery.c.received_at >= since)
    return [dict(row) for row in conn.execute(statement).mappings()]


def _open_deliveries(conn: Connection, found: Iterable[Row], left: list[Left]) -> int:
    """Open parked deliveries, to be read again. Equal bytes of one endpoint are read once."""
    opened = 0
    for row in {row["id"]: row for row in found}.values():
        if row["state"] == "split":
            continue  # its notices are what is looked at again
        if row["state"] != "parked":
            left.append(Left(id=row["id"], why="it is read already."))
        elif row["way"] == "webhook" and _same_is_open(conn, row):
            left.append(Left(id=row["id"], why="another delivery with the same bytes is read already."))
        else:
            values = {"state": "open", "holder": None, "reason": None, "crash_count": 0}
            conn.execute(update(_delivery).where(_delivery.c.id == row["id"]).values(**values))
            opened += 1
    return opened


def _same_is_open(conn: Connection, row: Row) -> bool:
    same = (_delivery.c.endpoint == row["endpoint"], _delivery.c.body_hash == row["body_hash"])
    statement = select(_delivery.c.id).where(*same, _delivery.c.state == "open", _delivery.c.way == "webhook")
    return conn.execute(statement).first() is not None


def _all_rows(conn: Connection, table: Any, ids: Collection[str]) -> list[Row]:
    return rows(conn, table, "id", ids)


def _there(found: list[Row], wanted: Sequence[str], what: str) -> list[Row]:
    missing = sorted(set(wanted) - {row["id"] for row in found})
    if missing:
        raise NotThere(f"there is no {what} {missing[0]}.", mend="Take the id from a list. Nothing was opened again.")
    return found


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
