"""`connections about|list`: what is there, without asking the tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from lifecyclehub.admin.stored import endpoints_of, list_connections
from lifecyclehub.cli.shared import ask
from lifecyclehub.cli.showing import AsJson, ago, console, print_json, print_table
from lifecyclehub.registry.registry import Registry
from lifecyclehub.store.things import Row


def about(connector: Annotated[str, typer.Argument(help="The connector's id, like hubspot.")]) -> None:
    """Show what a connector needs: steps in the tool, ways in, settings."""
    one = Registry.load().get(connector).about
    out = console()
    out.print(f"{one.name} plays: {', '.join(one.roles)}", markup=False)
    for number, step in enumerate(one.setup_steps, start=1):
        out.print(f"{number}. {step}", markup=False)
    print_table(
        ("Way in", "What it is", "Asked for, in this order"),
        [(auth.name, auth.label, auth.secrets) for auth in one.auths],
        empty="",
        title="Ways in",
    )
    rows = [
        (f"{setting.name}{' *' if setting.required else ''}", setting.label, setting.default, setting.help)
        for setting in one.settings
    ]
    print_table(("Setting", "What it is", "If left out", "Help"), rows, empty="It has no settings.", title="Settings (* needed)")


def public(row: Row, endpoints: Sequence[Row]) -> dict[str, Any]:
    """Give what may be shown of a connection."""
    names = (
        "id",
        "name",
        "connector",
        "account_id",
        "account",
        "roles",
        "settings",
        "state",
        "reason",
        "listens",
        "polls",
        "grant",
    )
    shown = {name: row[name] for name in names}
    return shown | {"endpoints": [{key: one[key] for key in ("id", "door", "state", "last_heard")} for one in endpoints]}


def _all(conn: Connection) -> list[tuple[Row, list[Row]]]:
    return [(row, endpoints_of(conn, row)) for row in list_connections(conn)]


def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the connections."""
    found = ask(ctx, _all)
    if as_json:
        print_json([public(row, endpoints) for row, endpoints in found])
        return
    rows = [
        (
            row["name"],
            row["connector"],
            f"{row['account']['name']} ({row['account_id']})",
            row["roles"],
            _state(row),
            _ways(row, endpoints),
        )
        for row, endpoints in found
    ]
    empty = "There are no connections yet. Add one: lifecyclehub connections add NAME CONNECTOR"
    print_table(("Name", "Tool", "Account", "Plays", "State", "How changes get here"), rows, empty=empty)


def _state(row: Row) -> str:
    return row["state"] if row["state"] == "active" else f"{row['state']}: {row['reason'] or 'no reason given'}"


def _ways(row: Row, endpoints: Sequence[Row]) -> str:
    ways = []
    if row["listens"]:
        heard = max((one["last_heard"] for one in endpoints if one["last_heard"]), default=None)
        ways.append(f"webhooks, last heard {ago(heard)}" if endpoints else "webhooks, not subscribed yet")
    if row["polls"]:
        ways.append("polling")
    return "; ".join(ways)
