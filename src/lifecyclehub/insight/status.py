"""One screen: which connections live, what waits and why, what was refused, what a person must look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Table, func, select, text

from lifecyclehub.connector import About
from lifecyclehub.handoffs import Handoff
from lifecyclehub.insight.clocks import CHANGES, calls_of_day, calls_per_day, day_of, swept_every
from lifecyclehub.insight.findings import Finding, latest_findings
from lifecyclehub.store import tables
from lifecyclehub.store.breakers import Opened, read_breakers
from lifecyclehub.store.state import by
from lifecyclehub.store.things import Row

SHOWN_REFUSALS: Final = 5
SHOWN_PARKED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRequest:
    """A request that was not taken: facts about it only. `url` is what its signature was checked against."""

    endpoint: str
    at: datetime
    reason: str
    detail: str
    size: int
    url: str
    header_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatus:
    """An address in. `last_heard`: when something signed last came, to the minute; None for never."""

    id: str
    connector: str
    door: str
    connection: str | None
    state: str
    last_heard: datetime | None
    refusals: tuple[RefusedRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionStatus:
    """A hook at the vendor, as far as we know it."""

    id: str
    endpoint: str
    resource: str | None
    state: str
    reason: str | None
    made_at: datetime | None
    expires_at: datetime | None
    last_heard: datetime | None
    last_probe: datetime | None
    renewed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """How far looking for records of a kind is. `way`: changes, full (every night), import (when a person asks).

    `began_at` of the pass under way, which `listed` so many records; `found`: how many had to be looked at since the way
    was first gone; `missed`: how many of these no webhook had announced. `reason`: why it stands still until `not_before`.
    """

    kind: str
    way: str
    began_at: datetime | None
    swept_at: datetime | None
    not_before: datetime | None
    reason: str | None
    listed: int
    found: int
    missed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatus:
    """One account reached. `state` is active or paused (`reason` says why). `calls_per_day`: how many it may make, if known.

    `spared_until`: it failed too often (`spared_because`: how, at last), so calls wait until then; one then tries.
    """

    id: str
    name: str
    connector: str
    account_id: str
    account_name: str | None
    roles: tuple[str, ...]
    state: str
    reason: str | None
    listens: bool
    polls: bool
    last_heard: datetime | None
    last_sweep: datetime | None
    next_sweep: datetime | None
    subscriptions: tuple[SubscriptionStatus, ...]
    sweeps: tuple[SweepStatus, ...]
    calls_today: int
    calls_per_day: int | None
    spared_until: datetime | None = None
    spared_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How many are in a state for a reason. `oldest` is the id of the first."""

    state: str
    reason: str | None
    count: int
    oldest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedItem:
    """Something that waits for a person: an effect, a notice or a delivery."""

    id: str
    what: str
    reason: str | None
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """How much a handoff left alone, and the word for why (before-go-live, baseline, undecided, mapping)."""

    handoff: str
    code: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffStatus:
    """A handoff with its switch: off, shadow, approval or on; `go_live` is since when facts count."""

    id: str
    title: str
    state: str
    go_live: datetime | None
    missing_roles: tuple[str, ...]
    withheld: tuple[Withheld, ...]
    in_file: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorFault:
    """A connector that is installed but does not work, and what to do."""

    connector: str
    what: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the installation is, at one moment.

    `looking_back`: it was restored, and writes to no tool before it has looked at all of them.
    """

    at: datetime
    installation: str
    outbound_allowed: bool
    connections: tuple[ConnectionStatus, ...]
    endpoints: tuple[EndpointStatus, ...]
    deliveries: tuple[Waiting, ...]
    notices: tuple[Waiting, ...]
    effects: tuple[Waiting, ...]
    parked: tuple[ParkedItem, ...]
    handoffs: tuple[HandoffStatus, ...]
    findings: tuple[Finding, ...]
    connectors: tuple[ConnectorFault, ...] = field(default=())
    looking_back: bool = False

    def count(self, what: str, *states: str) -> int:
        """Count what waits: `count("effects", "parked", "in doubt")`."""
        waiting: tuple[Waiting, ...] = getattr(self, what)
        return sum(one.count for one in waiting if one.state in states)


def read_status(
    conn: Connection,
    *,
    abouts: Mapping[str, About],
    handoffs: Sequence[Handoff],
    now: datetime,
    hanging: Collection[str] = (),
    refused: Iterable[tuple[str, str, str]] = (),
) -> Status:
    """Read how things are. `hanging`: connectors that must be restarted; `refused`: (connector, reason, how to mend)."""
    installation = conn.execute(select(tables.installation)).mappings().one()
    rows = [dict(row) for row in conn.execute(_CONNECTED).mappings()]
    endpoints = _endpoints(conn)
    faults = [ConnectorFault(connector=name, what="it hangs; its work is held.", mend=_RESTART) for name in sorted(hanging)]
    return Status(
        at=now,
        installation=installation["id"],
        outbound_allowed=installation["outbound_allowed"],
        looking_back=installation["restored_at"] is not None and installation["looked_back_at"] is None,
        connections=_connections(conn, rows, endpoints, abouts, now),
        endpoints=endpoints,
        deliveries=_waiting(conn, tables.delivery, "state IN ('open', 'held')", "state = 'parked'"),
        notices=_waiting(conn, tables.notice, "state IN ('open', 'held')", "state = 'parked'"),
        effects=_waiting(conn, tables.effect, _OPEN_EFFECTS, "state = 'parked'"),
        parked=_parked(conn),
        handoffs=_handoffs(conn, handoffs, {role for row in rows for role in row["roles"]}),
        findings=latest_findings(conn),
        connectors=(*faults, *(ConnectorFault(connector=name, what=what, mend=mend) for name, what, mend in refused)),
    )


_CONNECTED: Final = select(tables.connection).where(tables.CONNECTED).order_by(tables.connection.c.id)
_RESTART: Final = "Start the hub again; if it comes back, upgrade the connector."
_OPEN_EFFECTS: Final = "state IN ('planned', 'held', 'ready', 'in flight', 'in doubt')"


def _waiting(conn: Connection, table: Table, *conditions: str) -> tuple[Waiting, ...]:
    """Count what is open or parked. The conditions are those of the partial indexes, word for word, or these are not used."""
    found = []
    for condition in conditions:
        statement = select(table.c.state, table.c.reason, func.count(), func.min(table.c.id)).where(text(condition))
        for state, reason, count, oldest in conn.execute(statement.group_by(table.c.state, table.c.reason)):
            found.append(Waiting(state=state, reason=_short(reason), count=count, oldest=oldest))
    return tuple(sorted(found, key=lambda one: (one.state, one.reason or "")))


def _short(reason: str | None) -> str | None:
    return reason[:200] if reason else reason


def _parked(conn: Connection) -> tuple[ParkedItem, ...]:
    found = []
    for table, what in ((tables.effect, "effect"), (tables.notice, "notice"), (tables.delivery, "delivery")):
        detail = table.c.detail if "detail" in table.c else table.c.reason
        statement = select(table.c.id, table.c.reason, detail).where(text("state = 'parked'")).order_by(table.c.id.desc())
        for identity, reason, said in conn.execute(statement.limit(SHOWN_PARKED)):
            found.append(ParkedItem(id=identity, what=what, reason=_short(reason), detail=said))
    return tuple(found)


def _endpoints(conn: Connection) -> tuple[EndpointStatus, ...]:
    table = tables.endpoint
    return tuple(
        EndpointStatus(
            id=row["id"],
            connector=row["connector"],
            door=row["door"],
            connection=row["connection"],
            state=row["state"],
            last_heard=row["last_heard"],
            refusals=_refusals(conn, row["id"]),
        )
        for row in conn.execute(select(table).where(table.c.state != "closed").order_by(table.c.id)).mappings()
    )


def _refusals(conn: Connection, endpoint: str) -> tuple[RefusedRequest, ...]:
    table = tables.refusal
    statement = select(table).where(table.c.endpoint == endpoint).order_by(table.c.id.desc()).limit(SHOWN_REFUSALS)
    return tuple(
        RefusedRequest(
            endpoint=endpoint,
            at=row["at"],
            reason=row["reason"],
            detail=row["detail"],
            size=row["size"],
            url=row["url"],
            header_names=tuple(row["header_names"]),
        )
        for row in conn.execute(statement).mappings()
    )


def _connections(
    conn: Connection, rows: Sequence[Row], endpoints: Sequence[EndpointStatus], abouts: Mapping[str, About], now: datetime
) -> tuple[ConnectionStatus, ...]:
    passes = select(tables.cursor).order_by(tables.cursor.c.kind, tables.cursor.c.way)
    cursors = by([dict(row) for row in conn.execute(passes).mappings()], "connection")
    spared = read_breakers(conn)
    asked = select(tables.subscription).order_by(tables.subscription.c.id)
    hooks = by([dict(row) for row in conn.execute(asked).mappings()], "connection")
    calls = calls_of_day(conn, day_of(now))
    return tuple(
        _connection(
            row,
            endpoints,
            abouts.get(row["connector"]),
            cursors.get(row["id"], []),
            hooks.get(row["id"], []),
            calls.get(row["id"], 0),
            spared.get(row["id"]),
        )
        for row in rows
    )


def _connection(
    row: Row,
    endpoints: Sequence[EndpointStatus],
    about: About | None,
    cursors: Sequence[Row],
    hooks: Sequence[Row],
    calls: int,
    spared: Opened | None,
) -> ConnectionStatus:
    swept = {one["kind"]: one["swept_at"] for one in cursors if one["way"] == CHANGES}
    shared = (None, row["connector"])
    mine = [one for one in endpoints if one.connection == row["id"] or (one.connection, one.connector) == shared]
    heard = [at for at in (*(one.last_heard for one in mine), *(one["last_heard"] for one in hooks)) if at]
    return ConnectionStatus(
        id=row["id"],
        name=row["name"],
        connector=row["connector"],
        account_id=row["account_id"],
        account_name=row["account"].get("name"),
        roles=tuple(row["roles"]),
        state=row["state"],
        reason=row["reason"],
        listens=row["listens"],
        polls=row["polls"],
        last_heard=max(heard, default=None),
        last_sweep=max((at for at in swept.values() if at), default=None),
        next_sweep=_next_sweep(row, about, swept),
        subscriptions=tuple(SubscriptionStatus(**{name: one[name] for name in SubscriptionStatus.__slots__}) for one in hooks),
        sweeps=tuple(SweepStatus(**{name: one[name] for name in SweepStatus.__slots__}) for one in cursors),
        calls_today=calls,
        calls_per_day=calls_per_day(row, about) if about else None,
        spared_until=spared.open_until if spared else None,
        spared_because=spared.reason if spared else None,
    )


def _next_sweep(row: Row, about: About | None, swept: Mapping[str, datetime | None]) -> datetime | None:
    """Give when a kind is swept next; None while the connection is paused, or for one that cannot be swept."""
    if about is None or row["state"] != "active":
        return None
    due = []
    for kind in about.kinds:
        every, last = swept_every(row, kind), swept.get(kind.id)
        if every is not None and last is not None:
            due.append(last + every)
    return min(due, default=None)


def _handoffs(conn: Connection, handoffs: Sequence[Handoff], played: set[str]) -> tuple[HandoffStatus, ...]:
    switches = {row["id"]: dict(row) for row in conn.execute(select(tables.handoff).order_by(tables.handoff.c.id)).mappings()}
    withheld = _withheld(conn)

    def status(identity: str, title: str, roles: Iterable[str], *, in_file: bool) -> HandoffStatus:
        switch = switches.get(identity) or {"state": "off", "go_live": None}
        return HandoffStatus(
            id=identity,
            title=title,
            state=switch["state"],
            go_live=switch["go_live"],
            missing_roles=tuple(sorted(set(roles) - played)),
            withheld=tuple(withheld.get(identity, ())),
            in_file=in_file,
        )

    named = [status(one.id, one.title, (effect.role for effect in one.effects), in_file=True) for one in handoffs]
    gone = [one for one in switches if one not in {handoff.id for handoff in handoffs}]
    return (*named, *(status(one, one, (), in_file=False) for one in gone))


def _withheld(conn: Connection) -> dict[str, list[Withheld]]:
    table = tables.finding
    statement = select(table.c.about, func.count()).where(table.c.kind == "withheld", table.c.settled_at.is_(None))
    found: dict[str, list[Withheld]] = {}
    for about, count in conn.execute(statement.group_by(table.c.about).order_by(table.c.about)):
        handoff, _, code = about.partition(": ")
        found.setdefault(handoff, []).append(Withheld(handoff=handoff, code=code, count=count))
    return found
