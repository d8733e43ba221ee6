"""The world of a story, once it is set up: what people do in the tools, what the hub knows, and waiting for quiet."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection, Engine, Table, func, select, update

from lifecyclehub.admin.connections import named_connection, new_credentials, pause_connection, resume_connection
from lifecyclehub.hub import Hub
from lifecyclehub.ports import SystemClock
from lifecyclehub.registry.registry import Registry
from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.sandbox.xero import Xero
from lifecyclehub.sandbox.zendesk import ZendeskTool
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables as t
from lifecyclehub.vendor.rates import RateLimits
from tests.support.home import installed

WON = "won-deal-starts-delivery"
CLOSED = "closed-project-drafts-invoice"
TICKET = "ticket-joins-project"
STANDING = "client-standing-to-crm"
HANDOFFS = (WON, CLOSED, TICKET)
QUICK = {"total_s": "3", "lag_s": "1", "server_timeout_s": "1"}
TOOLS: dict[str, Any] = {
    "hubspot": HubSpotTool,
    "asana": lambda home: AsanaTool(home, job_delay_s=0.05),
    "zendesk": ZendeskTool,
    "xero": Xero,
}
# What a tool notes when somebody changed something there; what was refused or went wrong is not among it.
WRITES = frozenset({"created", "changed", "commented", "tagged", "queued", "deleted", "merged"})
_QUIET_S = 20.0


class ForwardClock(SystemClock):
    """The machine's clock, and so many seconds more."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s

    def forward(self, seconds: float) -> None:
        """Let time pass at once."""
        self.ahead_s += max(seconds, 0.0)


class NeverQuiet(AssertionError):
    """Something is still open after a long while. The text says what."""


