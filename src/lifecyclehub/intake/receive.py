"""Steps 1 and 2, receive and verify: what is not a signed delivery for one of our endpoints goes no further.

Order: endpoint, size, encoding, handshake, media type, signature over the raw bytes. Parsing comes after keeping.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select

from lifecyclehub.errors import DeliveryRejected
from lifecyclehub.intake.directory import Directory, Entrance
from lifecyclehub.intake.keep import Arrival, body_hash, keep
from lifecyclehub.ports import Clock, Ids
from lifecyclehub.redaction import NOBODY, Erased
from lifecyclehub.signatures import verify
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all
from lifecyclehub.store.writer import Store, as_operation
from lifecyclehub.vault import Vault

MAX_BODY = 1024 * 1024
LONGEST_KEY = 200
KEPT_REFUSALS = 20
NOTED_WITHIN_S = 10.0  # of more refusals within such a time no facts are kept: they would only push each other out
MOST_CANDIDATES = 8
_KEPT_HEADERS = 100
# What vendors and the proxies between prove themselves with is nobody's business later.
_SECRETIVE: Final = re.compile(r"auth|cookie|token|secret|passw|jwt|assertion|oidc|api-?key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request as it came: `headers` with lower-case names, `url` as we are known to the world."""

    endpoint: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender hears. Never a body."""

    status: int
    headers: Mapping[str, str]


def _refuse(conn: Connection, row: Row) -> None:
    """Keep facts about a refusal, the last twenty per endpoint: a wrong public URL is the commonest first-day problem."""
    table = tables.refusal
    insert_all(conn, table, [row])
    old = select(table.c.id).where(table.c.endpoint == row["endpoint"]).order_by(table.c.id.desc()).offset(KEPT_REFUSALS)
    ids = list(conn.execute(old).scalars())
    if ids:
        conn.execute(delete(table).where(table.c.id.in_(ids)))


def _candidate(conn: Connection, row: Row) -> bool:
    """Keep a handshake's secret as a candidate until the vendor's own reply confirms it; False when there are too many."""
    table = tables.secret
    same = (table.c.owner_kind == row["owner_kind"], table.c.owner == row["owner"], table.c.state == "candidate")
    if int(conn.execute(select(func.count()).select_from(table).where(*same)).scalar_one()) >= MOST_CANDIDATES:
        return False
    insert_all(conn, table, [row])
    return True


def _configured(conn: Connection) -> int:
    return int(conn.execute(select(tables.installation.c.configured)).scalar() or 0)


refuse = as_operation(_refuse)
keep_candidate = as_operation(_candidate)


class Reception:
    """Takes requests in. `directory` gives the present one; `reread` a fresh one, for what may just have been set up."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ids: Ids,
        vault: Vault,
        directory: Callable[[], Directory],
        reread: Callable[[], Awaitable[Directory]],
        kept: Callable[[Arrival], None],
        holder: str | None = None,
    ) -> None:
        self._store, self._clock, self._ids, self._vault = store, clock, ids, vault
        self._directory, self._reread, self._kept = directory, reread, kept
        self.erased: Callable[[], Erased] = lambda: NOBODY
        self.holder = holder  # who has in hand what is kept; None while this process works on nothing
        self._looking = asyncio.Lock()
        self._looks = 0
        self._noted: dict[str, deque[float]] = {}

    async def receive(self, incoming: Incoming) -> Answer:
        """Keep a delivery and say so. Raises DeliveryRejected with the status to answer; only facts of it are kept."""
        directory = self._directory()
        if incoming.endpoint not in directory.entrances:
            directory = await self._newest()
        entrance = directory.entrances.get(incoming.endpoint)
        if incoming.endpoint in directory.shut:  # a vendor that hears 404 gives the hook up; hearing 503 it calls again
            raise DeliveryRejected(503, "shut", directory.shut[incoming.endpoint])
        if entrance is None:
            raise DeliveryRejected(404, "unknown-endpoint", "there is no such endpoint")
        try:
            return await self._through(entrance, incoming)
        except DeliveryRejected as rejection:
            await self._note(incoming, rejection)
            raise

    async def too_slow(self, incoming: Incoming) -> None:
        """Keep the fact that a body did not arrive in time; `incoming` holds what came of it."""
        if incoming.endpoint in self._directory().entrances:
            await self._note(incoming, DeliveryRejected(408, "too-slow", "the body did not arrive in time"))

    async def _newest(self) -> Directory:
        """Give the directory as it is now, read anew only where something changed since.

        Strangers can ask for it as often as they like: whoever comes while one looks shares the next look.
        """
        asked = self._looks
        async with self._looking:
            if self._looks > asked:
                return self._directory()  # somebody has looked since
            self._looks += 1
            if await self._store.read(_configured) == self._directory().configured:
                return self._directory()
            return await self._reread()

    async def _through(self, entrance: Entrance, incoming: Incoming) -> Answer:
        if len(incoming.body) > MAX_BODY:
            raise DeliveryRejected(413, "too-large", f"{len(incoming.body)} bytes; at most {MAX_BODY} are taken")
        if incoming.headers.get("content-encoding", "identity") not in ("", "identity"):
            raise DeliveryRejected(415, "compressed", "a compressed body is not taken; send it as it is")
        handshake = entrance.door.handshake
        if handshake is not None and (offered := incoming.headers.get(handshake.header.lower())):
            return await self._shake_hands(entrance, handshake.header, offered)
        self._check_media(entrance, incoming)
        secret = await self._verified(entrance, incoming)
        await self._keep(entrance, incoming, secret)
        return Answer(entrance.door.answer, {})

    async def _shake_hands(self, entrance: Entrance, header: str, offered: str) -> Answer:
        """Echo a handshake's secret, only while our own subscribe call is open. The one unsigned change there is."""
        fresh = (await self._newest()).entrances.get(entrance.id)
        now = self._clock.now()
        if fresh is None or not fresh.registering(now):
            raise DeliveryRejected(403, "not-registering", "a handshake is answered only while a subscription is being made")
        if not 8 <= len(offered) <= 512 or not offered.isascii() or not offered.isprintable():
            raise DeliveryRejected(400, "bad-handshake", "the offered secret is no printable text of 8 to 512 characters")
        secret = self._ids.new("sec")
        row: Row = {"id": secret, "owner_kind": "endpoint", "owner": entrance.id, "field": "signing", "state": "candidate"}
        row |= {"sealed": self._vault.seal("secret", secret, "signing", offered), "valid_from": now, "valid_until": None}
        if not await self._store.run(keep_candidate, row):
            raise DeliveryRejected(403, "too-many-handshakes", f"{MOST_CANDIDATES} secrets were offered already")
        return Answer(200, {header: offered})

    @staticmethod
    def _check_media(entrance: Entrance, incoming: Incoming) -> None:
        media, _, parameters = incoming.headers.get("content-type", "").partition(";")
        if media.strip().lower() not in entrance.door.media:
            wanted = " or ".join(sorted(entrance.door.media))
            raise DeliveryRejected(415, "wrong-media-type", f"{media.strip() or 'no content type'} is not taken; send {wanted}")
        charset = parameters.lower().replace(" ", "").replace('"', "")
        if charset.startswith("charset=") and charset not in ("charset=utf-8", "charset=utf8"):
            raise DeliveryRejected(415, "wrong-charset", f"{parameters.strip()} is not taken; send UTF-8")

    async def _verified(self, entrance: Entrance, incoming: Incoming) -> str:
        now = self._clock.now()
        verdict = self._verify(entrance, incoming, now)
        if not verdict.ok and verdict.reason in ("bad-signature", "no-secret"):
            fresh = (await self._newest()).entrances.get(entrance.id)  # the secret may have been stored a moment ago
            verdict = self._verify(fresh, incoming, now) if fresh is not None else verdict
        if not verdict.ok:
            raise DeliveryRejected(401, verdict.reason, f"{verdict.detail} (verified against {incoming.url})")
        return str(verdict.secret_id)

    @staticmethod
    def _verify(entrance: Entrance, incoming: Incoming, now: datetime) -> Any:
        return verify(
            entrance.door.signature,
            entrance.secrets_at(now),
            method=incoming.method,
            url=incoming.url,
            headers=incoming.headers,
            body=incoming.body,
            now=now,
        )

    async def _keep(self, entrance: Entrance, incoming: Incoming, secret: str) -> None:
        door, erased = entrance.door, self.erased()
        arrival = Arrival(
            id=self._ids.new("dlv"),
            endpoint=entrance.id,
            connection=None,
            connector=entrance.connector,
            way="webhook",
            door=door.name,
            vendor_key=_key_of(incoming.headers.get(door.delivery_key.lower(), "")) if door.delivery_key else None,
            headers=erased.value(_kept_headers(incoming.headers, door.signature.header)),
            body=erased.body(incoming.body),
            received_at=self._clock.now(),
            secret=secret,
            holder=self.holder,
        )
        await self._store.run(keep, arrival)
        self._kept(arrival)

    async def _note(self, incoming: Incoming, rejection: DeliveryRejected) -> None:
        moment = self._clock.monotonic()
        noted = self._noted.setdefault(incoming.endpoint, deque(maxlen=KEPT_REFUSALS))
        if len(noted) == KEPT_REFUSALS and moment - noted[0] < NOTED_WITHIN_S:
            return
        noted.append(moment)
        await self._store.run(
            refuse,
            {
                "id": self._ids.new("ref"),
                "endpoint": incoming.endpoint,
                "at": self._clock.now(),
                "reason": rejection.reason,
                "detail": rejection.detail,
                "size": len(incoming.body),
                "body_hash": body_hash(incoming.body),
                "header_names": sorted(incoming.headers)[:_KEPT_HEADERS],
                "url": incoming.url,
            },
        )


def _key_of(said: str) -> str | None:
    """Give a delivery's name as it is kept: one that is too long for an index by its hash, none where nothing was said."""
    said = said.strip()
    return (said if len(said) <= LONGEST_KEY else f"sha256:{body_hash(said.encode())}") or None


def _kept_headers(headers: Mapping[str, str], signature: str) -> dict[str, str]:
    """Keep a delivery's headers but those that hold credentials."""
    signed, some = signature.lower(), list(headers.items())[:_KEPT_HEADERS]
    return {name: value for name, value in some if name != signed and not _is_secretive(name)}


@lru_cache(maxsize=1024)
def _is_secretive(name: str) -> bool:
    return _SECRETIVE.search(name) is not None
