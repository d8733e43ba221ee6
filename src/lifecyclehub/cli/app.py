"""All commands but `serve`, put together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lifecyclehub import __version__
from lifecyclehub.admin.effects import NoSuchEffect
from lifecyclehub.admin.replay import NothingLikeIt
from lifecyclehub.admin.stored import NotThere
from lifecyclehub.cli import connections, listing, looking, repairing, rules, setting_up
from lifecyclehub.cli.codes import ATTENTION, CONFIGURATION, NOT_FOUND, tell
from lifecyclehub.errors import ConfigurationError, HubError
from lifecyclehub.insight.details import NotKnown

app = typer.Typer(
    name="lifecyclehub",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Connects the apps a service business already uses, so that no handoff is lost or done twice.",
    epilog="Exit codes: 0 all is well, 1 something needs attention, 2 a mistake in what was configured or typed, 3 not found.",
)
setting_up.add_to(app)
looking.add_to(app)
listing.add_to(app)
repairing.add_to(app)
app.add_typer(connections.app, name="connections")
app.add_typer(rules.mappings, name="mappings")
app.add_typer(rules.handoffs, name="handoffs")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"lifecyclehub {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    ctx: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option("--home", envvar="LIFECYCLEHUB_HOME", help="The installation's folder (~/.lifecyclehub)."),
    ] = None,
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")] = False,
) -> None:
    ctx.obj = home


def main(arguments: Sequence[str]) -> int:
    """Run one command. Gives the exit code; an error is told as what, where and how to mend it."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    try:
        app(_home_first(arguments), prog_name="lifecyclehub")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (NotThere, NotKnown, NoSuchEffect, NothingLikeIt) as error:
        tell(error)
        return NOT_FOUND
    except ConfigurationError as error:
        tell(error)
        return CONFIGURATION
    except HubError as error:
        tell(error)
        return ATTENTION
    return 0


def _home_first(arguments: Sequence[str]) -> list[str]:
    """Let `--home` stand anywhere."""
    home: list[str] = []
    others: list[str] = []
    left = list(arguments)
    while left:
        one = left.pop(0)
        if one == "--":
            others += [one, *left]
            break
        if one == "--home" and left:
            home = [one, left.pop(0)]
        elif one.startswith("--home="):
            home = [one]
        else:
            others.append(one)
    return home + others
