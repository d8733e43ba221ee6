"""Endpoints: opening addresses, their signing secrets, and having the vendor call them."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, select, update

from lifecyclehub.admin.stored import NotThere, changed, nearest
from lifecyclehub.connector import About, ByHand, Connector, Door, Endpoint, Subscription
from lifecyclehub.errors import ConfigurationError, HubError
from lifecyclehub.ports import base32
from lifecyclehub.registry.runner import cut
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.store.writer import as_operation
from lifecyclehub.vault import Vault
from lifecyclehub.vendor.call import HubCall

if TYPE_CHECKING:
    from lifecyclehub.hub import Hub

REGISTERING = timedelta(minutes=2)
OVERLAP_H = 24.0
_FIELD = "signing"
_LONGEST_SECRET = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """The vendor calls us from now on. `needs_secret`: it gave no signing secret, a person must enter it."""

    endpoint: str
    url: str
    subscription: str
    expires_at: datetime | None
    needs_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHandSteps:
    """A person must set the hook up in the tool. `needs_secret`: its signing secret is to be entered (`hint`: where it is)."""

    endpoint: str
    url: str
    steps: tuple[str, ...]
    hint: str
    needs_secret: bool


# --- operations -------------------------------------------------------------------------------------------------------


def _open(conn: Connection, wanted: Row) -> Row:
    """Find the endpoint again, or keep the new one: two at once must not make two of a vendor app's."""
    table = tables.endpoint
    own = table.c.connection.is_(None) if wanted["connection"] is None else table.c.connection == wanted["connection"]
    same = select(table).where(
        own, table.c.connector == wanted["connector"], table.c.door == wanted["door"], table.c.state != "closed"
    )
    known = conn.execute(same.order_by(table.c.created_at)).mappings().first()
    if known is not None:
        return dict(known)
    insert_all(conn, table, [wanted])
    changed(conn)
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signing:
    endpoint: str
    secret: Row
    now: datetime
    until: datetime


def _set_secret(conn: Connection, item: _Signing) -> None:
    _end_older(conn, item.endpoint, item.secret["id"], item.now, item.until)
    insert_all(conn, tables.secret, [item.secret])
    changed(conn)


def _end_older(conn: Connection, endpoint: str, but: str, now: datetime, until: datetime) -> None:
    """Let the older secrets serve until a moment; what was signed with them may still be under way."""
    table = tables.secret
    of = (
        (table.c.owner_kind == "endpoint") & (table.c.owner == endpoint) & (table.c.field == _FIELD) & (table.c.state == "active")
    )
    conn.execute(delete(table).where(of, table.c.valid_until <= now))
    older = of & (table.c.id != but) & (table.c.valid_until.is_(None) | (table.c.valid_until > until))
    conn.execute(update(table).where(older).values(valid_until=until))


def _register(conn: Connection, item: tuple[str, datetime | None]) -> None:
    """Let handshakes be answered until a moment; with None no more, and forget what they offered."""
    endpoint, until = item
    _drop_candidates(conn, endpoint)
    state = "registering" if until else "listening"
    conn.execute(update(tables.endpoint).where(tables.endpoint.c.id == endpoint).values(state=state, registering_until=until))
    changed(conn)


