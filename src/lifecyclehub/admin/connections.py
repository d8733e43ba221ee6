"""Connections: adding them tried, testing, pausing, and giving them new credentials."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, update

from lifecyclehub.admin.credentials import TriedGrant, ask_accounts, auth_of, checked_settings, entered, try_tokens
from lifecyclehub.admin.endpoints import ByHandSteps, Subscribed, open_endpoint, set_signing_secret, subscribe
from lifecyclehub.admin.stored import changed, endpoints_of, find_connection, refusals_of
from lifecyclehub.connector import About, Account, Auth, Connector
from lifecyclehub.errors import ConfigurationError, nearest
from lifecyclehub.insight.check import BY_A_PERSON
from lifecyclehub.intake.notices import Release, release
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all, put_all
from lifecyclehub.store.writer import as_operation
from lifecyclehub.vault.credentials import sealed_tokens
from lifecyclehub.vendor.target import Target

if TYPE_CHECKING:
    from lifecyclehub.hub import Hub

__all__ = [
    "ByHandSteps",
    "Subscribed",
    "Tested",
    "add_connection",
    "new_credentials",
    "open_endpoint",
    "pause_connection",
    "resume_connection",
    "set_signing_secret",
    "subscribe",
    "test_connection",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


# --- what is written --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Grant:
    """A new grant with its sealed credentials."""

    row: Row
    sealed: Row


@dataclass(frozen=True, slots=True)
class _New:
    """A connection to be kept, with its grant where that is new."""

    connection: Row
    grant: _Grant | None


def _keep_grant(conn: Connection, grant: _Grant) -> None:
    insert_all(conn, tables.grant, [grant.row])
    put_all(conn, tables.secret, [grant.sealed])


def _add(conn: Connection, new: _New) -> Row:
    """Keep a connection. One that was removed is itself again, with its links and all that it did."""
    row, table = new.connection, tables.connection
    _refuse_twice(conn, row["connector"], row["name"], row["account_id"])
    if new.grant is not None:
        _keep_grant(conn, new.grant)
    same = (table.c.connector == row["connector"]) & (table.c.account_id == row["account_id"])
    known = conn.execute(select(table.c.id).where(same)).scalar()
    if known is None:
        insert_all(conn, table, [row])
    else:
        row = {**row, "id": known}
        conn.execute(update(table).where(same).values(**row))
    changed(conn)
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class _Renewed:
    """New credentials for all connections of a grant."""

    grant: str
    auth: str
    sealed: Row
    now: datetime


def _renew(conn: Connection, item: _Renewed) -> int:
    put_all(conn, tables.secret, [item.sealed])
    conn.execute(update(tables.grant).where(tables.grant.c.id == item.grant).values(auth=item.auth))
    table = tables.connection
    paused = (table.c.grant == item.grant) & (table.c.state == "paused")
    ours = paused & (table.c.reason.is_(None) | (table.c.reason != BY_A_PERSON))
    conn.execute(update(table).where(ours).values(state="active", reason=None))
    conn.execute(update(table).where(table.c.grant == item.grant).values(active_since=item.now))
    changed(conn)
    working = conn.execute(select(table.c.id).where(table.c.grant == item.grant, table.c.state == "active")).scalars()
    return sum(release(conn, [Release(one) for one in list(working)]))


def _resume(conn: Connection, item: tuple[str, datetime]) -> int:
    connection, now = item
    works = {"state": "active", "reason": None, "active_since": now}
    conn.execute(update(tables.connection).where(tables.connection.c.id == connection).values(**works))
    changed(conn)
    return sum(release(conn, [Release(connection)]))


def pause(conn: Connection, connection: str) -> None:
    """Send and fetch nothing more for a connection (its id), because a person says so; what arrives is kept and waits."""
    table = tables.connection
    conn.execute(update(table).where(table.c.id == connection).values(state="paused", reason=BY_A_PERSON))
    changed(conn)


_adding, _keeping, _renewing = as_operation(_add), as_operation(_keep_grant), as_operation(_renew)
_resuming, _pausing = as_operation(_resume), as_operation(pause)


def _refuse_twice(conn: Connection, connector: str, name: str, account_id: str | None) -> None:
    table = tables.connection
    if conn.execute(select(table.c.id).where(table.c.name == name)).first() is not None:
        raise ConfigurationError(f"there is a connection named {name!r} already.", mend="Choose another name.")
    if account_id is None:
        return
    same = (table.c.connector == connector, table.c.account_id == account_id, tables.CONNECTED)
    known = conn.execute(select(table.c.name).where(*same)).scalar()
    if known is not None:
        raise ConfigurationError(
            f"the account {account_id} is connected already, as {known!r}.",
            where=name,
            mend=f"Use that one, or give it new credentials: lifecyclehub connections reauthorize {known!r}.",
        )


# --- adding -----------------------------------------------------------------------------------------------------------


async def add_connection(  # noqa: PLR0913 (what an admin enters, each by its name)
    hub: Hub,
    *,
    name: str,
    connector: str,
    secrets: Mapping[str, str] | Callable[[Auth], Mapping[str, str]] | None = None,
    settings: Mapping[str, str] | None = None,
    auth: str | None = None,
    roles: Sequence[str] | None = None,
    account_id: str | None = None,
    listens: bool = True,
    polls: bool = False,
    grant_id: str | None = None,
) -> Row:
    """Try credentials at the vendor, pin the account, and keep both. Gives the connection's row.

    `grant_id` uses the credentials of a grant that is there, for a further account of it; else `secrets` by the names of
    the way in, or a function that asks for them: it is called once all the rest is known to be right. Raises
    ConfigurationError; nothing is kept then, but a single-use token that trying has exchanged is, and the error names
    its grant.
    """
    plugin = hub.registry.get(connector)
    about = plugin.about
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name.", mend="Use letters, digits, dots, dashes and spaces, 64 at most.")
    played = _checked_roles(about, roles)
    _check_ways(about, name, listens=listens, polls=polls)
    chosen = checked_settings(about, settings or {})
    await hub.store.read(_refuse_twice, connector, name, account_id)
    known = await hub.store.read(_grant_of, grant_id, connector) if grant_id else None
    way = auth_of(about, known["auth"] if known else auth)
    target = Target.of(
        connection=name,
        about=about,
        auth=way,
        grant=known["id"] if known else hub.ids.new("gra"),
        settings=chosen,
        self_hosted=chosen.get("self_hosted") == "yes",
    )
    tried = None
    if known is None:
        tried = TriedGrant(entered(way, secrets(way) if callable(secrets) else secrets or {}))
    try:
        asked = try_tokens(hub.client, plugin, target, tried) if tried else ask_accounts(hub.client, plugin, target)
        accounts = await asked
        account = _chosen(about, accounts, account_id)
        row: Row = {
            "id": hub.ids.new("con"),
            "name": name,
            "connector": connector,
            "grant": target.grant,
            "account_id": account.id,
            "account": {"name": account.name, "currency": account.currency, "timezone": account.timezone},
            "roles": played,
            "settings": chosen,
            "state": "active",
            "reason": None,
            "listens": listens,
            "polls": polls,
            "active_since": hub.clock.now(),
            "created_at": hub.clock.now(),
        }
        row = await hub.store.run(_adding, _New(row, _grant_rows(hub, target, tried) if tried else None))
    except ConfigurationError as error:
        if tried and tried.used_up:
            await hub.store.run(_keeping, _grant_rows(hub, target, tried))
            raise _with_grant(error, target.grant) from error
        raise
    await hub.reread()
    return row


def _with_grant(error: ConfigurationError, grant: str) -> ConfigurationError:
    kept = f"The token that you entered has been exchanged and serves no more; its successor is kept as the grant {grant}:"
    return ConfigurationError(error.what, where=error.where, mend=f"{error.mend} {kept} add the connection with that grant.")


def _grant_rows(hub: Hub, target: Target, tried: TriedGrant) -> _Grant:
    now = hub.clock.now()
    row: Row = {"id": target.grant, "connector": target.about.id, "auth": target.auth.name, "created_at": now}
    return _Grant(row, sealed_tokens(hub.vault, target.grant, tried.tokens, now))


def _grant_of(conn: Connection, grant: str, connector: str) -> Row:
    table = tables.grant
    row = conn.execute(select(table).where(table.c.id == grant, table.c.connector == connector)).mappings().first()
    if row is None:
        known = conn.execute(select(table.c.id).where(table.c.connector == connector)).scalars()
        raise ConfigurationError(f"{connector} has no grant {grant!r}.", mend=nearest(grant, known, none="Enter credentials."))
    return dict(row)


def _checked_roles(about: About, roles: Sequence[str] | None) -> list[str]:
    for role in roles or ():
        if role not in about.roles:
            raise ConfigurationError(f"{about.name} cannot play the role {role!r}.", mend=nearest(role, about.roles))
    return list(dict.fromkeys(roles)) if roles is not None else list(about.roles)


def _check_ways(about: About, name: str, *, listens: bool, polls: bool) -> None:
    if listens and not about.doors:
        raise ConfigurationError(f"{about.name} has no webhooks.", where=name, mend="Let the connection poll instead.")
    if polls and all(kind.poll_s is None for kind in about.kinds):
        raise ConfigurationError(f"{about.name} cannot be polled.", where=name, mend="Let the connection listen instead.")
    if not listens and not polls:
        raise ConfigurationError("it would neither listen nor poll.", where=name, mend="Choose at least one of the two.")


def _chosen(about: About, accounts: Sequence[Account], wanted: str | None) -> Account:
    listed = "; ".join(f"{account.id} ({account.name})" for account in accounts)
    if wanted is None:
        if len(accounts) == 1:
            return accounts[0]
        raise ConfigurationError(
            f"these credentials reach {len(accounts)} accounts.", where=about.name, mend=f"Name one of them: {listed}."
        )
    found = next((account for account in accounts if account.id == wanted), None)
    if found is None:
        raise ConfigurationError(
            f"these credentials do not reach the account {wanted}.", where=about.name, mend=f"They reach: {listed}."
        )
    return found


# --- later ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What a test found. `problem` is None when all is well; `refusals` are the last requests we did not take."""

    connection: Row
    problem: str | None
    accounts: tuple[Account, ...] = ()
    endpoints: list[Row] = field(default_factory=list)
    refusals: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether the vendor lets us in and the pinned account is still the one."""
        return self.problem is None


async def test_connection(hub: Hub, connection: Row) -> Tested:
    """Ask the vendor whether it still lets us into the pinned account, and show what was refused at our doors."""
    endpoints = await hub.store.read(endpoints_of, connection)
    refusals = await hub.store.read(refusals_of, [one["id"] for one in endpoints])
    facts: dict[str, Any] = {"connection": connection, "endpoints": endpoints, "refusals": refusals}
    try:
        plugin, target = await _target(hub, connection)
        accounts = await ask_accounts(hub.client, plugin, target)
    except ConfigurationError as error:
        return Tested(problem=str(error), **facts)
    if connection["account_id"] not in {account.id for account in accounts}:
        listed = "; ".join(f"{account.id} ({account.name})" for account in accounts)
        problem = f"the credentials no longer reach the account {connection['account_id']}, only: {listed}."
        return Tested(problem=problem, accounts=accounts, **facts)
    return Tested(problem=None, accounts=accounts, **facts)


async def _target(hub: Hub, connection: Row) -> tuple[Connector, Target]:
    return hub.registry.get(connection["connector"]), await hub.target(connection["id"])


async def new_credentials(hub: Hub, connection: Row, secrets: Mapping[str, str], auth: str | None = None) -> int:
    """Replace the credentials of a connection's grant once the vendor accepts them, and go on with what waited.

    Serves all connections of that grant; one that a person paused stays paused. Gives how many notices are released.
    Raises ConfigurationError, and nothing is changed then.
    """
    plugin, before = await _target(hub, connection)
    way = auth_of(plugin.about, auth or before.auth.name)
    target = Target.of(
        connection=connection["name"],
        about=plugin.about,
        auth=way,
        grant=connection["grant"],
        settings=connection["settings"],
        self_hosted=before.private,
    )
    tried = TriedGrant(entered(way, secrets))
    try:
        _chosen(plugin.about, await try_tokens(hub.client, plugin, target, tried), connection["account_id"])
    except ConfigurationError as error:
        if not tried.used_up:
            raise
        spent = "The token that you entered has been exchanged and serves no more: make a new one in the tool."
        raise ConfigurationError(error.what, where=error.where, mend=f"{error.mend} {spent}") from error
    now = hub.clock.now()
    sealed = sealed_tokens(hub.vault, connection["grant"], tried.tokens, now)
    released = await hub.store.run(_renewing, _Renewed(grant=connection["grant"], auth=way.name, sealed=sealed, now=now))
    hub.client.forget(connection["grant"])
    return released


async def pause_connection(hub: Hub, connection: Row) -> None:
    """Send and fetch nothing more for a connection; what arrives is kept and waits."""
    await hub.store.run(_pausing, connection["id"])


async def resume_connection(hub: Hub, connection: Row) -> int:
    """Go on with a connection. Gives how many notices are released."""
    return await hub.store.run(_resuming, (connection["id"], hub.clock.now()))


async def named_connection(hub: Hub, named: str) -> Row:
    """Give the connection with this name or id. Raises ConfigurationError that names the nearest."""
    return await hub.store.read(find_connection, named)
