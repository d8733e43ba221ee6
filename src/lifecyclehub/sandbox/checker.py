"""The proof: what the tools' own history files say was done, held against what people did there.

It asks neither the hub nor its store, and knows nothing of either: it reads the four history files and counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from lifecyclehub.sandbox.history import read_history

TOOLS = ("hubspot", "asana", "zendesk", "xero")
THREAD = "Support tickets"
STARTED, DRAFTED = "Delivery has started", "invoice is drafted"
_WRITES = ("created", "changed", "commented", "tagged", "deleted", "queued", "archived", "merged")

Line = Mapping[str, Any]
Histories = Mapping[str, Sequence[Line]]


class Did(NamedTuple):
    """One thing that was to be done, or was done: in which tool, what, and for whom or what."""

    tool: str
    what: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What people did about one deal, and so what the hub had to do. `closed`: its project was completed."""

    deal: str
    client: str
    title: str
    total: Decimal
    won: bool = True
    closed: bool = False
    tickets: tuple[str, ...] = ()

    @property
    def project(self) -> str:
        """The name that its project must end up with."""
        return f"{self.client}: {self.title}"


@dataclass(frozen=True, slots=True)
class Told:
    """How often a tool told the hub of something, and how often the hub answered that it has it."""

    deliveries: int
    sendings: int
    answered: int


@dataclass(slots=True)
class Proof:
    """What the count came to."""

    expected: Counter[Did] = field(default_factory=Counter)
    found: Counter[Did] = field(default_factory=Counter)
    told: dict[str, Told] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def lost(self) -> Counter[Did]:
        """What was to be done and was not."""
        return self.expected - self.found

    @property
    def doubles(self) -> Counter[Did]:
        """What was done more often than it should have been, or should not have been done at all."""
        return self.found - self.expected

    @property
    def holds(self) -> bool:
        """Tell whether everything was done exactly once, every delivery was answered, and nothing else is wrong."""
        return not (self.lost or self.doubles or self.faults or any(one.answered != one.deliveries for one in self.told.values()))

    def sentence(self) -> str:
        """Say it in one sentence."""
        deliveries = sum(one.deliveries for one in self.told.values())
        answered = sum(one.answered for one in self.told.values())
        asked, done, doubles, lost = (one.total() for one in (self.expected, self.found, self.doubles, self.lost))
        return (
            f"{deliveries} deliveries, {answered} answered; {asked} effects were to be done, {done} were: "
            f"{doubles} doubles, {lost} lost."
        )

    def deviations(self) -> list[str]:
        """Name everything that is wrong, a line each."""
        said = [f"lost: {one.tool} {one.what} for {one.about} ({count})" for one, count in sorted(self.lost.items())]
        said += [
            f"double: {one.tool} {one.what} for {one.about} ({count} too many)" for one, count in sorted(self.doubles.items())
        ]
        said += [
            f"unanswered: {name} sent {one.deliveries} deliveries, {one.answered} were answered"
            for name, one in self.told.items()
            if one.answered != one.deliveries
        ]
        return said + self.faults

    def rows(self) -> list[tuple[str, str, int, int]]:
        """Give (tool, what, expected, found), one row for each sort of effect."""
        sorts = list(dict.fromkeys((one.tool, one.what) for one in (*self.expected, *self.found)))
        return [(tool, what, _sum(self.expected, tool, what), _sum(self.found, tool, what)) for tool, what in sorts]


def _sum(counted: Counter[Did], tool: str, what: str) -> int:
    return sum(count for one, count in counted.items() if (one.tool, one.what) == (tool, what))


def read_histories(home: Path) -> dict[str, list[Line]]:
    """Read the history files of the tools that keep theirs in a folder."""
    return {name: list(read_history(home / f"{name}.history.jsonl")) for name in TOOLS}


