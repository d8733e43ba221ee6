"""`connections subscribe`: having the tool call us, and waiting until it does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated

import typer
from sqlalchemy import Connection, func, select

from lifecyclehub.admin.connections import ByHandSteps, Subscribed, named_connection, set_signing_secret, subscribe
from lifecyclehub.admin.stored import refusals_of
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.home import holder_of
from lifecyclehub.cli.opened import with_hub
from lifecyclehub.cli.progress import doing
from lifecyclehub.cli.shared import read_secret, refuse_secrets
from lifecyclehub.cli.showing import AsJson, clock, complaints, console, print_json, quoted
from lifecyclehub.hub import Hub
from lifecyclehub.store import tables

_LOOK_EVERY_S = 0.5


def subscribe_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The connection's name.")],
    extra: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    door: Annotated[str | None, typer.Option(help="Which way in, where the tool has several.")] = None,
    resource: Annotated[
        str | None, typer.Option(help="What the hook is for, where the tool makes one for each: a project's id, for example.")
    ] = None,
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help="Enter a new signing secret; the old one serves a day more.")
    ] = False,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for the first valid delivery; 0 waits for none.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Have the tool call us. Where it has no call for that, show what to do there and wait for its first delivery."""
    refuse_secrets(extra, None)
    place = (door, resource)
    made, heard = with_hub(ctx, lambda hub: _subscribe(hub, name, place, new_secret=new_secret, wait=wait, quiet=as_json))
    if as_json:
        print_json(made)
    elif isinstance(made, Subscribed):
        ends = f", until {clock(made.expires_at)}" if made.expires_at else ""
        console().print(f"{name} calls {made.url} from now on{ends}.", markup=False)
    elif heard:
        console().print("The first valid delivery has arrived.")
    if heard is False:
        mend = f"lifecyclehub connections test {quoted(name)}"
        complaints().print(f"Nothing valid came within {wait} s. Look at what was refused: {mend}", markup=False)
        raise typer.Exit(ATTENTION)


async def _subscribe(
    hub: Hub, name: str, place: tuple[str | None, str | None], *, new_secret: bool, wait: int, quiet: bool
) -> tuple[Subscribed | ByHandSteps, bool | None]:
    """Subscribe; for steps by hand say too whether a first delivery came (None: not waited for)."""
    row = await named_connection(hub, name)
    if holder_of(hub.settings) is None and hub.engine.dialect.name == "sqlite":
        complaints().print("Note: the hub is not running, so nobody answers the tool. Start it: lifecyclehub serve")
    with doing(f"Asking {name} to call us", quiet=quiet):
        made = await subscribe(hub, row, place[0], resource=place[1])
    if isinstance(made, Subscribed):
        if made.needs_secret:
            await set_signing_secret(hub, made.endpoint, read_secret("Signing secret"))
        return made, None
    begun = await hub.store.read(_newest, made.endpoint)
    if not quiet:
        _show_by_hand(made)
    if made.needs_secret or new_secret:
        await set_signing_secret(hub, made.endpoint, read_secret(f"Signing secret ({made.hint})"))
    return made, await _wait_for(hub, made.endpoint, begun, wait, quiet=quiet) if wait else None


def _show_by_hand(made: ByHandSteps) -> None:
    out = console()
    for number, step in enumerate(made.steps, start=1):
        out.print(f"{number}. {step}", markup=False)


_Marks = Mapping[str, str]


def _newest(conn: Connection, endpoint: str) -> _Marks:
    """Give the newest delivery and refusal of an endpoint: what comes later is new."""
    found = {}
    for word, table in (("delivery", tables.delivery), ("refusal", tables.refusal)):
        found[word] = conn.execute(select(func.max(table.c.id)).where(table.c.endpoint == endpoint)).scalar() or ""
    return found


async def _wait_for(hub: Hub, endpoint: str, begun: _Marks, seconds: int, *, quiet: bool) -> bool:
    """Wait for a delivery; a refused request is shown at once, since it says what is wrong."""
    known = begun["refusal"]
    with doing(f"Waiting up to {seconds} s for the first valid delivery", quiet=quiet) as line:
        for _ in range(int(seconds / _LOOK_EVERY_S)):
            now = await hub.store.read(_since, endpoint, begun["delivery"])
            if now["delivery"]:
                return True
            for row in reversed(await hub.store.read(refusals_of, [endpoint])):
                if row["id"] > known:
                    known = row["id"]
                    line.say(f"Refused just now: {row['detail']}")
            await asyncio.sleep(_LOOK_EVERY_S)
    return False


def _since(conn: Connection, endpoint: str, after: str) -> _Marks:
    """Look only at what is newer, which the primary key finds without walking the rest."""
    table = tables.delivery
    statement = select(table.c.id).where(table.c.id > after, table.c.endpoint == endpoint).limit(1)
    return {"delivery": conn.execute(statement).scalar() or ""}
