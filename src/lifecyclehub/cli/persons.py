"""`export-person` and `erase`: everything that tells of a person, and taking it away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from lifecyclehub.admin.erasing import (
    Erasing,
    Foreseen,
    erase_person,
    finish_erasures,
    foresee_erasure,
    refuse_in_the_way,
    rewrite_file,
)
from lifecyclehub.admin.persons import export_person, find_person
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.foreseen import Yes, agreed
from lifecyclehub.cli.opened import with_hub
from lifecyclehub.cli.progress import doing
from lifecyclehub.cli.shared import Who, me
from lifecyclehub.cli.showing import AsJson, complaints, console, print_json, print_table
from lifecyclehub.hub import Hub

Person = Annotated[str, typer.Argument(help="An e-mail address, a contact (con_…), or a client that is a person (cli_…).")]
Also = Annotated[
    list[str] | None,
    typer.Option(help="Further words that tell them, as they stand in texts: a nickname, a number. May be repeated."),
]


def export_person_(ctx: typer.Context, person: Person, also: Also = None) -> None:
    """Print everything that tells of a person, as JSON. It is exactly what `erase` would take away, and all that it keeps."""

    async def work(hub: Hub) -> dict[str, Any]:
        found = await hub.store.read(find_person, hub.rules, person, also or ())
        with doing("Going through the tables", quiet=False):
            return await hub.store.read(export_person, found)

    print_json(with_hub(ctx, work))


def erase(
    ctx: typer.Context,
    person: Annotated[
        str | None,
        typer.Argument(
            help="An e-mail address, a contact (con_…), or a client that is a person (cli_…); none to go on with erasing."
        ),
    ] = None,
    also: Also = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel for good what waits to be done about them.")] = False,
    who: Who = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person: what goes, what stays and what is in the way is said first. Then it asks.

    Their records in the tools are ignored from then on. Erase them in the tools first: what a tool enters anew is somebody new.
    """

    async def work(hub: Hub) -> tuple[Erasing, bool | None] | None:
        if person is None:
            return Erasing(erasure="", rows=await finish_erasures(hub), cancelled=()), rewrite_file(hub.engine)
        foreseen = await foresee_erasure(hub, person, also or ())
        if not as_json:
            _show_foreseen(foreseen)
        refuse_in_the_way(foreseen.in_the_way, cancel=cancel)
        if not yes and (as_json or not agreed(f"Erase {person}?")):
            return None
        with doing("Erasing", quiet=as_json):
            done = await erase_person(hub, foreseen.person, who or me(), cancel=cancel)
            return done, rewrite_file(hub.engine)

    ended = with_hub(ctx, work)
    if ended is None:
        complaints().print("Nothing was changed. With --yes it is done without asking.", markup=False)
        raise typer.Exit(ATTENTION)
    done, rewritten = ended
    if as_json:
        print_json({"erasure": done.erasure, "rows": done.rows, "cancelled": done.cancelled, "rewritten": rewritten})
    else:
        _show(done, rewritten)
    if rewritten is False:
        raise typer.Exit(ATTENTION)


def _show_foreseen(foreseen: Foreseen) -> None:
    out, person = console(), foreseen.person
    told = [*person.names, *person.emails, *person.phones, *person.also]
    out.print(f"Goes: {', '.join(told) or 'nothing by name'}, from the tables {_some(foreseen.erased)}.", markup=False)
    out.print(f"Stays, without the person: {_some(foreseen.kept)}.", markup=False)
    for value in person.shared:
        out.print(f"Stays, because somebody else is called so too: {value}", markup=False)
    rows = [(one.effect, one.state, one.action) for one in foreseen.in_the_way]
    print_table(("Effect", "Is", "Does"), rows, empty="", title="Still needs the person")


def _some(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items()) or "nothing"


def _show(done: Erasing, rewritten: bool | None) -> None:
    out = console()
    cancelled = f" Effects cancelled: {len(done.cancelled)}." if done.cancelled else ""
    out.print(f"Erased from {done.rows} rows.{cancelled}", markup=False)
    if rewritten is False:
        out.print(
            "The database's file could not be written anew: its freed pages may still hold what was erased.\n"
            "Stop the hub, see that there is room, and run: lifecyclehub erase",
            markup=False,
        )
    out.print("Backups, logs of the tools and the tools themselves keep what they held: erase there too.", markup=False)
