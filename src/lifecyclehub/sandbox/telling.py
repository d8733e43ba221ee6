"""Telling a person what the hub did: the notices that came, what it decided, and the receipts."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lifecyclehub.sandbox.checker import Proof
from lifecyclehub.sandbox.watch import Watch

_WIDE = 120
_EVENTS = {
    "client.met": "a client we did not know",
    "deal.opened": "a deal was opened",
    "deal.won": "the deal is won",
    "project.opened": "the project is open",
    "project.closed": "the project is closed",
    "ticket.opened": "a ticket was opened",
    "ticket.joined": "the ticket belongs to the client's only live project",
    "invoice.drafted": "an invoice is drafted",
}
# What is worth showing of an effect's input, by its action.
_DETAILS: Mapping[str, tuple[str, ...]] = {
    "create_project": ("name",),
    "rename_project": ("name",),
    "create_task": ("title", "owner", "due_on"),
    "add_note": ("text",),
    "add_comment": ("text",),
    "add_internal_comment": ("text",),
    "create_customer": ("name", "email"),
    "create_draft_invoice": ("reference", "currency", "due_on"),
}
_LOOKED = {
    "Found": "found, and taken over",
    "Absent": "proven absent, and sent again",
    "Retry": "doing it again changes nothing, so it was sent again",
}
_NEWS = """
SELECT c.name, n.kind, n.record_id, n.state, n.reason, count(*), count(DISTINCT n.delivery)
FROM notice n JOIN connection c ON c.id = n.connection WHERE n.id > :after GROUP BY 1, 2, 3, 4, 5 ORDER BY min(n.id)
"""
_PLANNED = "SELECT handoff, count(*) FROM effect WHERE id > :after GROUP BY handoff ORDER BY min(id)"
_RECEIPTS = """
SELECT e.id, e.name, e.action, e.state, e.reason, e.address, e.record_id, e.input, c.name FROM effect e
LEFT JOIN connection c ON c.id = e.connection WHERE e.id > :after ORDER BY e.id
"""
_ATTEMPTS = "SELECT what, outcome FROM attempt WHERE effect = :effect ORDER BY id"


class Teller:
    """Prints the story: coloured on a terminal, plain elsewhere. `news` tells what happened since it was asked last.

    `began` is the moment, on the monotonic clock, from which it says how long it took.
    """

    def __init__(self, home: Path, watch: Watch, began: float) -> None:
        self.console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, soft_wrap=True)
        self._watch = watch
        handoffs = tomllib.loads((home / "mappings" / "handoffs.toml").read_text("utf-8"))["handoff"]
        self._titles = {one["id"]: one["title"] for one in handoffs}
        self._notice = self._effect = self._event = ""
        self._began, self._step = began, 0

    def step(self, title: str, *lines: str) -> None:
        """Begin a step: what a person does, or what is done to the hub."""
        self._step += 1
        self.console.print()
        self.console.print(Text(f"{self._step}. {title}", style="bold"), Text(f"({self.seconds:.0f} s)", style="dim"))
        for line in lines:
            self.console.print(Text(f"   {line}"))

    def pass_over(self) -> None:
        """Leave out what the hub was told until now."""
        self._notice, self._event = self._last("notice", self._notice), self._last("event", self._event)

    @property
    def seconds(self) -> float:
        """How long the story has lasted."""
        return time.monotonic() - self._began

    def line(self, word: str, text: str, style: str = "") -> None:
        """Print one line that begins with one of our words."""
        self.console.print(Text.assemble("   ", (f"{word:<10}", f"bold {style}".strip()), text))

    def news(self) -> None:
        """Tell of the notices, decisions and receipts since the last time."""
        self._tell_notices()
        self._tell_decisions()
        self._tell_receipts()

    def _tell_notices(self) -> None:
        rows = self._watch.ask(_NEWS, after=self._notice)
        for connection, kind, record, state, reason, count, deliveries in rows:
            what = kind.partition(".")[2]
            how = state if reason is None else f"{state}: {reason}"
            came = f"{count} {_plural('entry', count)} in {deliveries} {_plural('delivery', deliveries)}"
            self.line("notice", f"{connection}: the {what} {record} may have changed; {came}, {how}", "cyan")
        self._notice = self._last("notice", self._notice)

    def _tell_decisions(self) -> None:
        facts = [row[0] for row in self._watch.ask("SELECT kind FROM event WHERE id > :after ORDER BY id", after=self._event)]
        self._event = self._last("event", self._event)
        for fact in dict.fromkeys(facts):
            self.line("event", f"{fact}: {_EVENTS.get(fact, 'a fact became true')}", "cyan")
        planned = self._watch.ask(_PLANNED, after=self._effect)
        for handoff, count in planned:
            self.line("decision", f"“{self._titles.get(handoff, handoff)}” is due: {count} {_plural('effect', count)}", "magenta")
        if not planned:
            self.line("decision", "no handoff is due, so nothing is done in any tool", "magenta")

    def _tell_receipts(self) -> None:
        for effect, name, action, state, reason, address, record, given, connection in self._watch.ask(
            _RECEIPTS, after=self._effect
        ):
            value = json.loads(given) if isinstance(given, str) else given or {}
            details = [_said(value[member]) for member in _DETAILS.get(action, ()) if value.get(member)]
            said = f"{connection}: {name}" + (f" “{'”, “'.join(details)}”" if details else "")
            if state != "done":
                self.line("waits", f"{said}: {state}, {reason}", "yellow")
                continue
            self.line("receipt", said, "green")
            where = address or f"record {record}"
            self.console.print(Text(f"             → {where}", style="dim"))
            self._tell_doubt(effect)
        self._effect = self._last("effect", self._effect)

    def _tell_doubt(self, effect: str) -> None:
        """Tell how an uncertain effect became certain."""
        attempts = self._watch.ask(_ATTEMPTS, effect=effect)
        looked = [outcome for what, outcome in attempts if what == "looked up"]
        if looked:
            found = _LOOKED.get(looked[-1], "and sent again")
            self.console.print(Text(f"             was in doubt after the kill: looked up, {found}", style="yellow"))

    def _last(self, table: str, before: str) -> str:
        return self._watch.ask(f"SELECT max(id) FROM {table}")[0][0] or before  # noqa: S608 (our own words)

    # --- the proof ----------------------------------------------------------------------------------------------------

    def proof(self, proof: Proof) -> None:
        """Print what was counted in the tools' own histories."""
        effects = Table("Tool", "What", "To be done", "Done", box=None, pad_edge=False, header_style="bold")
        for tool, what, expected, found in proof.rows():
            effects.add_row(tool, what, str(expected), str(found), style="" if expected == found else "red")
        told = Table("Tool", "Deliveries", "Sent", "Answered", box=None, pad_edge=False, header_style="bold")
        for tool, one in proof.told.items():
            told.add_row(tool, str(one.deliveries), str(one.sendings), str(one.answered))
        for table in (effects, told):
            self.console.print()
            self.console.print(table)
        self.console.print()
        for deviation in proof.deviations():
            self.console.print(Text(f"   {deviation}", style="red"))
        verdict = "The proof holds." if proof.holds else "The proof does not hold."
        self.console.print(Text(f"{proof.sentence()} {verdict}", style="bold green" if proof.holds else "bold red"))


def _said(value: Any) -> str:
    """Write a member of an input; an owner as the acting tool knows them."""
    if isinstance(value, dict) and "email" in value:
        return f"{value['email']}, there {value['record']}" if value["record"] else f"{value['email']}, nobody there"
    return str(value).replace("\n", " ")


def _plural(word: str, count: int) -> str:
    if count == 1:
        return word
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def shown(value: Any) -> str:
    """Write an amount as people do: 12500 is 12,500.00."""
    return f"{value:,.2f}"