def _drop_candidates(conn: Connection, endpoint: str) -> None:
    table = tables.secret
    conn.execute(delete(table).where(table.c.owner_kind == "endpoint", table.c.owner == endpoint, table.c.state == "candidate"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """A subscription that stands: its row, and the secret that the vendor's own reply confirmed or gave."""

    subscription: Row
    now: datetime
    until: datetime
    candidate: str | None = None
    given: Row | None = None


def _stand(conn: Connection, item: _Standing) -> None:
    endpoint = item.subscription["endpoint"]
    secret = tables.secret
    confirmed = item.candidate or (item.given["id"] if item.given else None)
    if item.candidate:
        conn.execute(update(secret).where(secret.c.id == item.candidate).values(state="active", valid_from=item.now))
    if item.given:
        insert_all(conn, secret, [item.given])
    if confirmed:
        _end_older(conn, endpoint, confirmed, item.now, item.until)
    table = tables.subscription
    conn.execute(delete(table).where(table.c.endpoint == endpoint, table.c.connection == item.subscription["connection"]))
    insert_all(conn, table, [item.subscription])
    _register(conn, (endpoint, None))


_opening, _signing = as_operation(_open), as_operation(_set_secret)
_registering, _standing = as_operation(_register), as_operation(_stand)


# --- questions --------------------------------------------------------------------------------------------------------


def find_endpoint(conn: Connection, endpoint: str) -> Row:
    """Give an endpoint. Raises NotThere."""
    row = conn.execute(select(tables.endpoint).where(tables.endpoint.c.id == endpoint)).mappings().first()
    if row is None:
        raise NotThere(f"there is no endpoint {endpoint!r}.", mend="`lifecyclehub connections list` shows them.")
    return dict(row)


def _secrets(conn: Connection, endpoint: str, state: str) -> list[Row]:
    table = tables.secret
    of = (table.c.owner_kind == "endpoint") & (table.c.owner == endpoint) & (table.c.state == state)
    return [dict(row) for row in conn.execute(select(table).where(of).order_by(table.c.id)).mappings()]


def last_heard(conn: Connection, endpoint: str) -> datetime | None:
    """Say when the last valid delivery came to an endpoint."""
    heard: datetime | None = conn.execute(select(tables.endpoint.c.last_heard).where(tables.endpoint.c.id == endpoint)).scalar()
    return heard


# --- what others call -------------------------------------------------------------------------------------------------


def door_of(about: About, name: str | None) -> Door:
    """Give a door by its name, the first one for None. Raises ConfigurationError."""
    if not about.doors:
        raise ConfigurationError(f"{about.name} has no webhooks.", mend="Let the connection poll.")
    door = about.doors[0] if name is None else about.door(name)
    if door is None:
        raise ConfigurationError(
            f"{about.name} has no door {name!r}.", mend=nearest(str(name), [one.name for one in about.doors])
        )
    return door


async def open_endpoint(hub: Hub, connection: Row, door: str | None = None) -> Row:
    """Give the address in for a connection: its own, or that of its whole vendor app where the vendor has one for all."""
    about = hub.registry.get(connection["connector"]).about
    wanted = door_of(about, door)
    row: Row = {
        "id": base32(int.from_bytes(hub.randomness.bytes(16)), 26),
        "connector": about.id,
        "door": wanted.name,
        "connection": None if wanted.scope == "app" else connection["id"],
        "state": "listening",
        "registering_until": None,
        "last_heard": None,
        "created_at": hub.clock.now(),
    }
    opened = await hub.store.run(_opening, row)
    await hub.reread()
    return opened


def url_of(hub: Hub, endpoint: str, connection: Row) -> str:
    """Give the address that the vendor is to call. Raises ConfigurationError while nobody could know it."""
    settings = hub.settings
    if settings.public_url is None and connection["settings"].get("self_hosted") != "yes":
        raise ConfigurationError(
            "the hub has no public address, so the vendor cannot call it.",
            where=f"{settings.home / 'hub.toml'}: public_url",
            mend='Write public_url = "https://…", the address at which the internet reaches this hub.',
        )
    if settings.public_url is None and settings.port is None:
        raise ConfigurationError(
            "the hub has no port yet, so its address is not known.",
            where=str(settings.home / "hub.toml"),
            mend="Start it once with `lifecyclehub serve`; it keeps the port that it takes.",
        )
    return f"{hub.public_url()}/hooks/{endpoint}"


async def set_signing_secret(hub: Hub, endpoint_id: str, secret: str, *, overlap_h: float = OVERLAP_H) -> None:
    """Take a signing secret that a person entered; older ones serve for `overlap_h` more hours. Raises ConfigurationError."""
    await hub.store.read(find_endpoint, endpoint_id)
    value = secret.strip()
    if not value or len(value) > _LONGEST_SECRET or not value.isprintable():
        raise ConfigurationError("the signing secret is empty or no text.", mend="Copy it again from the tool, whole and alone.")
    now = hub.clock.now()
    row = _sealed(hub, endpoint_id, value, now)
    await hub.store.run(_signing, _Signing(endpoint=endpoint_id, secret=row, now=now, until=now + timedelta(hours=overlap_h)))
    await hub.reread()


def _sealed(hub: Hub, endpoint: str, value: str, now: datetime) -> Row:
    secret = hub.ids.new("sec")
    sealed = hub.vault.seal("secret", secret, _FIELD, value)
    row: Row = {"id": secret, "owner_kind": "endpoint", "owner": endpoint, "field": _FIELD, "sealed": sealed, "state": "active"}
    return row | {"valid_from": now, "valid_until": None}


async def subscribe(hub: Hub, connection: Row, door: str | None = None) -> Subscribed | ByHandSteps:
    """Have the vendor call our endpoint; where it has no call for that, give the steps for a person.

    While the vendor's call is open a handshake is answered; its secret counts only once the vendor's own reply confirms
    it. Raises ConfigurationError; the endpoint is then as it was before.
    """
    plugin = hub.registry.get(connection["connector"])
    way = door_of(plugin.about, door)
    row = await open_endpoint(hub, connection, way.name)
    endpoint = Endpoint(id=row["id"], url=url_of(hub, row["id"], connection), door=way.name)
    now = hub.clock.now()
    await hub.store.run(_registering, (row["id"], now + REGISTERING if way.handshake else None))
    made: Subscription | None = None
    try:
        answer = await _ask(hub, plugin, connection, endpoint)
        if isinstance(answer, ByHand):
            await hub.store.run(_registering, (row["id"], None))
            return await _by_hand(hub, way, endpoint, answer)
        made = answer
        return await _confirm(hub, way, connection, endpoint, made)
    except BaseException:
        await hub.store.run(_registering, (row["id"], None))
        if made is not None:
            await _take_back(hub, plugin, connection, made)
        raise
    finally:
        await hub.reread()


async def _ask(hub: Hub, plugin: Connector, connection: Row, endpoint: Endpoint) -> Subscription | ByHand:
    target = await hub.target(connection["id"])
    call = HubCall(hub.client, target)
    try:
        return await cut(plugin.about.id, "subscribe", plugin.subscribe(call, endpoint), 2 * target.timeout_s)
    except ConfigurationError:
        raise
    except HubError as error:
        raise ConfigurationError(
            f"{plugin.about.name} made no webhook: {error}.",
            where=endpoint.url,
            mend="Check that this address reaches the hub from outside, and that the hub is running.",
        ) from error


async def _by_hand(hub: Hub, door: Door, endpoint: Endpoint, answer: ByHand) -> ByHandSteps:
    known = await hub.store.read(_secrets, endpoint.id, "active")
    steps = tuple(step.replace("{url}", endpoint.url) for step in answer.steps)
    return ByHandSteps(endpoint=endpoint.id, url=endpoint.url, steps=steps, hint=door.secret, needs_secret=not known)


async def _confirm(hub: Hub, door: Door, connection: Row, endpoint: Endpoint, made: Subscription) -> Subscribed:
    now = hub.clock.now()
    candidate = given = None
    if door.handshake is not None:
        offered = await hub.store.read(_secrets, endpoint.id, "candidate")
        candidate = _confirmed(hub.vault, offered, made.secret, endpoint.url)
    elif made.secret is not None:
        given = _sealed(hub, endpoint.id, made.secret, now)
    active = await hub.store.read(_secrets, endpoint.id, "active")
    row: Row = {
        "id": hub.ids.new("sub"),
        "connection": connection["id"],
        "endpoint": endpoint.id,
        "vendor_id": made.id,
        "resource": made.resource,
        "state": "active",
        "reason": None,
        "expires_at": made.expires_at,
        "last_heard": None,
        "last_probe": None,
    }
    until = now + timedelta(hours=OVERLAP_H)
    await hub.store.run(_standing, _Standing(subscription=row, now=now, until=until, candidate=candidate, given=given))
    return Subscribed(
        endpoint=endpoint.id,
        url=endpoint.url,
        subscription=row["id"],
        expires_at=made.expires_at,
        needs_secret=not (candidate or given or active),
    )


def _confirmed(vault: Vault, offered: Sequence[Row], said: str | None, url: str) -> str:
    """Find the candidate that the vendor's own reply confirms. Raises ConfigurationError when there is none."""
    if not offered:
        raise ConfigurationError(
            "the vendor never reached this address, so no handshake took place.",
            where=url,
            mend="Check that the address is public, that it leads to this hub, and that the hub is running.",
        )
    if said is None:
        if len(offered) == 1:
            return str(offered[0]["id"])
        raise ConfigurationError(
            f"{len(offered)} handshakes came and the vendor's reply does not say which is its own.",
            where=url,
            mend="Subscribe again.",
        )
    for row in offered:
        value = vault.unseal("secret", row["id"], row["field"], row["sealed"]).get_secret_value()
        if hmac.compare_digest(value.encode(), said.encode()):
            return str(row["id"])
    raise ConfigurationError(
        "a handshake came that the vendor's own reply does not confirm: somebody else has called this address.",
        where=url,
        mend="Subscribe again; nothing that was offered is kept.",
    )


async def _take_back(hub: Hub, plugin: Connector, connection: Row, made: Subscription) -> None:
    """End a hook whose secret we do not have; it would only be refused. What fails here was said already."""
    try:
        target = await hub.target(connection["id"])
        ending = plugin.unsubscribe(HubCall(hub.client, target), made)
        await cut(plugin.about.id, "unsubscribe", ending, target.timeout_s)
    except HubError:
        return
