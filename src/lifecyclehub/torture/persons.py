"""What persons do in the tools and at the hub while a scenario runs."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, update

from lifecyclehub.admin.effects import Answer, AnswerEffects, CannotAnswer
from lifecyclehub.admin.replay import Replay, Wanted
from lifecyclehub.insight.clocks import FULL
from lifecyclehub.intake.passes import Ask, Place, ask
from lifecyclehub.store import tables
from lifecyclehub.store.writer import StoreBusy
from lifecyclehub.torture.loop import EPOCH
from lifecyclehub.torture.plan import TOOLS, Act

if TYPE_CHECKING:
    from lifecyclehub.torture.vendor import Record
    from lifecyclehub.torture.world import World

BY_HAND: Final = "by a person"
DEAL: Final = re.compile(r"Deal (\d+)")
_TOOL_OF: Final = {"crm": "crm", "project": "projects", "helpdesk": "desk", "invoicing": "books"}


class Persons:
    """The people of one scenario. They know the tools and what the hub shows them, nothing else."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.deals: dict[int, Record] = {}
        self.history = self._history()
        self.companies: dict[int, Record] = {}
        self.tickets: list[tuple[int, Record, bool]] = []  # deal, ticket, whether it names its project
        self.ever_lost: set[int] = set()
        self.ever_reopened: set[int] = set()
        self.copied: set[int] = set()
        self.touched_standing: set[int] = set()
        self.merged: set[int] = set()
        self.asked: set[tuple[str, str, str]] = set()  # effects that waited for a person: name, reason, detail

    def _history(self) -> Record:
        """A deal that was won long before the handoffs were switched on; somebody edits it now and then."""
        crm = self._world.vendors["crm"]
        company = crm.make("crm.company", {"name": "Oldstone", "domain": "oldstone.example", "standing": "Client"})
        long_ago = (EPOCH - timedelta(days=90)).isoformat()
        data = {"title": "Deal of old", "status": "won", "since": long_ago, "created_at": long_ago, "amount": "900.00"}
        return crm.make("crm.deal", data | {"currency": "EUR", "company": company.id})

    def do(self, act: Act) -> None:
        """Do one act; one that cannot be done yet is done later, or never."""
        getattr(self, "_" + act.what.replace(" ", "_"))(act)
        self._world.note("person", act.what, act.deal)

    def _again(self, act: Act, seconds: float, what: str | None = None) -> None:
        later = replace(act, at=act.at + seconds, what=what or act.what)
        if not self._world.calm:
            self._world.outside(seconds, lambda: self._unless_calm(later))

    def _unless_calm(self, act: Act) -> None:
        if not self._world.calm:
            self.do(act)

    # --- in the CRM -----------------------------------------------------------------------------------------------------

    def _inquire(self, act: Act) -> None:
        crm, number = self._world.vendors["crm"], act.deal
        owner = number // 2
        if owner not in self.companies:
            data = {"name": f"Brightwater {owner}", "domain": f"brightwater-{owner}.example", "standing": None}
            self.companies[owner] = crm.make("crm.company", data)
        now = self._world.vendor_now().isoformat()
        data = {
            "title": f"Deal {number}",
            "status": "open",
            "since": now,
            "amount": f"{1000 + number}.50",
            "currency": "EUR",
            "company": self.companies[owner].id,
        }
        if self._world.erasing is not None and owner == 0:
            data["contact"] = self._world.erasing.met()
        self.deals[number] = crm.make("crm.deal", data)

    def _stage(self, act: Act, status: str) -> None:
        deal = self.deals.get(act.deal)
        if deal is not None and deal.data["status"] != status:
            self._world.vendors["crm"].write(deal, status=status, since=self._world.vendor_now().isoformat())

    def _win(self, act: Act) -> None:
        self._stage(act, "won")

    def _lose(self, act: Act) -> None:
        self.ever_lost.add(act.deal)
        self._stage(act, "lost")
        if act.seconds < 100:
            self._again(act, act.seconds, "win")

    def _rename_deal(self, act: Act) -> None:
        if (deal := self.deals.get(act.deal)) is not None:
            self._world.vendors["crm"].write(deal, title=f"Deal {act.deal} (new)")

    def _merge_company(self, act: Act) -> None:
        company = self.companies.get(act.deal // 2)
        if company is not None and company.merged_into is None and not self.merged:
            self.merged.add(act.deal // 2)
            crm = self._world.vendors["crm"]
            survivor = crm.make("crm.company", {**company.data, "name": company.data["name"] + " Group"})
            crm.merge(company, survivor)

    def _foreign_standing(self, act: Act) -> None:
        company = self.companies.get(act.deal // 2)
        if company is not None and company.merged_into is None:
            self.touched_standing.add(act.deal // 2)
            self._world.vendors["crm"].write(company, standing="Lead")

    # --- in the project tool ----------------------------------------------------------------------------------------------

    def project_of(self, deal: int) -> Record | None:
        """Give the project that the hub made for a deal, the oldest if there are several."""
        mine = [one for one in self.projects_of(deal) if not one.deleted]
        return mine[0] if mine else None

    def projects_of(self, deal: int) -> list[Record]:
        """Give all projects that the hub made for a deal: their notes name the deal's address."""
        record = self.deals.get(deal)
        if record is None:
            return []
        address = f"Deal: {self._world.vendors['crm'].url(record)}"
        made = self._world.vendors["projects"].made_by_hub("projects.project")
        return [one for one in made if address in str(one.data.get("notes")).splitlines()]

    def _edit_project(self, act: Act) -> None:
        if (project := self.project_of(act.deal)) is not None:
            self._world.vendors["projects"].write(project, name=f"{project.data['name']}!")

    def _copy_project(self, act: Act) -> None:
        if (project := self.project_of(act.deal)) is not None:
            self.copied.add(act.deal)
            self._world.vendors["projects"].make("projects.project", dict(project.data), ref=project.ref)

    def _close(self, act: Act) -> None:
        project = self.project_of(act.deal)
        if project is None:
            self._again(act, 60)
        elif project.data["status"] == "open":
            now = self._world.vendor_now().isoformat()
            self._world.vendors["projects"].write(project, status="closed", closed_at=now)

    def _reopen(self, act: Act) -> None:
        project = self.project_of(act.deal)
        if project is not None and project.data["status"] == "closed":
            self.ever_reopened.add(act.deal)
            self._world.vendors["projects"].write(project, status="open", closed_at=None)

    # --- in the helpdesk --------------------------------------------------------------------------------------------------

    def _ticket(self, act: Act) -> None:
        project = self.project_of(act.deal)
        if project is None:
            self._again(act, 60)
        else:
            self._open(act, self._world.vendors["projects"].url(project))

    def _ticket_early(self, act: Act) -> None:
        self._open(act, None)

    def _open(self, act: Act, project: str | None) -> None:
        desk, number = self._world.vendors["desk"], len(self.tickets) + 1
        erasing = self._world.erasing if act.deal // 2 == 0 else None
        email = f"ada@brightwater-{act.deal // 2}.example"
        subject = "It is broken" if erasing is None else f"It is broken, {erasing.email} says"
        data = {"number": f"T{number:03}", "subject": subject, "status": "open", "email": email, "project": project}
        self.tickets.append((act.deal, desk.make("desk.ticket", data), project is not None))

    def _delete_ticket(self, act: Act) -> None:
        for deal, ticket, _ in self.tickets:
            if deal == act.deal and not ticket.deleted:
                self._world.vendors["desk"].delete(ticket)

    # --- at the hub -----------------------------------------------------------------------------------------------------

    def _pause(self, act: Act) -> None:
        name = TOOLS[act.deal % len(TOOLS)]
        self._connection(name, "paused", BY_HAND)
        self._again(act, act.seconds, "resume")

    def _resume(self, act: Act) -> None:
        self.resume_all()

    def _edit_rules(self, act: Act) -> None:
        self._world.edition = 1
        self._configured()

    def _double_click(self, act: Act) -> None:
        self._world.start(self.replay_all())
        self._world.start(self.replay_all())

    def resume_all(self) -> None:
        """Enter good credentials, and let every paused connection go on."""
        if self._world.store_is_busy():
            return
        for name in TOOLS:
            self._sign_in_again(name)
            self._connection(name, "active", None)

    def _sign_in_again(self, name: str | None) -> bool:
        """Enter new credentials where the tool takes the old ones no more; tells whether that was so."""
        if name is None or name != self._world.plan.rotates:
            return False
        table = tables.connection
        with self._world.database.engine.connect().execution_options(write=False) as conn, conn.begin():
            barred = (table.c.state != "active") & (table.c.reason != BY_HAND)
            refused = conn.execute(select(table.c.id).where(table.c.grant == f"gra_{name}", barred)).first()
        if refused is not None:
            self._world.fired["signed in again"] += 1
            self._world.sign_in(name)
        self._connection(f"{name} too", "active", None)
        return refused is not None

    def _connection(self, name: str, state: str, reason: str | None) -> None:
        table = tables.connection
        with self._world.database.engine.begin() as conn:
            conn.execute(update(table).where(table.c.name == name, table.c.state != state).values(state=state, reason=reason))
        self._configured()

    def _configured(self) -> None:
        table = tables.installation
        with self._world.database.engine.begin() as conn:
            conn.execute(update(table).values(configured=table.c.configured + 1))
        self._world.stir()

    def list_in_full(self) -> None:
        """Ask for what every night brings: a pass over everything there is."""
        world = self._world
        with world.database.engine.begin() as conn:
            for name, tool in zip(TOOLS, world.registry.connectors.values(), strict=True):
                asks = [Ask(Place(f"con_{name}", kind.id, FULL), world.clock.now()) for kind in tool.about.kinds if kind.poll_s]
                ask(conn, asks)
        world.stir()

    async def replay_all(self) -> None:
        """Let the hub look again at everything that came in."""
        hub = self._world.hub
        if hub is None:
            return
        for name in TOOLS:
            await self._run(Replay(hub.rules, self._world.clock), Wanted(connection=name))

    def sign_in_where_asked(self) -> bool:
        """Sign in where the last token of a grant got lost on the way: what is in doubt there stays so until then."""
        asked = self._sign_in_again(self._world.plan.rotates)
        if asked:
            self._connection(str(self._world.plan.rotates), "active", None)
        return asked

    async def answer_parked(self) -> int:
        """Say of every parked effect what became of it, by a look into the tool; give how many answers that were."""
        hub = self._world.hub
        if hub is None:
            return 0
        table = tables.effect
        with self._world.database.engine.connect().execution_options(write=False) as conn, conn.begin():
            parked = [dict(row) for row in conn.execute(select(table).where(table.c.state == "parked")).mappings()]
        words = AnswerEffects(hub.rules, hub.ids, self._world.clock, hub.randomness)
        answered = 0
        for row in parked:
            self._world.fired[f"parked: {row['reason']}"] += 1
            self.asked.add((row["name"], row["reason"], row["detail"]))
            answered += await self._run(words, self._word(row)) is not None
        if parked:
            self._configured()
        return answered

    def _word(self, row: dict[str, Any]) -> Answer:
        vendor = self._world.vendors[_TOOL_OF[row["role"]]]
        there = [one for one in vendor.made_by_hub(row["creates"]) if one.ref == row["marker"]] if row["creates"] else []
        if there:
            return Answer(effect=row["id"], verdict="is", who="a person", record_id=there[0].id, url=vendor.url(there[0]))
        return Answer(effect=row["id"], verdict="anew", who="a person")

    async def replay_parked(self) -> None:
        """Let the hub look again at parked notices and deliveries."""
        hub = self._world.hub
        if hub is None:
            return
        with self._world.database.engine.connect().execution_options(write=False) as conn, conn.begin():
            notices = list(conn.execute(select(tables.notice.c.id).where(tables.notice.c.state == "parked")).scalars())
            deliveries = list(conn.execute(select(tables.delivery.c.id).where(tables.delivery.c.state == "parked")).scalars())
        wanted = Wanted(notices=tuple(notices), deliveries=tuple(deliveries), only_parked=True)
        if notices or deliveries:
            await self._run(Replay(hub.rules, self._world.clock), wanted)
            self._world.stir()

    async def _run(self, operation: Any, item: Any) -> Any:
        """Do it as the command line does: in a process of its own, against the same database."""
        for _ in range(20):
            if not self._world.store_is_busy():
                try:
                    with self._world.database.engine.begin() as conn:
                        done = operation(conn, [item])[0]
                except CannotAnswer:
                    return None
                except StoreBusy:
                    pass
                else:
                    self._world.stir()
                    return done
            await asyncio.sleep(5)
        return None
