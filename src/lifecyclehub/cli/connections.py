"""`connections`: adding them tried, having the tools call us, testing, pausing, new credentials."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from lifecyclehub.admin.connections import (
    Tested,
    add_connection,
    named_connection,
    new_credentials,
    resume_connection,
    test_connection,
)
from lifecyclehub.admin.connections import pause as pause_now
from lifecyclehub.admin.credentials import auth_of
from lifecyclehub.admin.stored import endpoints_of, find_connection, list_connections
from lifecyclehub.cli import subscribing
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.shared import (
    AsJson,
    ago,
    ask,
    complaints,
    console,
    print_json,
    print_table,
    quoted,
    read_secret,
    refuse_secrets,
    with_hub,
    writing,
)
from lifecyclehub.connector import About, Auth
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.registry.registry import Registry
from lifecyclehub.store.things import Row

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The accounts of your tools: add, list, test, subscribe.")

app.command("subscribe")(subscribing.subscribe_)

Name = Annotated[str, typer.Argument(help="The connection's name.")]
Way = Annotated[str | None, typer.Option("--auth", help="Which way in, where the connector has several.")]


@app.command()
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


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A name of your own for it.")],
    connector: Annotated[str, typer.Argument(help="The connector's id, like hubspot.")],
    extra: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    auth: Way = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting, as name=value. Repeat for more.")] = None,
    roles: Annotated[list[str] | None, typer.Option("--role", help="Play only this role. Repeat for more.")] = None,
    account: Annotated[str | None, typer.Option(help="Which account, where the credentials reach several.")] = None,
    grant: Annotated[str | None, typer.Option(help="Use the credentials of this grant for a further account.")] = None,
    listen: Annotated[bool | None, typer.Option("--listen/--no-listen", help="Take webhooks (where the tool has them).")] = None,
    poll: Annotated[bool, typer.Option("--poll/--no-poll", help="Look for changes at the connector's interval.")] = False,
    secret: Annotated[str | None, typer.Option("--secret", "--token", "--password", hidden=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Connect an account. Its credentials are asked for, hidden, or read from standard input, one on each line."""
    refuse_secrets(extra, secret)
    given = _pairs(settings or ())

    async def work(hub: Hub) -> Row:
        described = hub.registry.get(connector).about
        return await add_connection(
            hub,
            name=name,
            connector=connector,
            secrets=lambda way: _read_secrets(described, way),
            settings=given,
            auth=auth,
            roles=roles or None,
            account_id=account,
            listens=bool(described.doors) if listen is None else listen,
            polls=poll or (not described.doors and listen is None),
            grant_id=grant,
        )

    row = with_hub(ctx, work)
    if as_json:
        print_json(_public(row, ()))
        return
    currency = f", {row['account']['currency']}" if row["account"].get("currency") else ""
    out = console()
    out.print(f"Connected {row['name']}: {row['account']['name']} (account {row['account_id']}{currency}).", markup=False)
    if row["listens"]:
        out.print(f"Next: lifecyclehub connections subscribe {quoted(row['name'])}", markup=False)


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for number, one in enumerate(given, start=1):
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise ConfigurationError(
                f"setting number {number} has no name and value.", where="--set", mend="Write --set name=value."
            )
        if name in pairs:
            raise ConfigurationError(f"the setting {name} is given twice.", where="--set", mend="Keep one of them.")
        pairs[name] = value
    return pairs


def _read_secrets(described: About, way: Auth) -> dict[str, str]:
    if sys.stdin.isatty():
        for number, step in enumerate(described.setup_steps, start=1):
            complaints().print(f"{number}. {step}", markup=False)
    return {name: read_secret(f"{way.label}: {name}") for name in way.secrets}


# --- looking ----------------------------------------------------------------------------------------------------------


def _public(row: Row, endpoints: Sequence[Row]) -> dict[str, Any]:
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


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the connections."""
    found = ask(ctx, _all)
    if as_json:
        print_json([_public(row, endpoints) for row, endpoints in found])
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


@app.command("test")
def try_(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The connection's name; all when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the tools whether they still let us in, and show the last requests that we refused."""

    async def work(hub: Hub) -> list[Tested]:
        rows = [await named_connection(hub, name)] if name else await hub.store.read(list_connections)
        return [await test_connection(hub, row) for row in rows]

    found = with_hub(ctx, work)
    if as_json:
        print_json([_tested(one) for one in found])
    else:
        _show_tested(found)
    if not all(one.ok for one in found):
        raise typer.Exit(ATTENTION)


def _tested(one: Tested) -> dict[str, Any]:
    return {
        "name": one.connection["name"],
        "ok": one.ok,
        "problem": one.problem,
        "accounts": one.accounts,
        "refusals": [{key: value for key, value in row.items() if key != "id"} for row in one.refusals],
    }


def _show_tested(found: Sequence[Tested]) -> None:
    out = console()
    if not found:
        out.print("There are no connections yet. Add one: lifecyclehub connections add NAME CONNECTOR")
    for one in found:
        account = f"{one.connection['account']['name']} ({one.connection['account_id']})"
        out.print(f"{one.connection['name']}: {'ok, ' + account if one.ok else one.problem}", markup=False)
        if one.connection["state"] != "active" and one.ok:
            out.print(f"  It is paused. Go on: lifecyclehub connections resume {quoted(one.connection['name'])}", markup=False)
        if one.refusals:
            rows = [(row["at"], row["reason"], row["detail"]) for row in one.refusals]
            print_table(("Refused", "Reason", "What was wrong"), rows, empty="")


# --- later ------------------------------------------------------------------------------------------------------------


@app.command()
def pause(ctx: typer.Context, name: Name) -> None:
    """Send and fetch nothing more; what arrives is kept and waits."""
    with writing(ctx) as conn:
        pause_now(conn, find_connection(conn, name)["id"])
    console().print(f"{name} is paused. Go on: lifecyclehub connections resume {quoted(name)}", markup=False)


@app.command()
def resume(ctx: typer.Context, name: Name) -> None:
    """Go on with a connection, and with what waited for it."""

    async def work(hub: Hub) -> int:
        return await resume_connection(hub, await named_connection(hub, name))

    _show_released(name, with_hub(ctx, work))


@app.command()
def reauthorize(
    ctx: typer.Context,
    name: Name,
    extra: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    auth: Way = None,
    secret: Annotated[str | None, typer.Option("--secret", "--token", "--password", hidden=True)] = None,
) -> None:
    """Give a connection new credentials, asked for as with `add`, and go on with what waited for them."""
    refuse_secrets(extra, secret)

    async def work(hub: Hub) -> int:
        row = await named_connection(hub, name)
        target = await hub.target(row["id"])
        way = auth_of(target.about, auth or target.auth.name)
        return await new_credentials(hub, row, _read_secrets(target.about, way), way.name)

    _show_released(name, with_hub(ctx, work))


app.command("renew", hidden=True)(reauthorize)


def _show_released(name: str, released: int) -> None:
    waited = f" {released} {'notice' if released == 1 else 'notices'} that waited go on." if released else ""
    console().print(f"{name} is active.{waited}", markup=False)
