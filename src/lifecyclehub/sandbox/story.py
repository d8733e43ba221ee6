"""The demo's story: one client from inquiry to draft invoice, with a ticket on the way and a kill in the middle."""

from __future__ import annotations

import random
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from lifecyclehub.sandbox.checker import Case, Proof, check, read_histories, writes
from lifecyclehub.sandbox.people import CONTACT, OWNER, inquire, write_to_the_desk
from lifecyclehub.sandbox.processes import HubProcess, Tools, wait_for
from lifecyclehub.sandbox.telling import Teller, shown
from lifecyclehub.sandbox.watch import Watch

CLIENT, DOMAIN = "Brightwater Foods", "brightwater.example"
TITLE, TOTAL = "Website relaunch", Decimal("12500.00")
STEP_S = 30.0
_WHO = """
SELECT l.record_id, (SELECT count(*) FROM teammate) FROM link l JOIN connection c ON c.id = l.connection
JOIN teammate t ON t.id = l.thing WHERE l.thing_kind = 'teammate' AND c.name = 'asana' AND t.email = :email
"""
_SLOW_S = 0.8
_ABOUT_TO = 0.5  # seconds: within this time after a task was sent the hub is killed
_CALM_LOOKS = 3


def checklist(home: Path) -> list[str]:
    """Give the titles of the onboarding checklist, as the installation has it."""
    rows = tomllib.loads((home / "mappings" / "tables" / "onboarding.toml").read_text("utf-8"))["row"]
    return [row["title"] for row in rows]


def quiet(tools: Tools, watch: Watch, seconds: float) -> None:
    """Wait until every webhook is answered and nothing is under way in the hub. Raises DidNotHappen saying what is."""
    calm = 0

    def look() -> bool | None:
        nonlocal calm
        # What is just over may still make a tool send another webhook: several calm looks in a row.
        calm = calm + 1 if not watch.under_way() and tools.settled() else 0
        return True if calm >= _CALM_LOOKS else None

    wait_for("quiet", look, seconds, watch.report)


@dataclass(slots=True)
class Story:
    """One client's way through four tools."""

    home: Path
    tools: Tools
    hub: HubProcess
    watch: Watch
    tell: Teller
    deal: str = ""
    ticket: str = ""

    def run(self) -> bool:
        """Walk all steps; True when the proof holds. Raises DidNotHappen for a step that does not come to its end."""
        self._people()
        self._inquiry()
        self._won_and_killed()
        self._ticket()
        self._closed()
        more = self._again()
        proof = self._proof()
        self.tell.proof(proof)
        return proof.holds and not more

    def _people(self) -> None:
        """Wait until the hub has looked who works there; it does so soon after its start."""
        wait_for("the tools' people", lambda: self.watch.ask(_WHO, email=OWNER) or None, STEP_S, self.watch.report)
        quiet(self.tools, self.watch, STEP_S)
        ((record, count),) = self.watch.ask(_WHO, email=OWNER)
        self.tell.pass_over()
        self.tell.line("teammates", f"{count} people are known by their addresses; {OWNER} is {record} in Asana", "green")

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _inquiry(self) -> None:
        self.tell.step(
            "An inquiry, in HubSpot",
            f"A colleague enters {CLIENT}, {CONTACT}, and the deal “{TITLE}” over EUR {shown(TOTAL)}.",
        )
        self.deal = inquire(self.tools, CLIENT, TITLE, TOTAL, DOMAIN).deal
        self._settle()

    def _won_and_killed(self) -> None:
        self.tell.step(
            "The deal is won, in HubSpot, and the hub is killed in the middle",
            "A colleague drags the deal to “Closed won”. Asana is slow with one of the tasks, and while that is on its way",
            "the hub's process gets SIGKILL: nobody is there to hear whether it was made.",
        )
        self.tools.misbehave("asana", faults=[{"do": "slow", "path": "/tasks$", "seconds": _SLOW_S}])
        self.tools.act("hubspot", "win_deal", deal=self.deal)
        wait_for("the first task's departure", self._task_on_its_way, STEP_S, self.watch.report)
        time.sleep(random.uniform(0, _ABOUT_TO))  # anywhere in the work; which moment it is must not matter
        self.hub.kill()
        under_way = ", ".join(f"{name}: {count}" for name, count in self.watch.under_way().items()) or "nothing under way"
        self.tell.line("killed", f"it left behind: {under_way}", "red")
        self.hub.start()
        self.hub.wait_until_ready()
        self.tell.line("restarted", "on the same home: what was in flight is looked up before anything is sent again", "yellow")
        self._settle()

    def _task_on_its_way(self) -> bool:
        return bool(self.watch.ask("SELECT id FROM effect WHERE action = 'create_task' AND state = 'in flight'"))

    def _ticket(self) -> None:
        self.tell.step(
            "A ticket, in Zendesk",
            f"{CONTACT} writes: “Login broken”. Her address belongs to {CLIENT}, who has one live project.",
        )
        self.ticket = write_to_the_desk(self.tools, DOMAIN, "Login broken", "I cannot log in to the preview any more.")
        self._settle()

    def _closed(self) -> None:
        self.tell.step("The project is completed, in Asana", "A colleague marks the whole project as complete.")
        (project,) = [one["gid"] for one in self.tools.act("asana", "list")["projects"]]
        self.tools.act("asana", "complete_project", project=project)
        self._settle()

    def _again(self) -> int:
        """Send every webhook again; give how many writes came of it, which must be none."""
        before = writes(read_histories(self.tools.home))
        count = self.tools.resend()
        self.tell.step("Every webhook once more", f"The four tools send all their {count} deliveries a second time.")
        quiet(self.tools, self.watch, STEP_S)
        more = writes(read_histories(self.tools.home)) - before
        if more:
            self.tell.line("wrong", f"{more} more writes reached the tools", "red")
        else:
            self.tell.line("nothing", "happened: each record was looked at again, and all was done already", "green")
        return more

    def _proof(self) -> Proof:
        self.tell.step("The proof", "Counted in the four tools' own history files, without asking the hub.")
        return check(read_histories(self.tools.home), self.cases(), checklist(self.home))

    def cases(self) -> Sequence[Case]:
        """Give what people did."""
        return [Case(deal=self.deal, client=CLIENT, title=TITLE, total=TOTAL, closed=True, tickets=(self.ticket,))]

    def _settle(self) -> None:
        quiet(self.tools, self.watch, STEP_S)
        self.tell.news()
