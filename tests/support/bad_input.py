"""A hub with four real connectors and vendors made of respx: what strangers send, what came of it, and what else moved.

async with hall(tmp_path) as h:
    async with h.undisturbed("refusal"):
        answer = await h.knock("hubspot", h.deal_changed("1"), signature="wrong")
    assert answer.status_code == 401
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import respx
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Connection, event, select, update

from lifecyclehub.connector import Connector
from lifecyclehub.hub import Hub
from lifecyclehub.ports import SystemClock
from lifecyclehub.registry.registry import Registry
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables as t
from lifecyclehub.store.upsert import insert_all, put_all
from lifecyclehub.vault import Vault
from lifecyclehub.vault.credentials import sealed_tokens
from lifecyclehub.vendor.grants import Tokens
from lifecyclehub.web.app import create_app
from tests.support.home import installed, make_home

PUBLIC = "https://hub.northwind.example"
SECRET = "invented-signing-secret"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ACCOUNTS = {
    "hubspot": "24810377",
    "asana": "1200011112222333",
    "xero": "5e2b7a10-3c4d-4f6a-9b1e-0d7c8a9f1e21",
    "zendesk": "24681357",
}
# Doors that serve all accounts of one vendor app; the others belong to one connection.
APP_WIDE = ("hubspot", "xero")
ACCESS = {
    "hubspot": ("private_app", {"token": "pat-invented"}),
    "asana": ("token", {"token": "1/invented"}),
    "xero": ("custom_connection", {"client_id": "invented", "client_secret": "invented"}),
    "zendesk": ("oauth_client", {"client_id": "invented", "client_secret": "invented"}),
}
SETTINGS = {"zendesk": {"subdomain": "northwind"}}
ROLES = {"hubspot": "crm", "asana": "project", "xero": "invoicing", "zendesk": "helpdesk"}
WON = "won-deal-starts-delivery"
# The hub's own clockwork, which goes on whatever comes in.
CLOCKWORK = ("cursor",)


class PutForward(SystemClock):
    """The machine's clock and so many seconds more; sleeping puts it forward. `put_s`: only the wall clock is put."""

    def __init__(self) -> None:
        self.ahead_s = self.put_s = self.monotonic_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s + self.put_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s + self.monotonic_s