@dataclass
class World:
    """The hub, its home and its tools. `hub` raises while none runs."""

    settings: Settings
    clock: ForwardClock
    tools: dict[str, Any]  # each its own kind of `Tool`
    engine: Engine
    http: httpx.AsyncClient
    url: str
    registry: Registry = field(default_factory=installed)
    running: Hub | None = None
    stories: int = 0
    _since: dict[str, int] = field(default_factory=dict)
    _first_id: str = ""

    def begin_story(self) -> None:
        """Begin a story with a client of its own: what was there before is not counted."""
        self.stories += 1
        for tool in self.tools.values():
            tool.sent.clear()
        self.hub.client._rates = RateLimits(self.clock)  # what earlier stories took of a vendor's rate is theirs
        self._since = {name: tool.history.path.stat().st_size for name, tool in self.tools.items()}
        self._first_id = self.hub.ids.new("x").partition("_")[2]

    @property
    def company(self) -> str:
        """The client of this story."""
        return f"Brightwater {self.stories}"

    @property
    def domain(self) -> str:
        """Its domain."""
        return f"brightwater-{self.stories}.example"

    # --- the hub ------------------------------------------------------------------------------------------------------

    @property
    def hub(self) -> Hub:
        assert self.running is not None, "no hub runs"
        return self.running

    @property
    def home(self) -> Path:
        return self.settings.home

    async def start_hub(self) -> Hub:
        """Start a hub on the home, as after a restart of the machine."""
        assert self.running is None, "a hub runs already"
        hub = Hub(self.settings, registry=self.registry, clock=self.clock)
        await hub.start()
        self.running = hub
        return hub

    async def stop_hub(self) -> None:
        """Stop it as an operator does."""
        hub, self.running = self.hub, None
        await hub.stop()

    async def abandon_hub(self) -> None:
        """End it in the middle of everything: nothing is drained, no receipt is written for what is on its way."""
        hub, self.running = self.hub, None
        hub.ready = False
        hub.store._closed = True  # from now on nothing is written any more
        hub.timers.stop()
        begun: list[Any] = []
        for flow in (hub.sweeper.flow, hub.intake.flow, hub.dispatcher.flow):
            flow.stopping = True
            for runner in list(flow._running):
                frame = getattr(runner.get_coro(), "cr_frame", None)
                begun += [frame.f_locals["work"]] if frame is not None else []
                runner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hub.settled()
        for work in begun:
            work.close()  # what was not begun yet is not awaited any more
        await hub.client.aclose()
        hub.runner.close()
        await asyncio.get_running_loop().run_in_executor(None, hub.store.close)
        hub.engine.dispose()
        hub.presence.leave_home()

    async def restart(self) -> None:
        """Stop the hub in good order and start another one on the same home."""
        await self.stop_hub()
        await self.start_hub()

    # --- the tools ----------------------------------------------------------------------------------------------------

    async def act(self, tool: str, act: str, /, **arguments: Any) -> Any:
        """Do what a person can do in a tool."""
        reply = await self.http.post(f"{self.tools[tool].base_url()}/_sandbox/act/{act}", json=arguments)
        assert reply.status_code == 200, f"{tool}.{act}: {reply.status_code} {reply.text}"
        return reply.json()

    async def misbehave(self, tool: str, **orders: Any) -> None:
        """Tell a tool what to do wrong: `faults`, `hooks`, `lag_s`."""
        reply = await self.http.post(f"{self.tools[tool].base_url()}/_sandbox/misbehave", json=orders)
        assert reply.status_code == 200, reply.text

    async def resend(self, *tools: str) -> None:
        """Let tools send every webhook of theirs again."""
        for tool in tools or tuple(self.tools):
            await self.http.post(f"{self.tools[tool].base_url()}/_sandbox/resend")

    async def inquire(self, **more: Any) -> Any:
        """Enter an inquiry in the CRM; gives the ids of company, contact and deal."""
        told: dict[str, Any] = {
            "company": self.company,
            "domain": self.domain,
            "contact_name": "Ada Quill",
            "contact_email": f"ada@{self.domain}",
            "title": "Website relaunch",
            "amount": "12500.00",
            "currency": "EUR",
        }
        return await self.act("hubspot", "inquire", **{**told, **more})

    async def win(self, **more: Any) -> Any:
        """Enter an inquiry and win its deal; gives the ids."""
        ids = await self.inquire(**more)
        await self.act("hubspot", "win_deal", deal=ids["deal"])
        return ids

    async def won_project(self, **more: Any) -> tuple[Any, str]:
        """Win a deal and wait for its project; gives the CRM's ids and the project's."""
        before = {one["id"] for one in self.made("asana", "project")}
        ids = await self.win(**more)
        await self.quiet()
        (project,) = [one["id"] for one in self.made("asana", "project") if one["id"] not in before]
        return ids, project

    async def open_ticket(self, **more: Any) -> str:
        """Let the client write to the helpdesk; gives the ticket's number."""
        told: dict[str, Any] = {
            "subject": "Login broken",
            "text": "My password is hunter2.",
            "requester_name": "Ada Quill",
            "requester_email": f"ada@{self.domain}",
        }
        return str((await self.act("zendesk", "open_ticket", **{**told, **more}))["ticket"])

    async def projects(self) -> list[Any]:
        """Give this story's projects of the project tool with tasks and comments."""
        mine = {line["id"] for line in self.history("asana", "created", kind="project")}
        return [one for one in (await self.act("asana", "list"))["projects"] if one["gid"] in mine]

    async def invoices(self) -> list[Any]:
        """Give this story's invoices of the invoicing tool."""
        mine = {line["id"] for line in self.history("xero", "created", kind="invoice")}
        return [one for one in (await self.act("xero", "list"))["invoices"] if one["id"] in mine]

    # --- what the tools themselves noted --------------------------------------------------------------------------------

    def history(self, tool: str, what: str | None = None, **facts: Any) -> list[dict[str, Any]]:
        """Give the lines of this story in a tool's history that say this."""
        with self.tools[tool].history.path.open("rb") as file:
            file.seek(self._since.get(tool, 0))
            lines = [json.loads(line) for line in file]  # the tool runs in this process: no line is cut off
        return [
            line
            for line in lines
            if what in (None, line["what"]) and all(line.get(name) == value for name, value in facts.items())
        ]

    def made(self, tool: str, kind: str) -> list[dict[str, Any]]:
        """Give what was made there through the API, oldest first."""
        return self.history(tool, "created", kind=kind, by="api")

    def writes(self, *tools: str) -> int:
        """Count what was written there through the API."""
        named = tools or tuple(self.tools)
        return sum(line["what"] in WRITES for tool in named for line in self.history(tool, by="api"))

    def notes(self) -> list[str]:
        """Give the texts of the notes that were put on deals through the API."""
        return [str(line.get("text")) for line in self.made("hubspot", "note")]

    # --- what the hub knows ---------------------------------------------------------------------------------------------

    def rows(self, table: Table, **where: Any) -> list[dict[str, Any]]:
        """Read rows of a table; where it has ids, this story's, oldest first."""
        statement = select(table)
        for name, value in where.items():
            statement = statement.where(table.c[name] == value)
        if "id" in table.c and table not in _SET_UP:  # after three letters and a dash below, ids sort by the time they were made
            statement = statement.where(func.substr(table.c.id, 5) >= self._first_id).order_by(table.c.id)
        with self.engine.connect().execution_options(write=False) as conn, conn.begin():
            return [dict(row) for row in conn.execute(statement).mappings()]

    def effects(self, **where: Any) -> dict[str, list[str]]:
        """Give the states of effects by their name."""
        found: dict[str, list[str]] = {}
        for row in self.rows(t.effect, **where):
            found.setdefault(row["name"], []).append(row["state"])
        return found

    def count(self, table: Table) -> int:
        """Count a table's rows."""
        with self.engine.connect().execution_options(write=False) as conn, conn.begin():
            return int(conn.execute(select(func.count()).select_from(table)).scalar_one())

    async def change(self, *statements: Any) -> None:
        """Change the configuration as an admin's command does, and let the hub take it over."""
        with self.engine.connect() as conn, conn.begin():
            for statement in statements:
                conn.execute(statement)
            conn.execute(update(t.installation).values(configured=t.installation.c.configured + 1))
        if self.running is not None:
            await self.running.look_for_changes()

    async def switch(self, handoff: str, state: str = "on", since: datetime | None = None) -> None:
        """Switch a handoff; on means from now on, unless another moment is given."""
        go_live = (since or self.clock.now()) if state == "on" else None
        await self.change(
            t.handoff.delete().where(t.handoff.c.id == handoff),
            t.handoff.insert().values(id=handoff, state=state, go_live=go_live),
        )

    async def set_connection(self, tool: str, settings: Mapping[str, str] | None = None, **columns: Any) -> None:
        """Change a connection; `settings` are added to its own."""
        row = self.rows(t.connection, id=f"con_{tool}")[0]
        if settings is not None:
            columns["settings"] = {**row["settings"], **settings}
        await self.change(update(t.connection).where(t.connection.c.id == f"con_{tool}").values(**columns))

    async def pause(self, tool: str) -> None:
        """Pause a connection, as its command does."""
        await pause_connection(self.hub, await named_connection(self.hub, tool))
        await self.hub.look_for_changes()

    async def resume(self, tool: str) -> None:
        """Let a paused connection go on."""
        await resume_connection(self.hub, await named_connection(self.hub, tool))
        await self.hub.look_for_changes()

    async def new_credentials(self, tool: str) -> None:
        """Enter a tool's present credentials for its connection."""
        await new_credentials(self.hub, await named_connection(self.hub, tool), dict(self.tools[tool].credentials))
        await self.hub.look_for_changes()

    # --- waiting --------------------------------------------------------------------------------------------------------

    def at_rest(self) -> bool:
        """Tell whether no request and no webhook is on its way, and the hub has nothing in its hands."""
        under_way = any(
            not tool._sending.empty() or tool.undelivered or (tool._server and tool._server.server_state.tasks)
            for tool in self.tools.values()
        )
        return not under_way and not any(flow.busy for flow in self._flows())

    def _flows(self) -> tuple[Any, ...]:
        return self.hub.sweeper.flow, self.hub.intake.flow, self.hub.dispatcher.flow

    async def quiet(self, *, within_s: float = _QUIET_S, forward: bool = True) -> None:
        """Wait until nothing is under way and nothing is open. `forward`: put the clock on to what waits for its time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        calm = 0
        while calm < 2:
            if loop.time() > end:
                raise NeverQuiet(self._still_open())
            await asyncio.sleep(0.004)
            if not self.at_rest():
                calm = 0
                continue
            open_count, due = self._waiting()
            if not open_count:
                calm += 1
                continue
            calm = 0
            if due is not None and (forward or due <= self.clock.now()):
                self.clock.forward((due - self.clock.now()).total_seconds())
                await self.hub.dispatcher.tick()
                await self.hub.intake.tick()

    def _waiting(self) -> tuple[int, datetime | None]:
        """Count what is open, and say when the first of it is due."""
        with self.engine.connect().execution_options(write=False) as conn, conn.begin():
            found = [_open(conn, table, states) for table, states in _OPEN.items()]
        dues = [due for _, due in found if due is not None]
        return sum(count for count, _ in found), min(dues, default=None)

    def _still_open(self) -> str:
        lines = ["still not quiet:"]
        for table, states in _OPEN.items():
            for row in self.rows(table):
                if row["state"] in states:
                    name = row.get("name") or row.get("kind") or row.get("way")
                    lines.append(f"  {table.name} {row['id']} {name}: {row['state']} {row['reason']} {row.get('detail')}")
        busy = {name: (not tool._sending.empty(), tool.undelivered) for name, tool in self.tools.items()}
        return "\n".join(
            [*lines, f"  tools {busy}, intake {self.hub.intake.flow.busy}, dispatcher {self.hub.dispatcher.flow.busy}"]
        )

    async def pass_time(self, seconds: float) -> None:
        """Put the clock on, do what time brings, and wait for quiet."""
        # A sweep that began before would stand in the way of the one that is due then, and may have missed what came since.
        await self.until(lambda: not self.hub.sweeper.flow.busy, within_s=_QUIET_S)
        self.clock.forward(seconds)
        await self.hub.dispatcher.tick()
        await self.hub.intake.tick()
        await self.hub.sweeper.tick()
        await self.quiet()

    async def until(self, what: Any, *, within_s: float = _QUIET_S) -> None:
        """Wait until something is so, without waiting for quiet."""
        end = asyncio.get_running_loop().time() + within_s
        while not what():
            assert asyncio.get_running_loop().time() < end, "it never came about"
            await asyncio.sleep(0.004)


_SET_UP = {t.connection, t.endpoint, t.secret, t.handoff, t.grant, t.installation}
_OPEN: dict[Table, tuple[str, ...]] = {
    t.delivery: ("open",),
    t.notice: ("open",),
    t.effect: ("planned", "ready", "in flight", "in doubt"),
}


def _open(conn: Connection, table: Table, states: tuple[str, ...]) -> tuple[int, datetime | None]:
    due = table.c.not_before if "not_before" in table.c else None
    rows = conn.execute(select(table.c.id if due is None else due).where(table.c.state.in_(states))).scalars().all()
    return len(rows), None if due is None else min((row for row in rows if row is not None), default=None)
