"""The invariants, judged by the vendors' own truth; the hub's store is only asked what it thinks of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, select

from lifecyclehub.store import tables
from lifecyclehub.torture.database import TOKEN
from lifecyclehub.torture.elements import RESTORE
from lifecyclehub.torture.grants import grants_held
from lifecyclehub.torture.persons import DEAL
from lifecyclehub.torture.violation import Violation
from lifecyclehub.torture.watch import noted

if TYPE_CHECKING:
    from lifecyclehub.torture.persons import Persons
    from lifecyclehub.torture.vendor import Record
    from lifecyclehub.torture.world import World


UNDESERVED: Final = ("error", "mapping", "plugin", "unsupported", "gave up")
# What only a person can tell -> the faults, one of which must have been there; none: always.
ASKED: Final[Mapping[str, tuple[str, ...]]] = {
    "in doubt": (),
    "not finished": (),
    "late answer": (),
    "refused": ("redirect", RESTORE),
    "several found": (RESTORE, "a copy"),
    "linked elsewhere": (RESTORE, "a copy"),
}


class Checker:
    """Checks a world at rest."""

    def __init__(self, world: World, persons: Persons) -> None:
        self._world, self._persons = world, persons
        self._vendors = world.vendors

    def everything(self) -> list[Violation]:
        """Give everything that is wrong."""
        with self._world.database.engine.connect().execution_options(write=False) as conn, conn.begin():
            parts = (
                self._projects(),
                self._checklists(),
                self._invoices(),
                self._tickets(),
                self._doubles(),
                self._history(conn),
                self._polite(),
                grants_held(self._world),
                self._world.restores.held(),
                iter(self._world.drifted),
                self._kept(conn),
                self._hub(conn),
                self._converged(conn),
                self._secret(conn),
                self._world.erasing.held(conn) if self._world.erasing is not None else (),
            )
            return [violation for part in parts for violation in part]

    # --- I1 to I3: everything once ------------------------------------------------------------------------------------------

    def _projects(self) -> Iterator[Violation]:
        for number, deal in self._persons.deals.items():
            made = len(self._persons.projects_of(number))
            if made > 1:
                yield Violation("I1 doubled", f"deal {number} has {made} projects")
            if made == 0 and deal.data["status"] == "won":
                yield Violation("I1 lost", f"deal {number} is won and has no project")

    def _checklists(self) -> Iterator[Violation]:
        tasks = self._vendors["projects"].made_by_hub("projects.task")
        for number, deal in self._persons.deals.items():
            for project in self._persons.projects_of(number):
                titles = Counter(one.data["title"] for one in tasks if one.data["project"] == project.id)
                for title in ("Welcome", "Plan"):
                    yield from self._once(
                        f"the task {title} of deal {number}", titles[title], wanted=deal.data["status"] == "won"
                    )
            yield from self._notes(number, deal)

    def _notes(self, number: int, deal: Record) -> Iterator[Violation]:
        texts = [str(one.data["text"]) for one in self._vendors["crm"].made_by_hub("crm.note") if one.data["deal"] == deal.id]
        started = sum(text.startswith("Delivery") for text in texts)
        yield from self._once(f"the note of deal {number}", started, wanted=deal.data["status"] == "won")
        billed = sum(text.startswith("The project is closed") for text in texts)
        yield from self._once(f"the closing note of deal {number}", billed, wanted=self._to_be_billed(number))

    def _to_be_billed(self, number: int) -> bool:
        project = self._persons.project_of(number)
        deal = self._persons.deals[number]
        return project is not None and project.data["status"] == "closed" and deal.data["status"] == "won"

    def _invoices(self) -> Iterator[Violation]:
        found: dict[int, list[Record]] = {}
        for invoice in self._vendors["books"].made_by_hub("books.invoice"):
            for number in DEAL.findall(" ".join(str(line["description"]) for line in invoice.data["lines"])):
                found.setdefault(int(number), []).append(invoice)
        for number, deal in self._persons.deals.items():
            mine = found.get(number, [])
            yield from self._once(f"the invoice of deal {number}", len(mine), wanted=self._to_be_billed(number), code="I2")
            for one in mine:
                lines = one.data["lines"]
                own = [Decimal(str(line["amount"])) for line in lines if str(number) in DEAL.findall(str(line["description"]))]
                if own != [Decimal(str(deal.data["amount"]))]:
                    yield Violation("I14", f"{one.id} bills {own} for deal {number}, agreed are {deal.data['amount']}")
                if one.data["status"] != "draft":
                    yield Violation("I2", f"{one.id} is {one.data['status']}")

    def _tickets(self) -> Iterator[Violation]:
        comments = self._vendors["projects"].made_by_hub("projects.comment")
        answers = self._vendors["desk"].made_by_hub("desk.comment")
        for deal, ticket, named in self._persons.tickets:
            # A project that a restore made the hub forget is a stranger's, unless its deal starts it anew.
            forgotten = self._world.restores.at is not None and self._persons.deals[deal].data["status"] != "won"
            wanted = named and not ticket.deleted and not forgotten
            told = sum(str(one.data["text"]).startswith(f"Ticket {ticket.data['number']}") for one in comments)
            answered = sum(one.data["ticket"] == ticket.id for one in answers)
            yield from self._once(f"the comment on ticket {ticket.data['number']}", told, wanted=wanted, code="I3")
            yield from self._once(f"the answer on ticket {ticket.data['number']}", answered, wanted=wanted, code="I3")

    @staticmethod
    def _once(what: str, count: int, *, wanted: bool, code: str = "P2") -> Iterator[Violation]:
        if count > 1:
            yield Violation(f"{code} doubled", f"{what} is there {count} times")
        if count == 0 and wanted:
            yield Violation(f"{code} lost", f"{what} is missing")

    def _doubles(self) -> Iterator[Violation]:
        for vendor in self._vendors.values():
            refs = Counter(one.ref for one in vendor.made_by_hub())
            for ref, count in refs.items():
                if count > 1:
                    ids = [one.id for one in vendor.made_by_hub() if one.ref == ref]
                    yield Violation("P2 doubled", f"{vendor.name}: {ids} were made for one effect ({ref})")
        names = Counter(one.data["name"] for one in self._vendors["books"].made_by_hub("books.customer"))
        for name, count in names.items():
            if count > 1 and self._world.restores.at is None:  # another project of the client may come first after it
                yield Violation("E1 doubled", f"{count} customers are called {name}")

    def _history(self, conn: Connection) -> Iterator[Violation]:
        """P10: what was true before go-live starts nothing; and it is not hidden that it did not."""
        address = f"Deal: {self._vendors['crm'].url(self._persons.history)}"
        for one in self._vendors["projects"].made_by_hub("projects.project"):
            if address in str(one.data.get("notes")).splitlines():
                yield Violation("P10 doubled", "a deal that was won before go-live got a project")
        link = tables.link
        where = (link.c.kind == "crm.deal") & (link.c.record_id == self._persons.history.id)
        thing = conn.execute(select(link.c.thing).where(where)).scalar()
        finding = tables.finding
        withheld = conn.execute(
            select(finding.c.id).where(finding.c.kind == "withheld", finding.c.subject == (thing or ""))
        ).first()
        if thing is not None and withheld is None:
            yield Violation("P10", "what go-live kept from acting is listed nowhere")

    def _polite(self) -> Iterator[Violation]:
        for said in self._world.network.manners.impolite:
            yield Violation("I10", said)
        for vendor in self._vendors.values():
            if vendor.keys_misused and self._world.restores.at is None:  # which forgets the body that was sent
                yield Violation("I10", f"{vendor.name} was sent {vendor.keys_misused} keys with another body than before")

    # --- I4, I5: what came in ---------------------------------------------------------------------------------------------

    def _kept(self, conn: Connection) -> Iterator[Violation]:
        table = tables.delivery
        rows = list(conn.execute(select(table.c.endpoint, table.c.body_hash, table.c.state, table.c.reason, table.c.way)))
        known = {(row.endpoint, row.body_hash) for row in rows}
        erasing = self._world.erasing
        for kept in self._world.hooks.kept:
            if kept not in known and not (erasing is not None and erasing.told_of(kept[1])):
                yield Violation("I4 lost", f"a delivery at {kept[0]} was answered 2xx and is not there ({kept[1][:8]})")
        for row in rows:
            if row.state not in ("split", "parked"):
                yield Violation("I4", f"a delivery is still {row.state}")
        noticed = set(conn.execute(select(tables.notice.c.key).where(tables.notice.c.key.is_not(None))).scalars())
        for key in sorted(self._world.hooks.told - noticed):
            yield Violation("I4 lost", f"the entry {key} of a delivery that was answered 2xx is no notice")
        if self._world.hooks.accepted_forged:
            yield Violation("I5", f"{self._world.hooks.accepted_forged} forged webhooks were accepted")
        notice = tables.notice
        for row in conn.execute(select(notice).where(notice.c.state.in_(("open", "held")))):
            yield Violation("I4", f"notice {row.kind} {row.record_id} is still {row.state}: {row.reason} {row.detail}")

    # --- I8, I9, I13: what the hub keeps ------------------------------------------------------------------------------------

    def _hub(self, conn: Connection) -> Iterator[Violation]:
        effects = {row["id"]: dict(row) for row in conn.execute(select(tables.effect)).mappings()}
        for said in noted(conn):
            yield Violation("I8", said)
        for row in effects.values():
            if row["state"] in ("planned", "ready", "in flight", "in doubt"):
                yield Violation("I9", f"effect {row['name']} is {row['state']}: {row['reason']} {row['detail']}")
            if row["state"] == "held" and row["reason"] == "connection":
                yield Violation("I9", f"effect {row['name']} is held: {row['detail']}")
            if row["state"] != "done" and row["reason"] in UNDESERVED:
                yield Violation("I9", f"effect {row['name']} is {row['state']}: {row['reason']} {row['detail']}")
            elif row["state"] == "parked":
                yield Violation("I9", f"effect {row['name']} is parked for ever: {row['reason']} {row['detail']}")
        yield from self._undeserved(conn)
        yield from self._known(conn, effects)

    def _undeserved(self, conn: Connection) -> Iterator[Violation]:
        """Nothing in these worlds deserves to be parked as an error, or to be dropped."""
        met = {name for name, count in self._world.fired.items() if count} | ({"a copy"} if self._persons.copied else set())
        for name, reason, detail in sorted(self._persons.asked):
            if reason not in ASKED or (ASKED[reason] and met.isdisjoint(ASKED[reason])):
                yield Violation("I9", f"a person was asked for nothing about effect {name}: {reason} {detail}")
        notice = tables.notice
        for row in conn.execute(select(notice).where(notice.c.reason.in_((*UNDESERVED, "not mapped", "unknown kind")))):
            if row.kind in ("crm.deal", "crm.company", "projects.project", "desk.ticket", "books.invoice", "books.customer"):
                yield Violation("I9", f"notice {row.kind} {row.record_id} is {row.state}: {row.reason} {row.detail}")
        for row in conn.execute(select(notice).where(notice.c.state == "ignored", notice.c.reason == "deleted")):
            if not self._vendors[row.kind.partition(".")[0]].was_deleted(row.kind, row.record_id):
                yield Violation("I4 lost", f"notice {row.kind} {row.record_id} was dropped as deleted, and it never was")
        for parked in conn.execute(select(tables.delivery).where(tables.delivery.c.state == "parked")):
            yield Violation("I9", f"a delivery is parked: {parked.reason}")
        yield from self._bin(conn)
        if self._world.restores.at is None:  # which forgets what was drafted
            yield from self._billed(conn)

    @staticmethod
    def _billed(conn: Connection) -> Iterator[Violation]:
        """An invoice that the hub knows is one of the tool's, else what was never billed counts as billed."""
        invoice, link = tables.invoice, tables.link
        linked = select(link.c.thing).where(link.c.thing_kind == "invoice")
        for row in conn.execute(select(invoice).where(invoice.c.status != "void", invoice.c.id.not_in(linked))):
            yield Violation("I13", f"the hub knows of an invoice that is in no tool: {row.status} {row.total_minor}")

    def _bin(self, conn: Connection) -> Iterator[Violation]:
        """What was deleted, and what lives, is known; and nobody is said to have changed what nobody touched."""
        link = tables.link
        known = {(row.kind, row.record_id): row for row in conn.execute(select(link))}
        for vendor in self._vendors.values():
            for one in vendor.everything():
                there = known.get((one.kind, one.id))
                if one.deleted and there is not None and there.thing is not None and there.deleted_at is None:
                    yield Violation("I7", f"{one.kind} {one.id} was deleted, and the hub thinks that it lives")
                if not one.deleted and there is not None and there.deleted_at is not None:
                    yield Violation("I7", f"{one.kind} {one.id} lives, and the hub thinks that it was deleted")
        drift = select(tables.finding).where(tables.finding.c.kind == "drift")
        for row in conn.execute(drift):
            if not self._persons.touched_standing and self._world.restores.at is None:  # a restore forgets what we wrote
                yield Violation("I6", f"nobody touched it: {row.detail}")

    def _known(self, conn: Connection, effects: dict[str, dict[str, Any]]) -> Iterator[Violation]:
        done = Counter(row["record_id"] for row in effects.values() if row["record_id"])
        for vendor in self._vendors.values():
            for one in vendor.made_by_hub():
                if done[one.id] == 0 and not self._forgotten(one):
                    yield Violation("I13", f"{vendor.name} {one.id} was made by the hub, and no effect knows it")
            for one in vendor.everything():
                if one.by == "person" and one.ref is not None and done[one.id]:
                    yield Violation("I1", f"{vendor.name} {one.id} is a person's copy, and was taken for what the hub made")
        for row in conn.execute(select(tables.finding).where(tables.finding.c.kind == "double")):
            mine = effects.get(row.subject)  # else the record itself is what was found
            asked = self._world.plan.hubs > 1 and mine is not None and row.facts["found"] == mine["record_id"]
            left = mine is not None and self._left_over(mine, row.facts)
            if not self._persons.copied and not asked and not left:  # what one hub hears late, a person is asked about: the one
                yield Violation("P2", f"a double was found: {row.detail}")

    def _forgotten(self, record: Record) -> bool:
        """Tell whether a record was asked for in the time that a restore made the hub forget, however late it was made."""
        return self._world.restores.at is not None and (record.asked_at or record.created_at) <= self._world.restores.at

    def _left_over(self, effect: dict[str, Any], facts: dict[str, Any]) -> bool:
        """Tell whether it was made in the time that is forgotten, and is not wanted any more: a person is shown it."""
        made = [one for vendor in self._vendors.values() for one in vendor.made_by_hub() if one.id == facts["found"]]
        unwanted = effect["state"] == "cancelled" and facts["made"] is None
        return unwanted and any(self._forgotten(one) and one.ref == effect["marker"] for one in made)

    # --- I7: what the hub thinks is true ------------------------------------------------------------------------------------

    def _converged(self, conn: Connection) -> Iterator[Violation]:
        for vendor, kind, table, columns in (
            ("crm", "crm.deal", tables.deal, {"status": "status", "title": "title"}),
            ("projects", "projects.project", tables.project, {"status": "status", "title": "name"}),
            ("desk", "desk.ticket", tables.ticket, {"status": "status", "number": "number"}),
        ):
            link = tables.link
            joined = select(table, link.c.record_id.label("there")).join(link, link.c.thing == table.c.id)
            known = {row["there"]: row for row in conn.execute(joined.where(link.c.kind == kind)).mappings()}
            for record in self._vendors[vendor].alive(kind):
                row = known.get(record.id)
                if row is None:
                    if record.by == "person" and kind != "projects.project":
                        yield Violation("I7 lost", f"{kind} {record.id} is not known")
                    continue
                for column, name in columns.items():
                    if row[column] != record.data[name]:
                        seen, true = row[column], record.data[name]
                        yield Violation("I7", f"{kind} {record.id}: {name} is {true!r}, the hub thinks {seen!r}")
        if self._world.plan.standing:
            yield from self._standings(conn)

    def _standings(self, conn: Connection) -> Iterator[Violation]:
        link = tables.link
        joined = select(tables.client.c.standing, link.c.record_id).join(link, link.c.thing == tables.client.c.id)
        for row in conn.execute(joined.where(link.c.kind == "crm.company", link.c.merged_into.is_(None))):
            company: Any = self._vendors["crm"].records.get(("crm.company", row.record_id))
            foreign = self._persons.touched_standing or self._persons.merged
            if company is not None and not foreign and company.data["standing"] != row.standing.title():
                said = company.data["standing"]
                yield Violation("I7", f"the CRM says {said!r} of {row.record_id}, the hub {row.standing!r}")

    # --- I12: no secret anywhere ------------------------------------------------------------------------------------------

    @staticmethod
    def _secret(conn: Connection) -> Iterator[Violation]:
        for table, column in (
            (tables.attempt, "reply"),
            (tables.attempt, "detail"),
            (tables.notice, "detail"),
            (tables.refusal, "detail"),
            (tables.effect, "detail"),
            (tables.effect, "body"),
        ):
            for value in conn.execute(select(table.c[column]).where(table.c[column].is_not(None))).scalars():
                if TOKEN in str(value):
                    yield Violation("I12", f"{table.name}.{column} holds a secret")
