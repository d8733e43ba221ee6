"""`handoffs set`: switching a handoff, after a look at what that starts or holds now."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from lifecyclehub.admin.handoffs import Switched, keep_switch, put_switch, switched, wanted_switch
from lifecyclehub.admin.preview import Change, Preview
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.foreseen import Yes, agreed, show_changes
from lifecyclehub.cli.handoffs import show_handoffs
from lifecyclehub.cli.opened import with_hub
from lifecyclehub.cli.progress import doing
from lifecyclehub.cli.shared import Who, me, moment_of
from lifecyclehub.cli.showing import AsJson, complaints, print_json
from lifecyclehub.hub import Hub
from lifecyclehub.store.things import Row


def set_(
    ctx: typer.Context,
    handoff: Annotated[str, typer.Argument(help="Its id in mappings/handoffs.toml.")],
    state: Annotated[str, typer.Argument(help="on or off.")],
    from_: Annotated[
        str | None, typer.Option("--from", help="Act on facts since then too, like 2026-03-01 or 2026-03-01T09:00+01:00.")
    ] = None,
    who: Who = None,
    yes: Yes = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only list what it would start or hold.")] = False,
    as_json: AsJson = False,
) -> None:
    """Switch a handoff on or off. Switched on, it acts on what becomes true from now on, or since --from.

    What it would start, hold or cancel now is listed first; when there is any of that, it asks, unless --yes is given.
    """

    async def work(hub: Hub) -> Switched | None:
        since = moment_of(from_, hub.settings.zone, "--from") if from_ else None
        row = await wanted_switch(hub, handoff, state, who or me(), since)
        changes = await _foresee(hub, row, quiet=as_json) if row is not None else []
        if changes and not as_json:
            show_changes(changes)
        if dry:
            _only_listed(changes, as_json=as_json)
            return await switched(hub, handoff)
        if changes and not yes and (as_json or not agreed(f"Switch {handoff} {state}?")):
            return None
        if row is not None:
            await keep_switch(hub, row)
        return await switched(hub, handoff)

    found = with_hub(ctx, work)
    if found is None:
        complaints().print("Nothing was changed. With --yes it is done without asking.", markup=False)
        raise typer.Exit(ATTENTION)
    if not dry:
        show_handoffs([found], as_json=as_json)


async def _foresee(hub: Hub, row: Row, *, quiet: bool) -> list[Change]:
    preview = Preview(hub.engine, hub.rules, hub.ids, hub.clock, lambda conn: put_switch(conn, row))
    with doing("Looking what it would start", quiet=quiet) as line:
        return await asyncio.to_thread(preview.changes, line.at)


def _only_listed(changes: list[Change], *, as_json: bool) -> None:
    if as_json:
        print_json(changes)
    elif not changes:
        show_changes(changes)