def check(histories: Histories, cases: Sequence[Case], checklist: Sequence[str]) -> Proof:
    """Count what was done against what these cases ask for. `checklist`: the titles of the tasks of every won deal."""
    proof = Proof()
    for case in cases:
        proof.expected.update(_asked(case, checklist))
    found, faults = _found(histories, cases)
    proof.found.update(found)
    proof.faults += faults + _repeated_markers(histories) + _unproven(histories, cases)
    proof.told = {name: _told(lines) for name, lines in histories.items()}
    return proof


def writes(histories: Histories) -> int:
    """Count everything that was written through the tools' APIs: it must stay the same once nothing outside changes."""
    return sum(1 for lines in histories.values() for line in lines if line.get("by") == "api" and line["what"] in _WRITES)


# --- what was to be done ----------------------------------------------------------------------------------------------


def _asked(case: Case, checklist: Sequence[str]) -> Iterable[Did]:
    if not case.won:
        return
    name = case.project
    yield Did("asana", "project", name)
    yield Did("asana", "final name", name)
    for title in checklist:
        yield Did("asana", "checklist task", f"{name} / {title}")
    yield Did("hubspot", "note: delivery has started", f"deal {case.deal} / {name}")
    if case.tickets:
        yield Did("asana", "task for tickets", name)
    for ticket in case.tickets:
        yield Did("asana", "comment on a ticket", f"{name} / {ticket}")
        yield Did("zendesk", "internal comment", f"{ticket} / {name}")
    if case.closed:
        yield Did("xero", "contact", case.client)
        yield Did("xero", "draft invoice", f"{case.client} / {case.title} / {case.total:.2f}")
        yield Did("hubspot", "note: invoice is drafted", f"deal {case.deal} / {name}")


# --- what was done ----------------------------------------------------------------------------------------------------


def _found(histories: Histories, cases: Sequence[Case]) -> tuple[list[Did], list[str]]:
    """Give everything that the hub did, in the same words as `_asked`; what fits nothing is named as it stands."""
    asana, faults = _Asana(histories["asana"], {case.project for case in cases}), list[str]()
    customers = {line["id"]: line["name"] for line in _by_hub(histories["xero"], "created", "contact")}
    found = list(asana.found())
    found += [_note(line, asana.projects) for line in _by_hub(histories["hubspot"], "created")]
    found += [_answer(line, asana.projects, faults) for line in _by_hub(histories["zendesk"], "commented")]
    found += [Did("xero", "contact", name) for name in customers.values()]
    for line in _by_hub(histories["xero"], "created", "invoice"):
        who = customers.get(line["contact"], line["contact"])
        found.append(Did("xero", "draft invoice", f"{who} / {line['name']} / {Decimal(line['total']):.2f}"))
    for tool in ("hubspot", "zendesk", "xero"):
        other = ("changed", "tagged", "deleted", "archived", "merged")
        found += [Did(tool, line["what"], f"{line['kind']} {line['id']}") for line in _by_hub(histories[tool], *other)]
    return found, faults + asana.faults


def _by_hub(lines: Iterable[Line], *wanted: str) -> list[Line]:
    """Give the lines of what was done through the API: (what, …) or (what, kind); webhooks are set-up, not effects."""
    kinds = {one for one in wanted if one in ("contact", "invoice", "project", "task")}
    mine = [line for line in lines if line.get("by") == "api" and line["what"] in wanted and line.get("kind") != "webhook"]
    return [line for line in mine if not kinds or line["kind"] in kinds]


