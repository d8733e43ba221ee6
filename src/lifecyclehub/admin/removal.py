"""Taking a connection away: what would stop is said first; its hooks and credentials go, what it did stays and is explained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, delete, func, select, update

from lifecyclehub.admin.connections import pause_connection
from lifecyclehub.admin.effects import Answer, AnswerEffects, Aside, ParkEffects
from lifecyclehub.admin.endpoint_rows import ending_all, endings
from lifecyclehub.admin.endpoints import end_old, url_of
from lifecyclehub.admin.stored import changed, endpoints_of, list_connections
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.registry.registry import Registry
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from lifecyclehub.store.writer import as_operation

if TYPE_CHECKING:
    from lifecyclehub.hub import Hub

_WAITING: Final = ("planned", "held", "ready", "parked")
_UNSURE: Final = ("in flight", "in doubt")
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """A handoff that would not work any more, its switch, and why."""

    handoff: str
    state: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What removing a connection would mean: handoffs that stop, and effects that wait to be done through it."""

    stops: tuple[Stops, ...]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was done. `cancelled`: effects; `ended`: hooks in the tool; `by_hand`: addresses that a person must take out there."""

    connection: str
    stops: tuple[Stops, ...]
    cancelled: tuple[str, ...]
    ended: int
    by_hand: tuple[str, ...]


# --- before -----------------------------------------------------------------------------------------------------------


async def foresee_removal(hub: Hub, connection: Row) -> Foreseen:
    """Say what would stop. Raises ConfigurationError while it is not known what came of something that was sent."""
    waiting = await hub.store.read(_waiting, connection)
    stops = await hub.store.read(_stops, connection, hub.rules, hub.registry)
    return Foreseen(stops=stops, waiting=tuple(waiting))


def _waiting(conn: Connection, connection: Row) -> list[str]:
    table = tables.effect
    mine = select(table.c.id).where(table.c.connection == connection["id"]).order_by(table.c.id)
    unsure = list(conn.execute(mine.where(table.c.state.in_(_UNSURE))).scalars())
    if unsure:
        raise ConfigurationError(
            f"of {len(unsure)} effects it is not known yet what came of them: {_some(unsure)}.",
            where=f"connection {connection['name']}",
            mend="Wait until the hub has found out, or `lifecyclehub park` them and say it with `lifecyclehub unpark`.",
        )
    return list(conn.execute(mine.where(table.c.state.in_(_WAITING))).scalars())


def refuse_waiting(waiting: Sequence[str], connection: Row) -> None:
    """Raise ConfigurationError when effects wait to be done through the connection."""
    if waiting:
        raise ConfigurationError(
            f"{len(waiting)} effects wait to be done through it: {_some(waiting)}.",
            where=f"connection {connection['name']}",
            mend="Let them be done, or add --cancel: they are then cancelled for good. "
            "To stop for a while only: `lifecyclehub connections pause`.",
        )


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")


def _stops(conn: Connection, connection: Row, rules: Rules, registry: Registry) -> tuple[Stops, ...]:
    left = [one for one in list_connections(conn) if one["id"] != connection["id"]]
    roles = set(connection["roles"]) - {role for one in left for role in one["roles"]}
    things = _heard([connection], registry) - _heard(left, registry)
    switches = {row.id: row.state for row in conn.execute(select(tables.handoff.c.id, tables.handoff.c.state))}
    found = []
    for handoff in rules.handoffs.handoffs:
        lost = sorted({effect.role for effect in handoff.effects} & roles)
        why = [f"no connection plays {' or '.join(lost)} any more, so its effects are held"] if lost else []
        why += [f"nothing tells of a {handoff.per} any more"] if handoff.per in things else []
        if why:
            found.append(Stops(handoff=handoff.id, state=switches.get(handoff.id, "off"), why="; ".join(why)))
    return tuple(found)


def _heard(connections: Iterable[Row], registry: Registry) -> set[str]:
    known = [registry.connectors[one["connector"]] for one in connections if one["connector"] in registry.connectors]
    return {kind.fills for connector in known for kind in connector.about.kinds if kind.fills}


# --- removing ---------------------------------------------------------------------------------------------------------


async def remove_connection(hub: Hub, connection: Row, who: str, *, cancel: bool = False) -> Removed:
    """Take a connection away. `cancel`: also cancel for good what waits to be done through it.

    Its hooks are ended in the tool, its credentials and signing secrets forgotten; its records, links, effects and
    receipts stay, and the same account finds them when it is added again. Raises ConfigurationError; what was cancelled by
    then stays so, and the connection is paused.
    """
    foreseen = await foresee_removal(hub, connection)
    if not cancel:
        refuse_waiting(foreseen.waiting, connection)
    await pause_connection(hub, connection)
    cancelled = await _cancel(hub, connection, who)
    hooks = await hub.store.run(ending_all, connection["id"])
    with contextlib.suppress(ConfigurationError):  # its connector is not there any more
        await end_old(hub, connection)
    left = await hub.store.read(endings, connection["id"])
    by_hand = await hub.store.read(_by_hand, hub, connection, {row["endpoint"] for row in left})
    await hub.store.run(_removing, _Removing(connection, f"by {who}", hub.clock.now()))
    hub.client.forget(connection["grant"])
    await hub.reread()
    return Removed(
        connection=connection["name"],
        stops=foreseen.stops,
        cancelled=tuple(cancelled),
        ended=len(hooks) - len(left),
        by_hand=tuple(by_hand),
    )


async def _cancel(hub: Hub, connection: Row, who: str) -> list[str]:
    waiting = await hub.store.read(_waiting, connection)
    parked = await hub.store.read(_parked_of, waiting)
    aside = [Aside(effect=one, who=who, why="its connection is removed") for one in waiting if one not in parked]
    await hub.store.run_all(ParkEffects(hub.clock), aside)
    words = [Answer(effect=one, verdict="cancel", who=who) for one in waiting]
    await hub.store.run_all(AnswerEffects(hub.rules, hub.ids, hub.clock, hub.randomness), words)
    return waiting


def _parked_of(conn: Connection, effects: Sequence[str]) -> set[str]:
    table = tables.effect
    return set(conn.execute(select(table.c.id).where(table.c.id.in_(effects), table.c.state == "parked")).scalars())


def _by_hand(conn: Connection, hub: Hub, connection: Row, left: set[str]) -> list[str]:
    """Give the addresses that the tool goes on to call until a person takes them out there."""
    found = []
    for row in _doors_of(conn, connection):
        connector = hub.registry.connectors.get(row["connector"])
        door = connector.about.door(row["door"]) if connector else None
        if row["id"] in left or (door is not None and door.setup == "by_hand"):
            try:
                found.append(url_of(hub, row["id"], connection))
            except ConfigurationError:
                found.append(f"/hooks/{row['id']}")
    return found


def _doors_of(conn: Connection, connection: Row) -> list[Row]:
    """Give the endpoints that serve this connection alone: its own, and its vendor app's when no other is of that app."""
    table = tables.connection
    same = select(func.count()).where(table.c.connector == connection["connector"], tables.CONNECTED)
    alone = conn.execute(same).scalar() == 1
    return [row for row in endpoints_of(conn, connection) if row["connection"] is not None or alone]


