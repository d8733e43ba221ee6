"""`status` and `check`: how things are, on one screen, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import Connection

from lifecyclehub import __version__
from lifecyclehub.admin.mappings import check_mappings
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.home import holder_of, settings_of
from lifecyclehub.cli.shared import AsJson, ago, ask, clock, console, home_of, plain, print_json, print_table
from lifecyclehub.errors import MappingError
from lifecyclehub.insight.check import Problem
from lifecyclehub.insight.check import check as judge
from lifecyclehub.insight.status import ConnectionStatus, HandoffStatus, Status, Waiting, read_status
from lifecyclehub.registry.registry import Registry
from lifecyclehub.settings import Settings

_WORDS = {"open": "to be worked on", "held": "held", "planned": "planned", "ready": "ready to be sent", "parked": "PARKED"}


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(status)
    app.command()(check)


@dataclass(frozen=True, slots=True)
class _Seen:
    settings: Settings
    status: Status
    problems: tuple[Problem, ...]
    holder: str | None


def _look(ctx: typer.Context) -> _Seen:
    settings = settings_of(home_of(ctx))
    registry = Registry.load()
    checked = check_mappings(registry, settings)

    def question(conn: Connection) -> Status:
        return read_status(
            conn,
            abouts={name: connector.about for name, connector in registry.connectors.items()},
            handoffs=checked.rules.handoffs.handoffs if checked.rules else (),
            now=datetime.now(UTC),
            refused=[(one.name, one.reason, one.mend) for one in registry.refused],
        )

    found = ask(ctx, question)
    problems = [*map(_of_mapping, checked.problems), *judge(found)]
    if checked.rules is None:  # handoffs that cannot be read are not gone from their file
        problems = [one for one in problems if not one.where.startswith("handoff ")]
    return _Seen(settings, found, tuple(problems), holder_of(settings))


def _of_mapping(error: MappingError) -> Problem:
    return Problem(severity="wrong", where=error.where or "mappings", what=error.what, mend=error.mend)


def _wrong(problems: Iterable[Problem]) -> int:
    return sum(one.severity == "wrong" for one in problems)


# --- status -----------------------------------------------------------------------------------------------------------


def status(
    ctx: typer.Context,
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 when something is wrong.")] = False,
) -> None:
    """Show on one screen how things are: connections, what waits and why, who must look at what."""
    seen = _look(ctx)
    if as_json:
        shown = plain(seen.status) | {"running": seen.holder is not None, "problems": plain(seen.problems)}
        print_json(shown)
    else:
        _show(seen)
    if strict and _wrong(seen.problems):
        raise typer.Exit(ATTENTION)


def _show(seen: _Seen) -> None:
    out, now = console(), seen.status
    running = f"running, process {seen.holder}" if seen.holder else "not running (start it: lifecyclehub serve)"
    if seen.settings.database.startswith("postgresql"):
        running = "on PostgreSQL"
    out.print(f"lifecyclehub {__version__}, {running}. Home: {seen.settings.home}", markup=False)
    rows = [_connection(one) for one in now.connections]
    empty = "No connections yet. Add one: lifecyclehub connections add NAME CONNECTOR"
    print_table(
        ("Connection", "Plays", "State", "Last heard", "Last looked", "Looks again"), rows, empty=empty, title="Connections"
    )
    waiting = [(what, one) for what in ("deliveries", "notices", "effects") for one in getattr(now, what)]
    print_table(
        ("What", "Is", "Because", "How many"),
        [(what, _WORDS.get(one.state, one.state), one.reason, one.count) for what, one in waiting],
        empty="\nNothing waits: everything that came in is worked off.",
        title="Waiting",
    )
    print_table(
        ("Handoff", "State", "Acts on facts since", "Left alone"),
        [(one.id, one.state, clock(one.go_live), _left_alone(one)) for one in now.handoffs],
        empty="",
        title="Handoffs",
    )
    if now.parked:
        rows_ = [(one.id, one.reason, _short(one.detail)) for one in now.parked]
        print_table(
            ("For a person", "Why", "What it says"), rows_, empty="", title="Parked (lifecyclehub explain ID says what to do)"
        )
    out.print(f"\n{_verdict(seen.problems, now.deliveries, now.notices, now.effects)}", markup=False)


def _connection(one: ConnectionStatus) -> tuple[object, ...]:
    state = one.state if one.state == "active" else f"{one.state}: {one.reason or ''}"
    looked = one.last_sweep or "never"
    return (one.name, one.roles, state, ago(one.last_heard), looked, one.next_sweep)


def _left_alone(one: HandoffStatus) -> str:
    return ", ".join(f"{entry.count} {entry.code}" for entry in one.withheld)


def _short(text: str | None, length: int = 100) -> str | None:
    return text if text is None or len(text) <= length else text[: length - 1] + "…"


def _verdict(problems: Sequence[Problem], *work: Sequence[Waiting]) -> str:
    doubtful = sum(one.count for many in work for one in many if one.state == "in doubt")
    parked = sum(one.count for many in work for one in many if one.state == "parked")
    wrong, look = _wrong(problems), len(problems) - _wrong(problems)
    said = [f"{wrong} wrong" if wrong else "nothing wrong", f"{look} worth a look", f"{parked} parked", f"{doubtful} in doubt"]
    return f"In short: {', '.join(said)}." + (" More: lifecyclehub check" if problems else "")


# --- check ------------------------------------------------------------------------------------------------------------


def check(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Say what is wrong and how to mend it; ends with 1 when something is."""
    seen = _look(ctx)
    if as_json:
        print_json(seen.problems)
    else:
        for one in seen.problems:
            word = "Wrong" if one.severity == "wrong" else "Look "
            console().print(f"{word}  {one.where}: {one.what}\n       {one.mend}", markup=False)
        if not seen.problems:
            console().print("All is well.")
    if _wrong(seen.problems):
        raise typer.Exit(ATTENTION)