class _Asana:
    """Reads Asana's lines: which project every task and comment belongs to, and what its final name is."""

    def __init__(self, lines: Sequence[Line], names: set[str]) -> None:
        self._lines = lines
        self.faults: list[str] = []
        self.projects: dict[str, str] = {}
        for line in _by_hub(lines, "created", "project"):
            bare = line["name"].removesuffix(line["marker"] or "").strip()
            self.projects[line["id"]] = bare if bare in names else line["name"]
        self._tasks = {line["id"]: line for line in _by_hub(lines, "created", "task")}

    def found(self) -> Iterable[Did]:
        for name in self.projects.values():
            yield Did("asana", "project", name)
        for line in _by_hub(self._lines, "changed"):
            # The last step of a project from a template; any other change is none of the hub's business.
            final = line["kind"] == "project" and line["fields"] == ["name"]
            yield Did("asana", "final name" if final else f"change of {line['fields']}", line["name"])
        for one in self._tasks.values():
            project = self.projects.get(one["project"]) or f"project {one['project']}"
            sort, about = (
                ("task for tickets", project) if one["name"] == THREAD else ("checklist task", f"{project} / {one['name']}")
            )
            yield Did("asana", sort, about)
        for line in _by_hub(self._lines, "commented"):
            task = self._tasks.get(line["id"], {})
            project = self.projects.get(task.get("project", ""), f"task {line['id']}")
            if task.get("name") != THREAD:
                self.faults.append(f"a comment stands on the task {task.get('name') or line['id']}, not on {THREAD!r}")
            yield Did("asana", "comment on a ticket", f"{project} / {_ticket_in(line['text'])}")
        for line in _by_hub(self._lines, "deleted"):
            yield Did("asana", "deleted", line["id"])


def _ticket_in(text: str) -> str:
    """Give the number of the ticket that a comment announces: `Ticket 12: subject`."""
    number, _, _ = text.removeprefix("Ticket ").partition(":")
    return number


def _project_in(text: str | None, projects: Mapping[str, str]) -> str:
    """Give the project whose address a text holds."""
    return next((name for gid, name in projects.items() if text and gid in text), "no project")


def _note(line: Line, projects: Mapping[str, str]) -> Did:
    text = line.get("text") or ""
    kind = STARTED if STARTED in text else DRAFTED if DRAFTED in text else None
    if line["kind"] != "note" or kind is None:
        return Did("hubspot", line["kind"], line["id"])
    sort = "note: delivery has started" if kind == STARTED else "note: invoice is drafted"
    return Did("hubspot", sort, f"{', '.join(line.get('on') or ['nothing'])} / {_project_in(text, projects)}")


def _answer(line: Line, projects: Mapping[str, str], faults: list[str]) -> Did:
    if line["public"]:
        faults.append(f"the comment {line['comment']} on ticket {line['id']} is public: the client can read it")
    return Did("zendesk", "internal comment", f"{line['id']} / {_project_in(line['text'], projects)}")


# --- what else would be wrong -----------------------------------------------------------------------------------------


def _repeated_markers(histories: Histories) -> list[str]:
    """Each create carries a marker of its own: two with the same are one effect done twice, whatever they look like."""
    made = ("created", "commented")
    marked = Counter(
        (name, line["marker"])
        for name, lines in histories.items()
        for line in lines
        if line.get("by") == "api" and line["what"] in made and line.get("marker")
    )
    return [f"{name} holds {count} records with the marker {marker}" for (name, marker), count in marked.items() if count > 1]


def _unproven(histories: Histories, cases: Sequence[Case]) -> list[str]:
    """A case must itself be in the histories: that its deal was won, its tickets were opened, its project completed."""
    won = {
        line["id"]
        for line in histories["hubspot"]
        if line["what"] == "changed" and line["by"] == "person" and line.get("fields", {}).get("dealstage") == "closedwon"
    }
    tickets = {line["id"] for line in histories["zendesk"] if line["what"] == "created" and line.get("kind") == "ticket"}
    closed = {
        line["name"]
        for line in histories["asana"]
        if line["what"] == "changed" and line["by"] == "person" and "completed" in line["fields"]
    }
    said = [f"nobody won the deal {case.deal}" for case in cases if case.won and case.deal not in won]
    said += [f"nobody opened the ticket {one}" for case in cases for one in case.tickets if one not in tickets]
    return said + [f"nobody completed the project {case.project}" for case in cases if case.closed and case.project not in closed]


def _told(lines: Sequence[Line]) -> Told:
    sent = [line for line in lines if line["what"] == "sent"]
    first = sum(1 for line in sent if line["attempt"] == 0)
    return Told(deliveries=first, sendings=len(sent), answered=sum(1 for line in sent if 200 <= line["status"] < 300))