@dataclass(frozen=True, slots=True)
class _Removing:
    """A connection to be taken away, by whom and when."""

    connection: Row
    who: str
    now: datetime


def _remove(conn: Connection, item: _Removing) -> None:
    row, identity, table = item.connection, item.connection["id"], tables.connection
    refuse_waiting(_waiting(conn, row), row)
    doors = [one["id"] for one in _doors_of(conn, row)]
    conn.execute(delete(tables.subscription).where(tables.subscription.c.connection == identity))
    conn.execute(update(tables.endpoint).where(tables.endpoint.c.id.in_(doors)).values(state="closed", registering_until=None))
    _forget(conn, "endpoint", doors)
    notice = tables.notice
    open_ones = (tables.OPEN_NOTICE, notice.c.connection == identity)
    values = {"state": "ignored", "reason": "unknown account", "holder": None, "not_before": None, "done_at": item.now}
    conn.execute(update(notice).where(*open_ones).values(detail=f"the connection {row['name']} was removed", **values))
    conn.execute(delete(tables.breaker).where(tables.breaker.c.connection == identity))
    name = f"{row['name']} (removed)"
    if conn.execute(select(table.c.id).where(table.c.name == name)).first() is not None:
        name = f"{name} {identity}"
    gone = {"name": name, "state": "removed", "reason": f"{item.who}, {item.now:%Y-%m-%d %H:%M} UTC"}
    conn.execute(update(table).where(table.c.id == identity).values(**gone))
    if conn.execute(select(table.c.id).where(table.c.grant == row["grant"], tables.CONNECTED)).first() is None:
        _forget(conn, "grant", [row["grant"]])
    changed(conn)


def _forget(conn: Connection, owner_kind: str, owners: Sequence[str]) -> None:
    secret = tables.secret
    conn.execute(delete(secret).where(secret.c.owner_kind == owner_kind, secret.c.owner.in_(owners)))


_removing = as_operation(_remove)
