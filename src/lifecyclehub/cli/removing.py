"""`connections remove`: taking a connection away, after a look at what that stops."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecyclehub.admin.connections import named_connection
from lifecyclehub.admin.removal import Foreseen, Removed, foresee_removal, refuse_waiting, remove_connection
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.foreseen import Yes, agreed
from lifecyclehub.cli.opened import with_hub
from lifecyclehub.cli.progress import doing
from lifecyclehub.cli.shared import Who, me
from lifecyclehub.cli.showing import AsJson, complaints, console, print_json, print_table
from lifecyclehub.hub import Hub


def remove(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The connection's name.")],
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel for good what waits to be done through it.")] = False,
    who: Who = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take a connection away: its hooks are ended in the tool, its credentials forgotten.

    What would stop is listed first, then it asks. All that it brought and did stays and is explained; the same account
    finds its records again when it is added again.
    """

    async def work(hub: Hub) -> Removed | None:
        row = await named_connection(hub, name)
        foreseen = await foresee_removal(hub, row)
        if not cancel:
            refuse_waiting(foreseen.waiting, row)
        if not as_json:
            _show_foreseen(foreseen)
        if not yes and (as_json or not agreed(f"Remove {name}?")):
            return None
        with doing(f"Removing {name}", quiet=as_json):
            return await remove_connection(hub, row, who or me(), cancel=cancel)

    done = with_hub(ctx, work)
    if done is None:
        complaints().print("Nothing was changed. With --yes it is done without asking.", markup=False)
        raise typer.Exit(ATTENTION)
    if as_json:
        print_json(done)
    else:
        _show(done)


def _show_foreseen(foreseen: Foreseen) -> None:
    rows = [(one.handoff, one.state, one.why) for one in foreseen.stops]
    print_table(("Handoff", "Is", "What stops"), rows, empty="No handoff needs it.")
    if foreseen.waiting:
        console().print(f"Cancelled for good: {len(foreseen.waiting)} effects that wait to be done through it.", markup=False)


def _show(done: Removed) -> None:
    out = console()
    hooks = f" Hooks ended in the tool: {done.ended}." if done.ended else ""
    out.print(f"{done.connection} is removed; its credentials are forgotten here.{hooks}", markup=False)
    for url in done.by_hand:
        out.print(f"Take this address out of the tool's webhooks by hand: {url}", markup=False)
    out.print("Take our access away in the tool, too, where it lists apps, keys or tokens.", markup=False)
