"""`connections add|test|pause|resume|reauthorize`: what asks the tools, and what stops asking them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer

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
from lifecyclehub.admin.stored import find_connection, list_connections
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.connections import public
from lifecyclehub.cli.opened import with_hub
from lifecyclehub.cli.progress import doing, is_quiet
from lifecyclehub.cli.shared import read_secret, refuse_secrets, writing
from lifecyclehub.cli.showing import AsJson, complaints, console, print_json, print_table, quoted
from lifecyclehub.connector import About, Auth
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.store.things import Row

Name = Annotated[str, typer.Argument(help="The connection's name.")]
Way = Annotated[str | None, typer.Option("--auth", help="Which way in, where the connector has several.")]


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
        with _asking(ctx, described) as secrets:
            return await add_connection(
                hub,
                name=name,
                connector=connector,
                secrets=secrets,
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
        print_json(public(row, ()))
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


@contextlib.contextmanager
def _asking(ctx: typer.Context, described: About) -> Iterator[Callable[[Auth], dict[str, str]]]:
    """Give what reads the secrets; from then on it is shown that the tool is being asked."""
    with contextlib.ExitStack() as shown:

        def read(way: Auth) -> dict[str, str]:
            secrets = _read_secrets(described, way)
            shown.enter_context(doing(f"Asking {described.name} whether it lets us in", quiet=is_quiet(ctx)))
            return secrets

        yield read


def _read_secrets(described: About, way: Auth) -> dict[str, str]:
    if sys.stdin.isatty():
        for number, step in enumerate(described.setup_steps, start=1):
            complaints().print(f"{number}. {step}", markup=False)
    return {name: read_secret(f"{way.label}: {name}") for name in way.secrets}


def try_(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The connection's name; all when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the tools whether they still let us in, and show the last requests that we refused."""

    async def work(hub: Hub) -> list[Tested]:
        rows = [await named_connection(hub, name)] if name else await hub.store.read(list_connections)
        with doing("Asking the tools", len(rows), quiet=as_json) as line:
            found = []
            for row in rows:
                line.now(f"Asking {row['name']}")
                found.append(await test_connection(hub, row))
                line.one_more()
            return found

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


def pause(ctx: typer.Context, name: Name) -> None:
    """Send and fetch nothing more; what arrives is kept and waits."""
    with writing(ctx) as conn:
        pause_now(conn, find_connection(conn, name)["id"])
    console().print(f"{name} is paused. Go on: lifecyclehub connections resume {quoted(name)}", markup=False)


def resume(ctx: typer.Context, name: Name) -> None:
    """Go on with a connection, and with what waited for it."""

    async def work(hub: Hub) -> int:
        row = await named_connection(hub, name)
        with doing("Going on with what waited"):
            return await resume_connection(hub, row)

    _show_released(name, with_hub(ctx, work))


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
        with _asking(ctx, target.about) as secrets:
            return await new_credentials(hub, row, secrets(way), way.name)

    _show_released(name, with_hub(ctx, work))


def _show_released(name: str, released: int) -> None:
    waited = f" {released} {'notice' if released == 1 else 'notices'} that waited go on." if released else ""
    console().print(f"{name} is active.{waited}", markup=False)
