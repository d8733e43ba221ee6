"""Endpoints: opening addresses, their signing secrets, and having the vendor call them."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lifecyclehub.admin.endpoint_rows import (
    SIGNING,
    Signing,
    Standing,
    dropping,
    endings,
    find_endpoint,
    opening,
    registering,
    secrets_of,
    signing,
    standing,
)
from lifecyclehub.connector import About, ByHand, Connector, Door, Endpoint, Subscription
from lifecyclehub.errors import ConfigurationError, HubError, RecordGone, Unsupported, nearest
from lifecyclehub.ports import base32
from lifecyclehub.registry.runner import cut
from lifecyclehub.store.things import Row
from lifecyclehub.vault import Vault
from lifecyclehub.vendor.call import HubCall

if TYPE_CHECKING:
    from lifecyclehub.hub import Hub

REGISTERING = timedelta(minutes=2)
OVERLAP_H = 24.0
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


async def open_endpoint(hub: Hub, connection: Row, door: str | None = None, resource: str | None = None) -> Row:
    """Give the address in for a connection: its own, or that of its whole vendor app where the vendor has one for all.

    Where the vendor makes a hook for each `resource`, each has an address and a secret of its own.
    """
    about = hub.registry.get(connection["connector"]).about
    wanted = door_of(about, door)
    if resource is not None and wanted.scope != "resource":
        raise ConfigurationError(f"{about.name} makes no webhooks for single resources.", mend="Leave the resource out.")
    row: Row = {
        "id": base32(int.from_bytes(hub.randomness.bytes(16)), 26),
        "connector": about.id,
        "door": wanted.name,
        "connection": None if wanted.scope == "app" else connection["id"],
        "resource": resource,
        "state": "listening",
        "registering_until": None,
        "last_heard": None,
        "created_at": hub.clock.now(),
    }
    opened = await hub.store.run(opening, row)
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
    await hub.store.run(signing, Signing(endpoint=endpoint_id, secret=row, now=now, until=now + timedelta(hours=overlap_h)))
    await hub.reread()


def _sealed(hub: Hub, endpoint: str, value: str, now: datetime) -> Row:
    secret = hub.ids.new("sec")
    sealed = hub.vault.seal("secret", secret, SIGNING, value)
    row: Row = {"id": secret, "owner_kind": "endpoint", "owner": endpoint, "field": SIGNING, "sealed": sealed, "state": "active"}
    return row | {"valid_from": now, "valid_until": None}


async def subscribe(
    hub: Hub, connection: Row, door: str | None = None, *, resource: str | None = None, reason: str | None = None
) -> Subscribed | ByHandSteps:
    """Have the vendor call our endpoint; where it has no call for that, give the steps for a person.

    While the vendor's call is open a handshake is answered; its secret counts only once the vendor's own reply confirms
    it. An earlier hook of the endpoint is ended once the new one stands. `resource`: what the hook is to be for, where the
    vendor makes one for each; `reason`: why it is made again. Raises ConfigurationError; the endpoint is then as before.
    """
    plugin = hub.registry.get(connection["connector"])
    way = door_of(plugin.about, door)
    row = await open_endpoint(hub, connection, way.name, resource)
    endpoint = Endpoint(id=row["id"], url=url_of(hub, row["id"], connection), door=way.name, resource=resource)
    now = hub.clock.now()
    await hub.store.run(registering, (row["id"], now + REGISTERING if way.handshake else None))
    made: Subscription | None = None
    try:
        answer = await _ask(hub, plugin, connection, endpoint)
        if isinstance(answer, ByHand):
            await hub.store.run(registering, (row["id"], None))
            return await _by_hand(hub, way, endpoint, answer)
        made = answer
        subscribed = await _confirm(hub, way, connection, endpoint, made, reason)
        await end_old(hub, connection)
        return subscribed
    except BaseException:
        await hub.store.run(registering, (row["id"], None))
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
            mend="Correct what the tool names, or check that this address reaches the hub from outside and that it runs.",
        ) from error


async def _by_hand(hub: Hub, door: Door, endpoint: Endpoint, answer: ByHand) -> ByHandSteps:
    known = await hub.store.read(secrets_of, endpoint.id, "active")
    steps = tuple(step.replace("{url}", endpoint.url) for step in answer.steps)
    return ByHandSteps(endpoint=endpoint.id, url=endpoint.url, steps=steps, hint=door.secret, needs_secret=not known)


async def end_old(hub: Hub, connection: Row) -> None:
    """End the hooks of a connection that newer ones took the place of; one that cannot be ended now is ended later."""
    plugin = hub.registry.get(connection["connector"])
    for row in await hub.store.read(endings, connection["id"]):
        with contextlib.suppress(HubError):
            target = await hub.target(connection["id"])
            old = Subscription(id=row["vendor_id"], resource=row["resource"])
            try:
                ending = plugin.unsubscribe(HubCall(hub.client, target), old)
                await cut(plugin.about.id, "unsubscribe", ending, target.timeout_s)
            except (RecordGone, Unsupported):
                pass  # gone already, or nothing that we could end
            await hub.store.run(dropping, row["id"])


async def _confirm(
    hub: Hub, door: Door, connection: Row, endpoint: Endpoint, made: Subscription, reason: str | None
) -> Subscribed:
    now = hub.clock.now()
    candidate = given = None
    if door.handshake is not None:
        offered = await hub.store.read(secrets_of, endpoint.id, "candidate")
        candidate = _confirmed(hub.vault, offered, made.secret, endpoint.url)
    elif made.secret is not None:
        given = _sealed(hub, endpoint.id, made.secret, now)
    active = await hub.store.read(secrets_of, endpoint.id, "active")
    row: Row = {
        "id": hub.ids.new("sub"),
        "connection": connection["id"],
        "endpoint": endpoint.id,
        "vendor_id": made.id,
        "resource": made.resource,
        "state": "active",
        "made_at": now,
        "expires_at": made.expires_at or (now + door.lifetime if door.lifetime else None),
        "last_heard": None,
        "last_probe": None,
    }
    until = now + timedelta(hours=OVERLAP_H)
    await hub.store.run(
        standing, Standing(subscription=row, now=now, until=until, reason=reason, candidate=candidate, given=given)
    )
    return Subscribed(
        endpoint=endpoint.id,
        url=endpoint.url,
        subscription=row["id"],
        expires_at=row["expires_at"],
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
        if len({_offer(vault, row) for row in offered}) == 1:  # the vendor may have asked twice
            return str(offered[-1]["id"])
        raise ConfigurationError(
            f"{len(offered)} handshakes came and the vendor's reply does not say which is its own.",
            where=url,
            mend="Subscribe again.",
        )
    for row in offered:
        if hmac.compare_digest(_offer(vault, row).encode(), said.encode()):
            return str(row["id"])
    raise ConfigurationError(
        "a handshake came that the vendor's own reply does not confirm: somebody else has called this address.",
        where=url,
        mend="Subscribe again; nothing that was offered is kept.",
    )


def _offer(vault: Vault, row: Row) -> str:
    return vault.unseal("secret", row["id"], row["field"], row["sealed"]).get_secret_value()


async def _take_back(hub: Hub, plugin: Connector, connection: Row, made: Subscription) -> None:
    """End a hook whose secret we do not have; it would only be refused. What fails here was said already."""
    try:
        target = await hub.target(connection["id"])
        ending = plugin.unsubscribe(HubCall(hub.client, target), made)
        await cut(plugin.about.id, "unsubscribe", ending, target.timeout_s)
    except HubError:
        return
