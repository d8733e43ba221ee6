"""`mappings show|check`: what is mapped, which set counts, and whether the files are right."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecyclehub.admin.applied import read_applied
from lifecyclehub.admin.mappings import Waiting, show_mappings, waiting_edits
from lifecyclehub.cli.codes import CONFIGURATION, told
from lifecyclehub.cli.foreseen import entry
from lifecyclehub.cli.home import settings_of
from lifecyclehub.cli.shared import ask, home_of
from lifecyclehub.cli.showing import AsJson, complaints, console, print_json, print_table
from lifecyclehub.configuration import read_source
from lifecyclehub.registry.registry import Registry
from lifecyclehub.settings import Settings

Over = Annotated[bool, typer.Option("--over", help="Also where both were changed: the other side's changes are dropped.")]
_TAKES_S = 15.0


def show(
    ctx: typer.Context,
    connector: Annotated[str | None, typer.Argument(help="Only this connector's.")] = None,
    applied: Annotated[bool, typer.Option("--applied", help="What the hub works with, not what the files say.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the sum of defaults and your overrides, each line with the file that it comes from."""
    settings, registry = settings_of(home_of(ctx)), Registry.load()
    if applied:
        source = ask(ctx, lambda conn: read_applied(conn, registry, settings.zone)).source
    else:
        source = read_source(registry, settings.mappings)
    lines = show_mappings(registry, source, connector)
    if as_json:
        print_json(lines)
        return
    for section in dict.fromkeys((one.connector, one.section) for one in lines):
        rows = [(one.path, entry(one.entry), one.file) for one in lines if (one.connector, one.section) == section]
        print_table(("Field", "Entry", "From"), rows, empty="", title=f"{section[0]}: {section[1]}")


def check(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Read all mappings, handoffs, tables and the lifecycle as one set, and say what is wrong."""
    waiting = read_waiting(ctx, settings_of(home_of(ctx)))
    if as_json:
        problems = [{"what": one.what, "where": one.where, "mend": one.mend} for one in waiting.checked.problems]
        said = {"version": waiting.version, "used": waiting.in_force.kept, "standing": waiting.standing, "problems": problems}
        print_json(said | {"differs": waiting.differs})
    else:
        show_check(waiting)
    if waiting.checked.problems:
        raise typer.Exit(CONFIGURATION)


def read_waiting(ctx: typer.Context, settings: Settings) -> Waiting:
    """Hold the files against the set that counts."""
    registry = Registry.load()
    return ask(ctx, lambda conn: waiting_edits(conn, registry, settings))


def show_check(waiting: Waiting) -> None:
    """Say what is wrong with the files, or that they may be applied."""
    for problem in waiting.checked.problems:
        complaints().print(told(problem), markup=False)
    if waiting.checked.problems:
        return
    console().print(f"All is well: version {waiting.version}.", markup=False)
    if waiting.standing != "in step":
        used = f"The hub works with version {waiting.in_force.kept}."
        console().print(f"{used} To see what this one changes, and to let it use it: lifecyclehub mappings apply", markup=False)
