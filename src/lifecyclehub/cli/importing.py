"""`import`: what a tool held before it was connected, and how far that is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from lifecyclehub.admin.connections import named_connection
from lifecyclehub.admin.imports import Importing, begin_import, imports_of
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.home import holder_of
from lifecyclehub.cli.opened import with_hub
from lifecyclehub.cli.progress import doing
from lifecyclehub.cli.showing import AsJson, clock, complaints, console, print_json, print_table
from lifecyclehub.hub import Hub

_LOOK_EVERY_S = 0.5


def import_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The connection's name.")],
    kinds: Annotated[list[str] | None, typer.Option("--kind", help="Only records of this kind. Repeat for more.")] = None,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait until all is taken in.")] = 0,
    look: Annotated[bool, typer.Option("--look", help="Begin nothing; show how far it is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take in everything that a tool holds, history too. The running hub does it, and goes on after a restart.

    Nothing newer is overwritten, and nothing acts on what happened before a handoff was switched on.
    """

    async def work(hub: Hub) -> Sequence[Importing]:
        row = await named_connection(hub, name)
        if not look:
            await begin_import(hub, row, kinds or ())
            if holder_of(hub.settings) is None and hub.engine.dialect.name == "sqlite":
                complaints().print("Note: the hub is not running; it begins once it is. Start it: lifecyclehub serve")
        return await _wait_for(hub, row["id"], wait, quiet=as_json)

    found = with_hub(ctx, work)
    if as_json:
        print_json(found)
    else:
        _show(found)
    if wait and not all(_over(one) for one in found):
        raise typer.Exit(ATTENTION)


async def _wait_for(hub: Hub, connection: str, seconds: int, *, quiet: bool) -> Sequence[Importing]:
    found = await hub.store.read(imports_of, connection)
    with doing("Taking in what the tool holds", quiet=quiet) as line:
        for _ in range(int(seconds / _LOOK_EVERY_S)):
            if all(_over(one) for one in found):
                break
            await asyncio.sleep(_LOOK_EVERY_S)
            found = await hub.store.read(imports_of, connection)
            line.now("; ".join(f"{one.kind}: {one.found} found, {one.open} to look at" for one in found if not _over(one)))
    return found


def _over(one: Importing) -> bool:
    return one.done and not one.open


def _show(found: Sequence[Importing]) -> None:
    rows = [(one.kind, _state(one), one.listed or None, one.found, one.open) for one in found]
    columns = ("Records", "Is", "Listed so far", "New or changed", "To look at")
    print_table(columns, rows, empty="Nothing was imported yet.", title="Import")
    if any(not _over(one) for one in found):
        console().print("The running hub goes on with it. How far it is: lifecyclehub import NAME --look")


def _state(one: Importing) -> str:
    if one.done:
        return "listed"
    if one.reason:
        until = f", goes on {clock(one.not_before)}" if one.not_before else ""
        return f"waits: {one.reason}{until}"
    return "under way"
