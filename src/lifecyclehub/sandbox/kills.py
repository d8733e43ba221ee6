"""The kill proof: many clients at once, misbehaving tools, and a hub that is killed again and again at seeded random times.

`python -m lifecyclehub.sandbox.kills --kills 30 --seed 1` runs rounds of new clients from inquiry to draft invoice. In
every phase of a round the hub's process gets SIGKILL at random moments and is started again on the same home. After each
round the tools' own history files are counted; at the end every webhook is sent again and nothing may change.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from lifecyclehub.cli.progress import Doing, doing
from lifecyclehub.sandbox.checker import Case, Proof, check, read_histories, writes
from lifecyclehub.sandbox.installation import connect, fresh_home
from lifecyclehub.sandbox.people import behave, domain_of, inquire, misbehave, own_port, write_to_the_desk
from lifecyclehub.sandbox.processes import DidNotHappen, HubProcess, Tools, stopped_in_order
from lifecyclehub.sandbox.story import checklist, quiet
from lifecyclehub.sandbox.watch import Watch
from lifecyclehub.settings import write_settings

QUIET_S = 90.0
LATEST_KILL_S = 1.6  # after a burst: most of its work is over by then
PHASES = ("inquiry", "won", "ticket", "closed")


@dataclass(slots=True)
class Kills:
    """One run: the two processes, the cases so far, and the kills that were made."""

    tools: Tools
    hub: HubProcess
    watch: Watch
    home: Path
    seed: int
    kills: int
    deals: int
    line: Doing
    misbehaving: bool = True
    cases: list[Case] = field(default_factory=list)
    made: int = 0
    most: int = 0
    began: float = field(default_factory=time.monotonic)

    def run(self) -> list[Proof]:
        """Go on with rounds until all kills are made, at least one of each kind; give the proof after each round."""
        chance = random.Random(self.seed)
        proofs: list[Proof] = []
        number = 0
        while self.made < self.kills or number < (2 if self.misbehaving else 1):
            number += 1
            bad = self.misbehaving and number % 2 == 0
            # In a short run the first round leaves some for the one in which the tools misbehave.
            self.most = (self.kills + 1) // 2 if self.misbehaving and number == 1 else self.kills
            self.line.now(f"Round {number}: {self.deals} clients")
            print(f"\nRound {number}: {self.deals} clients{', the tools misbehave' if bad else ''}")
            self._round(number, chance, bad=bad)
            proofs.append(check(read_histories(self.tools.home), self.cases, checklist(self.home)))
            print(f"  {proofs[-1].sentence()}")
            if not proofs[-1].holds:
                break
        return proofs

    def _round(self, number: int, chance: random.Random, *, bad: bool) -> None:
        if bad:
            misbehave(self.tools, chance)
        mine = [self._inquire(number, place) for place in range(self.deals)]
        self._killed("inquiry", chance)
        for case in mine:
            self.tools.act("hubspot", "win_deal", deal=case.deal)
        early = {case.deal: self._ticket(case, "before") for case in mine[::4]}
        self._killed("won", chance)
        late = {case.deal: self._ticket(case, "after") for case in mine[::2]}
        self._killed("ticket", chance)
        addresses = {one["name"]: one["gid"] for one in self.tools.act("asana", "list")["projects"]}
        for case in mine:
            tickets = tuple(one[case.deal] for one in (early, late) if case.deal in one)
            self.cases[self.cases.index(case)] = replace(case, tickets=tickets, closed=case.project in addresses)
            if case.project in addresses:
                self.tools.act("asana", "complete_project", project=addresses[case.project])
        self._killed("closed", chance)
        behave(self.tools)

    def _inquire(self, number: int, place: int) -> Case:
        total = Decimal(1000 * number + 7 * place) + Decimal("0.25")
        case = inquire(self.tools, f"Client {number}-{place:02d}", f"Website {number}-{place}", total)
        self.cases.append(case)
        return case

    def _ticket(self, case: Case, when: str) -> str:
        return write_to_the_desk(self.tools, domain_of(case.client), f"Question {when} the start")

    def _killed(self, phase: str, chance: random.Random) -> None:
        """Kill the hub at random moments of a phase, start it again each time, and wait until all its work is over."""
        for _ in range(chance.choice((1, 1, 2, 3))):
            if self.made >= self.most:
                break
            # Short waits fall into the start itself: a hub must survive that too.
            after = chance.choice((chance.uniform(0, 0.4), chance.uniform(0, LATEST_KILL_S), chance.uniform(0, LATEST_KILL_S)))
            time.sleep(after)
            self.hub.kill()
            self.made += 1
            self.line.at(self.made)
            print(f"  kill {self.made} of {self.kills}: {time.monotonic() - self.began:.2f} s, {after:.3f} s into {phase}")
            self.hub.start()
            if chance.random() < 0.8:
                self.hub.wait_until_ready()
        self.hub.wait_until_ready()
        quiet(self.tools, self.watch, QUIET_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line. Gives 0 when the proof holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lifecyclehub.sandbox.kills")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deals", type=int, default=10, help="clients in each round")
    parser.add_argument("--home", type=Path, help="keep the installation and the histories here")
    parser.add_argument("--behaved", action="store_true", help="the tools make no faults of their own")
    given = parser.parse_args(arguments)
    with stopped_in_order():
        if given.home is not None:
            return run(given.home.absolute(), given)
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            return run(Path(folder), given)


def run(home: Path, given: argparse.Namespace) -> int:
    """Set up, run all rounds, send everything again, and say what came of it."""
    print(f"{given.kills} kills, seed {given.seed}, {given.deals} clients a round")
    fresh_home(home)
    write_settings(home, {"port": own_port()})
    tools = Tools(home / "tools", home / "tools.log")
    hub = HubProcess(home, home / "hub.log")
    try:
        connect(home, tools, hub, {"rates": "off"})  # a vendor's rates would make most of the time a wait
        with Watch(home) as watch, doing("Killing the hub", given.kills) as line:
            one = Kills(tools, hub, watch, home, given.seed, given.kills, given.deals, line, misbehaving=not given.behaved)
            proofs = one.run()
            faults = again(one) if proofs[-1].holds else []
    except DidNotHappen as error:
        print(f"\nThe proof does not hold: {error}")
        return 1
    finally:
        hub.stop()
        tools.stop()
    wrong = [*proofs[-1].deviations(), *faults]
    for deviation in wrong:
        print(f"  {deviation}")
    print(f"\n{proofs[-1].sentence()} {one.made} kills. {'The proof does not hold.' if wrong else 'The proof holds.'}")
    return 1 if wrong else 0


def again(one: Kills) -> list[str]:
    """Send every webhook once more; give what changed by that, which must be nothing."""
    before = writes(read_histories(one.tools.home))
    count = one.tools.resend()
    quiet(one.tools, one.watch, QUIET_S)
    histories = read_histories(one.tools.home)
    proof = check(histories, one.cases, checklist(one.home))
    print(f"\nEvery webhook again: {count}. {proof.sentence()}")
    more = writes(histories) - before
    return proof.deviations() + ([f"{more} writes came of webhooks that told nothing new"] if more else [])


if __name__ == "__main__":
    sys.exit(main())
