"""What a change would do, shown before it is made: what differs, which effects it adds, lets go on, holds or cancels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lifecyclehub.cli.showing import console, plain, print_table
from lifecyclehub.jsonio import dumps

if TYPE_CHECKING:
    from lifecyclehub.admin.mappings import Differs
    from lifecyclehub.admin.preview import Change

Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
_SHOWN: Final = 12
_TITLES: Final = {
    "added": "Starts now",
    "goes on": "Goes on now",
    "held": "Will be held",
    "parked": "Will be parked",
    "cancelled": "Will be cancelled",
}


def show_changes(changes: Sequence[Change]) -> None:
    """Print what would become of effects, the first of each sort."""
    for sort, title in _TITLES.items():
        found = [one for one in changes if one.change == sort]
        if found:
            rows = [(_what(one), _whom(one), one.handoff, _why(one)) for one in found[:_SHOWN]]
            print_table(("What", "For", "Handoff", "Because"), rows, empty="", title=f"{title}: {len(found)}")
            if len(found) > _SHOWN:
                console().print(f"… and {len(found) - _SHOWN} more; --json lists all.", markup=False)
    if not changes:
        console().print("No effect starts, is held or cancelled by it now.", markup=False)


def _what(one: Change) -> str:
    return f"{one.do} {one.item}".strip()


def _whom(one: Change) -> str:
    return f"{one.subject_kind} {one.title or one.subject}"


def _why(one: Change) -> str:
    if one.change == "added" and one.state in ("planned", "ready"):
        return ""
    said = f"{one.state}: {one.reason}" if one.reason and one.change == "added" else one.reason
    return ": ".join(part for part in (said, one.detail) if part)


def show_differs(differs: Sequence[Differs]) -> None:
    """Print what the files say otherwise than what counts."""
    out = console()
    for one in differs:
        if one.lines:
            out.print(f"\n{one.file}", style="bold", markup=False)
            for line in one.lines:
                out.print(f"  {line}".rstrip(), markup=False)
    for file in dict.fromkeys(one.file for one in differs if not one.lines):
        rows = [(one.section, one.path, entry(one.before), entry(one.after)) for one in differs if one.file == file]
        print_table(("In", "Field", "Until now", "From now on"), rows, empty="", title=file)


def entry(said: object) -> str:
    """Write an entry of a mapping as people read it; "-" where there is none."""
    if said is None:
        return "-"
    if isinstance(said, dict) and set(said) == {"from"}:
        return str(said["from"])
    if isinstance(said, dict):
        return ", ".join(f"{name} = {one if isinstance(one, str) else dumps(plain(one))}" for name, one in said.items())
    return said if isinstance(said, str) else dumps(plain(said))


def agreed(question: str) -> bool:
    """Ask a person. No answer, as from a script's empty input, is no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False
