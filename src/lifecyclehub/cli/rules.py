"""`mappings` and `handoffs`: what is mapped, and which handoffs act since when."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from sqlalchemy import Connection

from lifecyclehub.admin.handoffs import Switched, list_handoffs, set_handoff
from lifecyclehub.admin.mappings import Checked, applied_version, apply_rules, check_mappings, show_mappings
from lifecyclehub.cli.codes import CONFIGURATION, told
from lifecyclehub.cli.home import holder_of, settings_of
from lifecyclehub.cli.shared import (
    AsJson,
    ask,
    clock,
    complaints,
    console,
    home_of,
    me,
    moment_of,
    plain,
    print_json,
    print_table,
    with_hub,
)
from lifecyclehub.configuration import read_rules
from lifecyclehub.hub import Hub
from lifecyclehub.jsonio import dumps
from lifecyclehub.registry.registry import Registry

mappings = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What the tools' fields mean in our words, and back.")
handoffs = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The rules that act: list them, switch them on or off.")


# --- mappings ---------------------------------------------------------------------------------------------------------


@mappings.command()
def show(
    ctx: typer.Context,
    connector: Annotated[str | None, typer.Argument(help="Only this connector's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the sum of defaults and your overrides, each line with the file that it comes from."""
    lines = show_mappings(Registry.load(), settings_of(home_of(ctx)), connector)
    if as_json:
        print_json(lines)
        return
    for section in dict.fromkeys((one.connector, one.section) for one in lines):
        rows = [(one.path, _entry(one.entry), one.file) for one in lines if (one.connector, one.section) == section]
        print_table(("Field", "Entry", "From"), rows, empty="", title=f"{section[0]}: {section[1]}")


def _entry(entry: object) -> str:
    if isinstance(entry, dict) and set(entry) == {"from"}:
        return str(entry["from"])
    if isinstance(entry, dict):
        return ", ".join(f"{name} = {one if isinstance(one, str) else dumps(plain(one))}" for name, one in entry.items())
    return entry if isinstance(entry, str) else dumps(plain(entry))


@mappings.command()
def check(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Read all mappings, handoffs, tables and the lifecycle as one set, and say what is wrong."""
    checked = check_mappings(Registry.load(), settings_of(home_of(ctx)))
    used = ask(ctx, applied_version)
    version = checked.rules.version if checked.rules else None
    if as_json:
        problems = [{"what": one.what, "where": one.where, "mend": one.mend} for one in checked.problems]
        print_json({"version": version, "used": used, "problems": problems})
    else:
        _show_check(checked, version, used)
    if checked.problems:
        raise typer.Exit(CONFIGURATION)


def _show_check(checked: Checked, version: str | None, used: str | None) -> None:
    for problem in checked.problems:
        complaints().print(told(problem), markup=False)
    if version and not checked.problems:
        console().print(f"All is well: version {version}.", markup=False)
    if version and used and version != used:
        console().print(f"The hub works with version {used}. To let it use this one: lifecyclehub mappings apply", markup=False)


@mappings.command("apply")
def apply_(ctx: typer.Context) -> None:
    """Check everything, and let the running hub take it over now. A faulty set is refused, and the old one stays."""
    checked = check_mappings(Registry.load(), settings_of(home_of(ctx)))
    if checked.problems or checked.rules is None:
        _show_check(checked, None, None)
        raise typer.Exit(CONFIGURATION)

    async def work(hub: Hub) -> None:
        await hub.store.run(apply_rules, None)

    with_hub(ctx, work)
    version = checked.rules.version
    if holder_of(settings_of(home_of(ctx))) is None:
        console().print(f"Version {version}: no hub is running; it is taken over at the next start.", markup=False)
    elif _taken_over(ctx, version):
        console().print(f"Version {version}: the hub works with it now.", markup=False)
    else:
        console().print(f"Version {version}: the hub is busy; see lifecyclehub mappings check.", markup=False)


def _taken_over(ctx: typer.Context, version: str, within_s: float = 15.0) -> bool:
    """Wait until the running hub works with these rules, so that what is done next is done with them."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if ask(ctx, applied_version) == version:
            return True
        time.sleep(0.1)
    return False


# --- handoffs ---------------------------------------------------------------------------------------------------------


@handoffs.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the handoffs with their switches."""
    settings = settings_of(home_of(ctx))
    rules = read_rules(Registry.load(), settings, "").handoffs

    def question(conn: Connection) -> list[Switched]:
        return list_handoffs(conn, rules)

    _show_handoffs(ask(ctx, question), as_json=as_json)


def _show_handoffs(found: list[Switched], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = [(one.id, one.title, one.per, one.state, clock(one.go_live), _switched_by(one)) for one in found]
    columns = ("Handoff", "What it does", "For each", "State", "Acts on facts since", "Switched by")
    print_table(columns, rows, empty="mappings/handoffs.toml holds none.")


def _switched_by(one: Switched) -> str:
    return f"{one.who}, {clock(one.at)}" if one.who else "never switched"


@handoffs.command("set")
def set_(
    ctx: typer.Context,
    handoff: Annotated[str, typer.Argument(help="Its id in mappings/handoffs.toml.")],
    state: Annotated[str, typer.Argument(help="on or off.")],
    from_: Annotated[
        str | None, typer.Option("--from", help="Act on facts since then too, like 2026-03-01 or 2026-03-01T09:00+01:00.")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Who decides this (the user that is logged in).")] = None,
    as_json: AsJson = False,
) -> None:
    """Switch a handoff on or off. Switched on, it acts on what becomes true from now on, or since --from."""

    async def work(hub: Hub) -> Switched:
        since = moment_of(from_, hub.settings.zone, "--from") if from_ else None
        return await set_handoff(hub, handoff, state, who or me(), since)

    _show_handoffs([with_hub(ctx, work)], as_json=as_json)
