"""All commands but `serve`, put together."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lifecyclehub import __version__
from lifecyclehub.cli.codes import ATTENTION, CONFIGURATION, OK, end_with
from lifecyclehub.cli.lazily import Later, add_later

_Mistyped: Any = typer.BadParameter.__base__  # whatever was typed wrong; Typer itself tells no other name of it
ALONE = {
    "init": Later("setting_up:init", "Make a home: its key, its database, the shipped rules, and a token for the API."),
    "serve": Later("setting_up:serve", "Run the hub until SIGTERM or Ctrl-C; what is in flight ends first."),
    "demo": Later(
        "setting_up:demo",
        "Walk one client from inquiry to draft invoice through simulated tools, and prove that nothing was lost or doubled.",
    ),
    "status": Later(
        "looking:status", "Show on one screen how things are: connections, what waits and why, who must look at what."
    ),
    "check": Later("looking:check", "Say what is wrong and how to mend it; ends with 1 when something is."),
    "deliveries": Later("listing:deliveries", "List what came in, the newest first; or show one in full."),
    "effects": Later(
        "listing:effects", "List what is done in the tools, the newest first; or show one in full, with every attempt."
    ),
    "clients": Later("clients:clients", "List the clients, the newest first; or show one's page."),
    "contacts": Later("clients:contacts", "List the people at clients, the newest first."),
    "engagements": Later(
        "clients:engagements", "List the engagements, the newest first; or show one with everything that happened."
    ),
    "explain": Later("explaining:explain", "Say why this value, why this effect, and why not."),
    "import": Later("importing:import_", "Take in everything that a tool holds, history too."),
    "replay": Later("repairing:replay", "Look again at what came in: the records are fetched afresh."),
    "park": Later("repairing:park", "Put effects aside that were not sent yet: they wait until a person unparks them."),
    "unpark": Later("repairing:unpark", "Say what becomes of what is parked."),
    "findings": Later(
        "findings:findings", "List what was found that a person should know, the newest first; or show one in full."
    ),
    "settle": Later("findings:settle", "Say that a finding was looked at, and why nothing more is to be done."),
    "export-person": Later("persons:export_person_", "Print everything that tells of a person, as JSON."),
    "erase": Later("persons:erase", "Erase a person: what goes, what stays and what is in the way is said first."),
    "doctor": Later("keeping:doctor", "Check that everything in the store is as it must be; ends with 1 when something is not."),
    "confirm": Later("keeping:confirm", "Let this home write to the tools: a copied or moved installation sends nothing before."),
    "backup": Later("keeping:backup", "Copy the database into a file while the hub runs."),
    "restore": Later("keeping:restore", "Put a backup back."),
}
GROUPS: Mapping[str, tuple[str, Mapping[str, Later]]] = {
    "connections": (
        "The accounts of your tools: add, list, test, subscribe, remove.",
        {
            "about": Later("connections:about", "Show what a connector needs: steps in the tool, ways in, settings."),
            "add": Later("connecting:add", "Connect an account."),
            "subscribe": Later("subscribing:subscribe_", "Have the tool call us."),
            "list": Later("connections:list_", "List the connections."),
            "test": Later(
                "connecting:try_", "Ask the tools whether they still let us in, and show the last requests that we refused."
            ),
            "pause": Later("connecting:pause", "Send and fetch nothing more; what arrives is kept and waits."),
            "resume": Later("connecting:resume", "Go on with a connection, and with what waited for it."),
            "reauthorize": Later(
                "connecting:reauthorize",
                "Give a connection new credentials, asked for as with `add`, and go on with what waited for them.",
            ),
            "remove": Later(
                "removing:remove", "Take a connection away: its hooks are ended in the tool, its credentials forgotten."
            ),
        },
    ),
    "mappings": (
        "What the tools' fields mean in our words, and back.",
        {
            "show": Later(
                "rules:show", "Show the sum of defaults and your overrides, each line with the file that it comes from."
            ),
            "check": Later(
                "rules:check", "Read all mappings, handoffs, tables and the lifecycle as one set, and say what is wrong."
            ),
            "apply": Later("applying:apply_", "Let edited files count: first lists what they change, then asks."),
            "write": Later("applying:write", "Write the applied set into the files, where it was changed elsewhere."),
        },
    ),
    "handoffs": (
        "The rules that act: list them, switch them on or off.",
        {
            "list": Later("handoffs:list_", "List the handoffs with their switches."),
            "set": Later("switching:set_", "Switch a handoff on or off."),
        },
    ),
    "keys": (
        "The key that seals secrets: change it while the hub runs.",
        {
            "rotate": Later("keeping:rotate", "Make a new key and seal every secret with it, while the hub runs."),
            "forget": Later("keeping:forget", "Drop the old keys, once nothing is sealed with them any more."),
        },
    ),
    "tokens": (
        "Tokens for the HTTP API.",
        {
            "list": Later(
                "tokens:list_", "List the tokens by name, and how long they serve; they themselves cannot be shown again."
            ),
            "make": Later("tokens:make", "Make a token and show it this once."),
            "rotate": Later(
                "tokens:rotate", "Make a new token under the same name and show it this once; the old one serves a while longer."
            ),
            "revoke": Later("tokens:revoke", "Take a token's power away at once."),
        },
    ),
}

app = typer.Typer(
    name="lifecyclehub",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Connects the apps a service business already uses, so that no handoff is lost or done twice.",
    epilog="Exit codes: 0 all is well, 1 something needs attention, 2 a mistake in what was configured or typed, 3 not found.",
)
add_later(app, ALONE)
for _name, (_help, _verbs) in GROUPS.items():
    _group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_help)
    add_later(_group, _verbs)
    app.add_typer(_group, name=_name)


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
        return app(_home_first(arguments), prog_name="lifecyclehub", standalone_mode=False) or OK
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except typer.Abort:
        print("Ended: no answer was given.", file=sys.stderr)
        return ATTENTION
    except _Mistyped as mistake:
        mistake.message = mistake.message.removeprefix("Value error, ")  # the library's word for every refused value
        mistake.show()
        return CONFIGURATION
    except Exception as error:
        code = end_with(error)
        if code is None:
            raise
        return code


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
