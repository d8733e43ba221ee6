"""`findings` and `settle`: what was found that a person should know, and a person's word on it."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecyclehub.admin.findings import SettleFindings, Settling
from lifecyclehub.cli.pages import After, Limit, show_one, show_page
from lifecyclehub.cli.shared import Who, me, writing
from lifecyclehub.cli.showing import AsJson, clock, console, print_json
from lifecyclehub.insight.check import mend_of
from lifecyclehub.insight.findings import Finding, FindingKind, FindingState, list_findings
from lifecyclehub.insight.findings import finding as find
from lifecyclehub.insight.lists import Asked
from lifecyclehub.ports import SystemClock


def findings(
    ctx: typer.Context,
    finding: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
    state: Annotated[FindingState, typer.Option(help="Only those in this state.")] = "open",
    kind: Annotated[
        FindingKind | None, typer.Option(help="Only those of this kind; `withheld`, what handoffs left alone, is listed only so.")
    ] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List what was found that a person should know, the newest first; or show one in full."""
    if finding is not None:
        show_one(ctx, find, finding, _show, as_json=as_json)
        return
    show_page(
        ctx,
        lambda conn: list_findings(conn, Asked(after, limit), state=state, kind=kind),
        ("Finding", "When", "What", "About", "What it says"),
        lambda one: (one.id, one.at, one.kind, f"{one.subject_kind} {one.subject}", one.detail),
        as_json=as_json,
        empty="Nothing was found that a person should know.",
    )


def _show(one: Finding) -> None:
    facts = {
        "What": f"{one.kind}, {one.subject_kind} {one.subject}",
        "When": clock(one.at),
        "Says": one.detail,
        "What to do": None if one.settled_at else mend_of(one),
        "Settled": f"by {one.settled_by}, {clock(one.settled_at)}: {one.settled_why}" if one.settled_at else None,
    }
    out = console()
    out.print(one.id, markup=False)
    for name, value in facts.items():
        if value:
            out.print(f"  {name + ':':<12}{value}", markup=False)


def settle(
    ctx: typer.Context,
    findings: Annotated[list[str], typer.Argument(help="Findings (fin_…).")],
    why: Annotated[str, typer.Option(help="Why nothing more is to be done, kept with it.")],
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Say that a finding was looked at, and why nothing more is to be done. It is not open any more, and stays explained."""
    words = [Settling(finding=one, who=who or me(), why=why) for one in dict.fromkeys(findings)]
    with writing(ctx) as conn:
        settled = SettleFindings(SystemClock())(conn, words)
    if as_json:
        print_json(settled)
        return
    for one in settled:
        console().print(f"{one.id} is settled.", markup=False)
