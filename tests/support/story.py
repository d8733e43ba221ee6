"""A home with four connections and no network: what came in and what was answered is told step by step.

Everything is written by the hub's own operations; only the tools' answers are invented.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from lifecyclehub.admin.setup import Initialized
from lifecyclehub.configuration import read_rules
from lifecyclehub.connector.roles import ROLES
from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.prepared import Claim, Prepared, Receipt
from lifecyclehub.dispatch.receipt import WriteReceipts
from lifecyclehub.intake.decide import SettleAndDecide
from lifecyclehub.intake.fetch import observe
from lifecyclehub.intake.keep import Arrival, keep
from lifecyclehub.intake.split import Split, split
from lifecyclehub.messages import Document, Outcome
from lifecyclehub.ports import Ids
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import open_engine
from lifecyclehub.store.upsert import insert_all, put_all
from tests.support.home import installed, made_home
from tests.support.reach import START, Middle, MovedClock

LONG_AGO = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
PLAYS = {"hubspot": "crm", "asana": "project", "zendesk": "helpdesk", "xero": "invoicing"}


class Story:
    """Tells what happened. `connections` by connector id."""

    settings: Settings
    made: Initialized

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        self.settings, self.made = made_home(folder, database_url)
        self.clock = MovedClock()
        self.ids = Ids(self.clock, Middle())
        self.registry = installed()
        self.rules = read_rules(self.registry, self.settings, self.made.installation)
        self.engine = open_engine(self.settings.database)
        self.connections: dict[str, dict[str, Any]] = {}
        self.prepared: dict[str, Prepared] = {}
        with self.engine.begin() as conn:
            for name, role in PLAYS.items():
                self._connect(conn, name, role)

    def close(self) -> None:
        self.engine.dispose()

    def _connect(self, conn: Connection, name: str, role: str) -> None:
        assert role in ROLES
        grant = {"id": f"gra_{name}", "connector": name, "auth": "token", "created_at": START}
        insert_all(conn, tables.grant, [grant])
        row = {
            "id": f"con_{name}",
            "name": name,
            "connector": name,
            "grant": grant["id"],
            "account_id": f"account-{name}",
            "account": {"name": "Papaya Ltd", "currency": "EUR", "timezone": "Europe/Vienna"},
            "roles": [role],
            "settings": {},
            "state": "active",
            "listens": True,
            "polls": False,
            "created_at": START,
        }
        insert_all(conn, tables.connection, [row])
        self.connections[name] = row
        door = self.registry.get(name).about.doors[0]
        endpoint = {"id": f"end_{name}", "connector": name, "door": door.name, "connection": row["id"], "state": "listening"}
        insert_all(conn, tables.endpoint, [{**endpoint, "created_at": START}])

    def switch(self, handoff: str, state: str = "on", go_live: datetime = LONG_AGO) -> None:
        """Switch a handoff."""
        with self.engine.begin() as conn:
            put_all(conn, tables.handoff, [{"id": handoff, "state": state, "go_live": go_live}])

    # --- in ------------------------------------------------------------------------------------------------------------

    def arrive(self, connector: str, *records: tuple[str, str], body: bytes = b"[]") -> list[str]:
        """Let a delivery come with a notice for each (kind, record id); gives the notices' ids."""
        delivery, now = self.ids.new("dlv"), self.clock.now()
        arrival = Arrival(
            id=delivery,
            endpoint=f"end_{connector}",
            connection=None,
            connector=connector,
            way="webhook",
            door="webhook",
            vendor_key=None,
            headers={"content-type": "application/json"},
            body=body or delivery.encode(),
            received_at=now,
        )
        notices = tuple(self._notice(connector, delivery, n, *record) for n, record in enumerate(records))
        with self.engine.begin() as conn:
            keep(conn, [arrival])
            split(conn, [Split(delivery=delivery, at=now, notices=notices)])
        return [row["id"] for row in notices]

    def _notice(self, connector: str, delivery: str, position: int, kind: str, record_id: str) -> dict[str, Any]:
        empty = dict.fromkeys(("key", "into", "at", "version", "actor", "document", "reason", "detail"))
        return empty | {
            "id": self.ids.new("ntc"),
            "delivery": delivery,
            "position": position,
            "endpoint": f"end_{connector}",
            "connection": f"con_{connector}",
            "connector": connector,
            "account": None,
            "kind": kind,
            "record_id": record_id,
            "change": "changed",
            "state": "open",
            "kept_at": self.clock.now(),
        }

    def see(self, connector: str, document: Document, notices: Sequence[str] | None = None) -> list[Prepared]:
        """Settle a fetched document, by default for a delivery that just came; gives the effects that may be sent."""
        if notices is None:
            notices = self.arrive(connector, (document.kind, document.id), body=b"")
        self.clock.at += 1
        about = self.registry.get(connector).about
        seen = observe(
            self.rules,
            self.connections[connector],
            about,
            document,
            self.clock.now(),
            notices=notices,
            fetched=True,
        )
        with self.engine.begin() as conn:
            settled = SettleAndDecide(self.rules, self.ids, self.clock)(conn, [seen])
        ready = [one for result in settled for one in result.ready]
        self.prepared |= {one.effect: one for one in ready}
        return ready

    # --- out -----------------------------------------------------------------------------------------------------------

    def answer(self, prepared: Prepared, outcome: Outcome, status: int = 201) -> list[str]:
        """Claim an effect, send it to nobody, and write what the tool answered; gives the effects that may go on."""
        action = self.rules.action(prepared.connector, prepared.action)
        assert action is not None
        request = action.render(action.input.model_validate(prepared.input), prepared.body, prepared.key)
        self.clock.at += 1
        with self.engine.begin() as conn:
            claim = Claim(prepared=prepared, request=request, holder="hub_story", sending_s=30)
            claimed = TakeClaims(self.ids, self.clock)(conn, [claim])[0]
            assert claimed.verdict == "go"
        began = self.clock.now()
        self.clock.at += 1
        receipt = Receipt(
            effect=prepared.effect,
            epoch=claimed.epoch,
            revision=prepared.revision,
            what="sent",
            began_at=began,
            outcome=outcome,
            bytes_sent=True,
            status=status,
            reply='{"invented": true}',
        )
        with self.engine.begin() as conn:
            return WriteReceipts(self.rules, self.ids, self.clock, Middle())(conn, [receipt])[0].woken

    # --- looking -------------------------------------------------------------------------------------------------------

    def rows(self, table: Any, **equal: Any) -> list[dict[str, Any]]:
        """Give the rows with these values, oldest first."""
        statement = select(table).where(*(table.c[name] == value for name, value in equal.items()))
        if "id" in table.c:
            statement = statement.order_by(table.c.id)
        with self.engine.connect() as conn:
            return [dict(row) for row in conn.execute(statement).mappings()]

    def change(self, table: Any, which: str, **values: Any) -> None:
        """Change one row as something beyond this story would."""
        with self.engine.begin() as conn:
            conn.execute(update(table).where(table.c.id == which).values(**values))

    def ask(self, question: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer a question about what is stored."""
        with self.engine.connect().execution_options(write=False) as conn, conn.begin():
            return question(conn, *args, **kwargs)


def won_deal(record_id: str = "9001", *, stage: str = "closedwon", amount: str = "12000.00", company: bool = True) -> Document:
    """A deal as HubSpot's connector gives it, of an invented company."""
    related = (
        Document(
            kind="hubspot.company",
            id="7001",
            data={"id": "7001", "properties": {"name": "Orchard Tools", "domain": "orchard.example"}},
            url="https://app.hubspot.example/company/7001",
        ),
    )
    return Document(
        kind="hubspot.deal",
        id=record_id,
        account="account-hubspot",
        changed_at=datetime.fromisoformat("2026-03-01T10:00:00+00:00"),
        url=f"https://app.hubspot.example/deal/{record_id}",
        data={
            "id": record_id,
            "properties": {
                "dealname": "Shop rebuild",
                "dealstage": stage,
                "createdate": "2026-02-01T08:00:00Z",
                "amount": amount,
                "deal_currency_code": "EUR",
            },
            "propertiesWithHistory": {"dealstage": [{"value": stage, "timestamp": "2026-03-01T10:00:00Z"}]},
        },
        related=related if company else (),
    )
