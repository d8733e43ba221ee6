"""`status` and `check`: how things are, on one screen, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from sqlalchemy import Connection

from lifecyclehub import __version__
from lifecyclehub.admin.hosts import host_fingerprint, is_confirmed
from lifecyclehub.admin.mappings import Waiting as WaitingEdits
from lifecyclehub.admin.mappings import waiting_edits
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.getting_in import told_of
from lifecyclehub.cli.home import holder_of, settings_of
from lifecyclehub.cli.progress import doing, is_quiet
from lifecyclehub.cli.shared import ask, home_of
from lifecyclehub.cli.showing import AsJson, ago, clock, console, plain, print_json, print_table
from lifecyclehub.insight.check import Problem
from lifecyclehub.insight.check import check as judge
from lifecyclehub.insight.status import ConnectionStatus, HandoffStatus, Status, Waiting, read_status
from lifecyclehub.registry.registry import Registry
from lifecyclehub.settings import Settings
from lifecyclehub.store.database import POSTGRES
from lifecyclehub.store.leases import living_hubs

_SHOWN_FINDINGS: Final = 5
_WORDS = {"open": "to be worked on", "held": "held", "planned": "planned", "ready": "ready to be sent", "parked": "PARKED"}


@dataclass(frozen=True, slots=True)
class _Seen:
    settings: Settings
    status: Status
    problems: tuple[Problem, ...]
    waiting: WaitingEdits
    holder: str | None
    hubs: int  # that live; an embedded store has one at most


def _look(ctx: typer.Context) -> _Seen:
    settings = settings_of(home_of(ctx))
    registry = Registry.load()

    def question(conn: Connection) -> tuple[Status, WaitingEdits, int]:
        waiting = waiting_edits(conn, registry, settings)
        usable = waiting.in_force.registry
        status = read_status(
            conn,
            abouts={name: connector.about for name, connector in usable.connectors.items()},
            handoffs=waiting.in_force.rules.handoffs.handoffs,
            now=datetime.now(UTC),
            refused=[(one.name, one.reason, one.mend) for one in usable.refused],
        )
        may = status.outbound_allowed and is_confirmed(conn, host_fingerprint(settings))
        return replace(status, outbound_allowed=may), waiting, living_hubs(conn, datetime.now(UTC))

    with doing("Reading the mappings", quiet=is_quiet(ctx)):
        found, waiting, living = ask(ctx, question)
    holder = holder_of(settings)
    hubs = living if settings.database.startswith(POSTGRES) else int(holder is not None)
    return _Seen(settings, found, (*_of_files(waiting), *judge(found)), waiting, holder, hubs)


def _of_files(waiting: WaitingEdits) -> Iterator[Problem]:
    """Say what is to know of edited files: the hub goes on with what was applied, however faulty they are."""
    for error in waiting.checked.problems:
        what = f"edited, not applied, and faulty: {error.what}"
        yield Problem(severity="look", where=error.where or "mappings", what=what, mend=error.mend)
    if waiting.standing != "in step" and not waiting.checked.problems:
        yield Problem(severity="look", where="mappings", what=_STANDING[waiting.standing], mend=_MEND[waiting.standing])


_STANDING: Final = {
    "edited": "edited files wait to be applied; the hub works with what was applied last.",
    "behind": "the files are older than the applied set, which was changed elsewhere.",
    "both": "the files and the applied set were both changed since they were the same.",
}
_MEND: Final = {
    "edited": "See what they change, and apply them: `lifecyclehub mappings apply`.",
    "behind": "Bring them up to date: `lifecyclehub mappings write`.",
    "both": "Keep one of them: `lifecyclehub mappings apply --over` or `lifecyclehub mappings write --over`.",
}


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
        shown = plain(seen.status) | {"running": seen.hubs > 0, "hubs": seen.hubs, "problems": plain(seen.problems)}
        shown |= {"applied_set": seen.waiting.in_force.kept, "files": seen.waiting.standing}
        print_json(shown)
    else:
        _show(seen)
    if strict and _wrong(seen.problems):
        raise typer.Exit(ATTENTION)


def _show(seen: _Seen) -> None:
    out, now = console(), seen.status
    out.print(f"lifecyclehub {__version__}, {_running(seen)}. Home: {seen.settings.home}", markup=False)
    for one in seen.problems:
        if one.where == "installation":  # why nothing is sent at all stands above everything else
            out.print(f"\nAttention: {one.what} {one.mend}", markup=False)
    rows = [_connection(one) for one in now.connections]
    empty = "No connections yet. Add one: lifecyclehub connections add NAME CONNECTOR"
    print_table(
        ("Connection", "Plays", "State", "Last heard", "Last looked", "Looks again"), rows, empty=empty, title="Connections"
    )
    told = [line for one in now.connections for line in told_of(one)]
    if told:
        print_table(("Connection", "What", "How it is"), told, empty="", title="Looking for changes, and hooks")
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
    if now.findings:
        found = [(one.id, one.kind, _short(one.detail)) for one in now.findings[:_SHOWN_FINDINGS]]
        more = "" if len(now.findings) <= _SHOWN_FINDINGS else f"; {len(now.findings) - _SHOWN_FINDINGS} more"
        title = f"Findings (lifecyclehub findings ID says what to do{more})"
        print_table(("Found", "What", "What it says"), found, empty="", title=title)
    if seen.waiting.checked.problems:
        out.print("\nMappings: edited files are faulty and not applied; see `lifecyclehub mappings check`.", markup=False)
    elif seen.waiting.standing != "in step":
        standing = seen.waiting.standing
        out.print(f"\nMappings: {_STANDING[standing]} {_MEND[standing]}", markup=False)
    out.print(f"\n{_verdict(seen.problems, now.deliveries, now.notices, now.effects)}", markup=False)


def _running(seen: _Seen) -> str:
    if not seen.hubs:
        return "not running (start it: lifecyclehub serve)"
    if seen.holder:
        return f"running, process {seen.holder}"
    return f"running in {seen.hubs} {'place' if seen.hubs == 1 else 'places'} on PostgreSQL"


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