def hmac_base64(message: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()


def signed(connector: str, url: str, body: bytes, at: datetime, secret: str = SECRET, method: str = "POST") -> dict[str, str]:
    """Sign as the vendor does, from its own description."""
    match connector:
        case "hubspot":
            stamp = str(int(at.timestamp() * 1000))
            message = method.encode() + url.encode() + body + stamp.encode()
            return {"X-HubSpot-Signature-v3": hmac_base64(message, secret), "X-HubSpot-Request-Timestamp": stamp}
        case "asana":
            return {"X-Hook-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
        case "xero":
            return {"x-xero-signature": hmac_base64(body, secret)}
        case _:
            stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            return {
                "X-Zendesk-Webhook-Signature": hmac_base64(stamp.encode() + body, secret),
                "X-Zendesk-Webhook-Signature-Timestamp": stamp,
            }


SIGNATURES = {
    "hubspot": "X-HubSpot-Signature-v3",
    "asana": "X-Hook-Signature",
    "xero": "x-xero-signature",
    "zendesk": "X-Zendesk-Webhook-Signature",
}


@dataclass
class Vendors:
    """What the four tools answer, and what was made in them."""

    router: respx.MockRouter
    deals: dict[str, Any] = field(default_factory=dict)
    companies: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Callable[[httpx.Request], httpx.Response]] = field(default_factory=dict)
    made: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.router.route(host="api.hubapi.com").mock(side_effect=self._hubspot)
        self.router.route(host="app.asana.com").mock(side_effect=self._asana)
        self.router.route(host="identity.xero.com").mock(side_effect=lambda _: _json(_TOKEN))
        self.router.route(host="northwind.zendesk.com", path="/oauth/tokens").mock(side_effect=lambda _: _json(_TOKEN))
        self.router.route(host="api.xero.com").mock(side_effect=self._said("xero"))
        self.router.route(host="northwind.zendesk.com").mock(side_effect=self._said("zendesk"))

    def _said(self, vendor: str) -> Callable[[httpx.Request], httpx.Response]:
        def answer(request: httpx.Request) -> httpx.Response:
            return self.answers.get(vendor, lambda _: httpx.Response(404, json={}))(request)

        return answer

    def _hubspot(self, request: httpx.Request) -> httpx.Response:
        if (other := self.answers.get("hubspot")) is not None:
            return other(request)
        *_, collection, record = request.url.path.split("/")
        shelf = {"deals": self.deals, "companies": self.companies}.get(collection, {})
        if (found := shelf.get(record)) is not None:
            return found if isinstance(found, httpx.Response) else _json(found)
        return httpx.Response(404, json={"status": "error", "message": "resource not found"})

    def _asana(self, request: httpx.Request) -> httpx.Response:
        if (other := self.answers.get("asana")) is not None:
            return other(request)
        if request.method == "POST":
            data = json.loads(request.content)["data"]
            gid = str(1_209_000_000_000_100 + len(self.made))
            self.made.append((request.url.path, data))
            return _json({"data": {"gid": gid, "name": data.get("name"), "permalink_url": f"https://app.asana.com/0/{gid}"}}, 201)
        return _json({"data": []})


_TOKEN = {"access_token": "invented-access", "token_type": "bearer", "expires_in": 1800}


def _json(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def a_deal(
    record_id: str, *, stage: str = "appointmentscheduled", amount: str | None = "12500.00", **more: Any
) -> dict[str, Any]:
    """A deal as HubSpot gives it."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    properties = {
        "dealname": f"Website {record_id}",
        "dealstage": stage,
        "amount": amount,
        "deal_currency_code": "EUR",
        "createdate": stamp,
        "hs_lastmodifieddate": stamp,
        **more,
    }
    return {
        "id": record_id,
        "properties": properties,
        "propertiesWithHistory": {"dealstage": [{"value": stage, "timestamp": stamp}]},
        "archived": False,
    }


def deal_entry(record_id: str | None, event: int, **more: Any) -> dict[str, Any]:
    """One entry of a HubSpot batch."""
    entry: dict[str, Any] = {
        "eventId": event,
        "subscriptionId": 4100016,
        "portalId": int(ACCOUNTS["hubspot"]),
        "appId": 1740025,
        "occurredAt": 1_777_886_998_123,
        "subscriptionType": "deal.propertyChange",
        "attemptNumber": 0,
        "objectId": record_id,
        "propertyName": "dealstage",
        "propertyValue": "closedwon",
        "changeSource": "CRM_UI",
    }
    return {name: value for name, value in {**entry, **more}.items() if value is not None}


@dataclass
class Hall:
    """The hub, its doors, and the vendors behind it."""

    settings: Settings
    registry: Registry
    clock: PutForward
    vendors: Vendors
    hub: Hub
    app: FastAPI
    http: httpx.AsyncClient
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # --- knocking ------------------------------------------------------------------------------------------------------

    def deal_changed(self, record_id: str, **more: Any) -> bytes:
        """A HubSpot delivery of one entry, with an event id of its own."""
        return json.dumps([deal_entry(record_id, next(self.numbers), **more)]).encode()

    async def win(self) -> None:
        """Let a deal be won in the CRM, and what comes of it be done."""
        self.vendors.deals["1"] = a_deal("1", stage="closedwon")
        assert (await self.knock("hubspot", self.deal_changed("1"))).is_success
        await self.hub.settled()

    async def knock(
        self,
        connector: str,
        body: bytes,
        *,
        at: datetime | None = None,
        secret: str = SECRET,
        signature: str | None = "",
        headers: dict[str, str | None] | None = None,
        method: str = "POST",
    ) -> httpx.Response:
        """Send a delivery. `signature`: None leaves it out, a text replaces it; `headers`: None as a value leaves one out."""
        path = f"/hooks/end_{connector}"
        sent: dict[str, str | None] = {"content-type": "application/json"}
        sent |= signed(connector, PUBLIC + path, body, at or self.clock.now(), secret)
        if signature != "":
            sent[SIGNATURES[connector]] = signature
        sent |= headers or {}
        return await self.http.request(
            method,
            path,
            content=body,
            headers={name: value.encode("latin-1") for name, value in sent.items() if value is not None},
        )

    async def good(self) -> None:
        """A good neighbour: its delivery is taken, its record looked at, its notice ends processed."""
        record_id = str(900_000 + next(self.numbers))
        self.vendors.deals[record_id] = a_deal(record_id)
        answer = await self.knock("hubspot", self.deal_changed(record_id))
        assert answer.status_code in (200, 202, 204), answer.text
        await self.hub.settled()
        assert [row["state"] for row in self.rows(t.notice, record_id=record_id)] == ["processed"]
        assert len(self.rows(t.link, record_id=record_id)) == 1

    @asynccontextmanager
    async def undisturbed(self, *but: str) -> AsyncIterator[None]:
        """What happens within changes nothing except rows of these tables, and neighbours before and after are served."""
        await self.good()
        before = self.everything()
        yield
        await self.hub.settled()
        after = self.everything()
        moved = {name for name in after if after[name] != before[name]}
        if "refusal" not in but:
            moved.discard("heard")
        assert moved <= {*but, *CLOCKWORK}, {name: _difference(before[name], after[name]) for name in moved - set(but)}
        for name in {*but} & moved:  # what is new may be new; what was there stays as it was
            gone = [row for row in before[name] if row not in after[name]]
            assert gone == [], f"{name} lost or changed {gone}"
        await self.good()

    # --- looking -------------------------------------------------------------------------------------------------------

    def rows(self, table: Any, **equal: Any) -> list[dict[str, Any]]:
        """Give the rows with these values, oldest first."""
        statement = select(table).where(*(table.c[name] == value for name, value in equal.items()))
        if "id" in table.c:
            statement = statement.order_by(table.c.id)
        with self.hub.engine.connect().execution_options(write=False) as conn:
            return [dict(row) for row in conn.execute(statement).mappings()]

    def everything(self) -> dict[str, list[str]]:
        """Give all rows of all tables; when a valid delivery last came counts apart, as `heard`."""
        with self.hub.engine.connect().execution_options(write=False) as conn:
            read = {name: conn.exec_driver_sql(f"SELECT * FROM {name}").mappings() for name in t.metadata.tables}
            found = {name: [dict(row) for row in rows] for name, rows in read.items()}
        found["heard"] = [{row["id"]: row.pop("last_heard")} for row in found["endpoint"]]
        return {name: sorted(map(repr, rows)) for name, rows in found.items()}

    def refusals(self, connector: str) -> list[dict[str, Any]]:
        """Give the facts about what was refused at a door."""
        return self.rows(t.refusal, endpoint=f"end_{connector}")

    def delivery(self) -> dict[str, Any]:
        """Give the last delivery that was kept."""
        return self.rows(t.delivery)[-1]

    def notices(self, delivery: str) -> list[tuple[str, str, str | None]]:
        """Give a delivery's notices: kind, state, reason."""
        found = self.rows(t.notice, delivery=delivery)
        return [(row["kind"], row["state"], row["reason"]) for row in sorted(found, key=lambda row: row["position"])]

    def change(self, table: Any, which: str, **values: Any) -> None:
        """Change a row as an admin would."""
        with self.hub.engine.begin() as conn:
            conn.execute(update(table).where(table.c.id == which).values(**values))
            conn.execute(update(t.installation).values(configured=t.installation.c.configured + 1))

    async def switch_on(self, handoff: str = WON) -> None:
        """Switch a handoff on, for whatever is true."""
        with self.hub.engine.begin() as conn:
            put_all(conn, t.handoff, [{"id": handoff, "state": "on", "go_live": LONG_AGO}])

    async def forward(self, seconds: float) -> None:
        """Let time pass and see what it brings."""
        self.clock.ahead_s += seconds
        await self.hub.dispatcher.tick()
        await self.hub.intake.tick()
        await self.hub.settled()


def _difference(before: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    return [row for row in before if row not in after], [row for row in after if row not in before]


def _hasty(raw: Any, _: Any) -> None:
    """No power cut is tested here, so nothing waits for the disk."""
    raw.execute("PRAGMA synchronous=OFF")


@asynccontextmanager
async def hall(folder: Path, *, connectors: dict[str, Connector] | None = None, hang_after_s: float = 5.0) -> AsyncIterator[Hall]:
    """Set up a home with four connections and run a hub on it. `connectors` replace real ones."""
    settings = replace(make_home(folder), public_url=PUBLIC)
    registry = installed()
    registry = Registry({**registry.connectors, **(connectors or {})}, registry.refused)
    clock = PutForward()
    router = respx.MockRouter(assert_all_called=False, assert_all_mocked=True)
    hub = Hub(settings, registry=registry, clock=clock, transport=lambda _: httpx.MockTransport(router.async_handler))
    hub.runner._hang_after_s = hang_after_s
    hub.timers.start = lambda: None  # type: ignore[method-assign]  # a test lets time pass itself
    event.listen(hub.engine, "connect", _hasty)
    hub.engine.dispose()  # connections made before do not know of that
    with hub.engine.begin() as conn:
        for name in ACCOUNTS:
            _connect(conn, hub.vault, registry, name, clock.now())
    app = create_app(lambda: hub)
    async with app.router.lifespan_context(app):
        await hub.reread()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as http:
            yield Hall(settings, registry, clock, Vendors(router), hub, app, http)


def _connect(conn: Connection, vault: Vault, registry: Registry, name: str, now: datetime) -> None:
    auth, secrets = ACCESS[name]
    door = registry.get(name).about.doors[0]
    tokens = Tokens(secrets={key: SecretStr(value) for key, value in secrets.items()})
    insert_all(conn, t.grant, [{"id": f"gra_{name}", "connector": name, "auth": auth, "created_at": now}])
    insert_all(conn, t.secret, [sealed_tokens(vault, f"gra_{name}", tokens, now)])
    connection = {
        "id": f"con_{name}",
        "name": name,
        "connector": name,
        "grant": f"gra_{name}",
        "account_id": ACCOUNTS[name],
        "account": {"name": "Northwind Atelier", "currency": "EUR", "timezone": "UTC"},
        "roles": [ROLES[name]],
        "settings": SETTINGS.get(name, {}),
        "created_at": now,
    }
    insert_all(conn, t.connection, [connection])
    endpoint = {"id": f"end_{name}", "connector": name, "door": door.name, "state": "listening", "created_at": now}
    endpoint["connection"] = None if name in APP_WIDE else f"con_{name}"
    insert_all(conn, t.endpoint, [endpoint])
    secret = {"id": f"sec_{name}", "owner_kind": "endpoint", "owner": f"end_{name}", "field": "signing", "state": "active"}
    secret |= {"sealed": vault.seal("secret", f"sec_{name}", "signing", SECRET), "valid_until": None}
    insert_all(conn, t.secret, [{**secret, "valid_from": now - timedelta(days=1)}])
