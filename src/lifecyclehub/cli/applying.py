"""`mappings apply|write`: letting edited files count, after a look at what they change; and the way back."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from lifecyclehub.admin.applied import Applying, apply_set, in_step, taken_over
from lifecyclehub.admin.mappings import Waiting, refuse_unless_edited, write_back
from lifecyclehub.admin.preview import Change, Preview, with_edits
from lifecyclehub.cli.codes import ATTENTION, CONFIGURATION
from lifecyclehub.cli.foreseen import Yes, agreed, show_changes, show_differs
from lifecyclehub.cli.home import holder_of, settings_of
from lifecyclehub.cli.progress import doing
from lifecyclehub.cli.rules import read_waiting, show_check
from lifecyclehub.cli.shared import Who, ask, home_of, me, writing
from lifecyclehub.cli.showing import AsJson, complaints, console, print_json
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.ports import Ids, SystemClock, SystemRandomness
from lifecyclehub.settings import Settings
from lifecyclehub.store.database import open_engine

Over = Annotated[bool, typer.Option("--over", help="Also where both were changed: the other side's changes are dropped.")]
_TAKES_S = 15.0


def apply_(ctx: typer.Context, yes: Yes = False, over: Over = False, who: Who = None, as_json: AsJson = False) -> None:
    """Let edited files count: first lists what they change, then asks. A faulty set is refused, and the old one stays.

    Listed are the lines that differ, and every effect that would start, go on, be held or cancelled now. Without --yes
    and without an answer nothing is changed, and the exit code is 1.
    """
    settings = settings_of(home_of(ctx))
    waiting = read_waiting(ctx, settings)
    if waiting.checked.problems:
        show_check(waiting)
        raise typer.Exit(CONFIGURATION)
    refuse_unless_edited(waiting, over=over)
    if waiting.standing == "in step":
        _say(waiting, [], applied=False, as_json=as_json)
        return
    changes = _foresee(settings, waiting, quiet=as_json)
    if not as_json:
        show_differs(waiting.differs)
        show_changes(changes)
    applied = yes or (not as_json and agreed("Apply this?"))
    if applied:
        _apply(ctx, waiting, who or me())
    _say(waiting, changes, applied=applied, as_json=as_json)
    if not applied:
        raise typer.Exit(ATTENTION)
    if not as_json:
        _tell_taken_over(ctx, settings, waiting.version or "")


def _foresee(settings: Settings, waiting: Waiting, *, quiet: bool) -> list[Change]:
    assert waiting.checked.rules is not None  # noqa: S101 (problems ended the command)
    clock_, engine = SystemClock(), open_engine(settings.database)
    rules = with_edits(waiting.in_force.rules, waiting.checked.rules)
    try:
        with doing("Looking what it would change", quiet=quiet) as line:
            return Preview(engine, rules, Ids(clock_, SystemRandomness()), clock_).changes(line.at)
    finally:
        engine.dispose()


def _apply(ctx: typer.Context, waiting: Waiting, who: str) -> None:
    version, source = waiting.version, waiting.checked.source
    assert version is not None and source is not None  # noqa: S101, PT018 (problems ended the command)
    with writing(ctx) as conn:
        apply_set(conn, [Applying(version, source.content(), who, SystemClock().now(), waiting.in_force.kept)])


def _say(waiting: Waiting, changes: list[Change], *, applied: bool, as_json: bool) -> None:
    if as_json:
        said = {"version": waiting.version, "over": waiting.in_force.kept, "applied": applied}
        print_json(said | {"differs": waiting.differs, "effects": changes})
    elif waiting.standing == "in step":
        console().print(f"Version {waiting.in_force.kept} is what the files say: there is nothing to apply.", markup=False)
    elif not applied:
        complaints().print("Nothing was changed.", markup=False)


def _tell_taken_over(ctx: typer.Context, settings: Settings, version: str) -> None:
    """Wait until the running hub works with it, so that what is done next is done with it."""
    embedded = settings.database.startswith("sqlite")
    if embedded and holder_of(settings) is None:
        console().print(f"Version {version}: no hub is running; it works with it from the next start on.", markup=False)
        return
    end = time.monotonic() + _TAKES_S
    while time.monotonic() < end:
        if ask(ctx, taken_over):
            console().print(f"Version {version}: the hub works with it now.", markup=False)
            return
        time.sleep(0.1)
    console().print(f"Version {version}: no hub has looked at everything with it yet; one that runs is at it.", markup=False)


def write(ctx: typer.Context, over: Over = False, as_json: AsJson = False) -> None:
    """Write the applied set into the files, where it was changed elsewhere. What they said is kept beside as .before."""
    settings = settings_of(home_of(ctx))
    waiting = read_waiting(ctx, settings)
    if not over and (waiting.checked.problems or waiting.standing in ("edited", "both")):
        raise ConfigurationError(
            "the files were changed, and that was not applied.",
            where="mappings",
            mend="Apply it with `lifecyclehub mappings apply`, or drop it with `lifecyclehub mappings write --over`.",
        )
    changed = write_back(waiting.in_force.source, settings.mappings)
    with writing(ctx) as conn:
        in_step(conn, waiting.in_force.kept)
    if as_json:
        print_json({"version": waiting.in_force.kept, "files": changed})
        return
    for name in changed:
        console().print(f"mappings/{name}", markup=False)
    console().print(f"The files say what version {waiting.in_force.kept} says.", markup=False)
