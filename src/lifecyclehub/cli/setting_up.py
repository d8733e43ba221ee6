"""`init`, `serve` (its help), `demo`, `tokens`: getting an installation going."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated

import typer

from lifecyclehub.admin.setup import init_home
from lifecyclehub.admin.stored import NotThere, nearest
from lifecyclehub.admin.tokens import list_tokens, make_token, revoke_token
from lifecyclehub.cli.shared import AsJson, ask, console, home_of, print_json, print_table, writing
from lifecyclehub.ports import Ids, SystemClock, SystemRandomness
from lifecyclehub.settings import read_settings, write_settings

tokens = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Tokens for the HTTP API.")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(init)
    app.command()(serve)
    app.command()(demo)
    app.add_typer(tokens, name="tokens")


def init(
    ctx: typer.Context,
    public_url: Annotated[str | None, typer.Option(help="The address that vendors call, like https://hub.example.com.")] = None,
    timezone: Annotated[str | None, typer.Option(help='The time zone of the business, like "Europe/Vienna".')] = None,
) -> None:
    """Make a home: its key, its database, the shipped rules, and a token for the API. What is there stays."""
    given = {"public_url": public_url, "timezone": timezone}
    values = {name: value for name, value in given.items() if value is not None}
    home = home_of(ctx)
    environment = {f"LIFECYCLEHUB_{name.upper()}": value for name, value in values.items()}
    settings = read_settings(home, {**os.environ, **environment})
    made = init_home(settings)
    write_settings(settings.home, values)
    out = console()
    out.print(f"{'Made' if made.new else 'Already there:'} {made.home}", markup=False)
    for file in made.files:
        out.print(f"  mappings/{file.relative_to(settings.mappings)}", markup=False)
    if made.token:
        out.print(f"Token for the API, shown only now: {made.token}", markup=False)
    if made.new:
        out.print(
            f"Keep a copy of {made.home / 'key'} apart from the database: without it no credential can be read.", markup=False
        )
        out.print("Next: lifecyclehub connections add <name> <connector>, then lifecyclehub serve", markup=False)


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="The port, kept in hub.toml (8470, or the next free one).")] = None,
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="Allow another address than loopback.")] = False,
) -> None:
    """Run the hub until SIGTERM or Ctrl-C; what is in flight ends first."""
    raise AssertionError((host, port, behind_proxy))  # lifecyclehub.__main__ takes `serve` away before Typer is loaded


def demo(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End after the proof, with 0 or 1.")] = False,
) -> None:
    """Walk one client from inquiry to draft invoice through simulated tools, and prove that nothing was lost or doubled."""
    walk = import_module("lifecyclehub.sandbox.demo")  # an annex: nothing of the hub depends on it
    raise typer.Exit(walk.main(once, home_of(ctx)))


# --- tokens -----------------------------------------------------------------------------------------------------------


@tokens.command("list")
def _list(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the tokens by name; they themselves cannot be shown again."""
    found = ask(ctx, list_tokens)
    if as_json:
        print_json(found)
        return
    rows = [(one.name, one.created_at, one.last_used or "never") for one in found]
    print_table(("Name", "Made", "Last used"), rows, empty="There are no tokens: make one with `lifecyclehub tokens make NAME`.")


@tokens.command("make")
def _make(ctx: typer.Context, name: Annotated[str, typer.Argument(help="A name that says who uses it.")]) -> None:
    """Make a token and show it this once."""
    clock, randomness = SystemClock(), SystemRandomness()
    with writing(ctx) as conn:
        print(make_token(conn, name, Ids(clock, randomness), randomness, clock.now()))


@tokens.command("revoke")
def _revoke(ctx: typer.Context, name: str) -> None:
    """Take a token's power away at once."""
    known = [one.name for one in ask(ctx, list_tokens)]
    with writing(ctx) as conn:
        if not revoke_token(conn, name):
            raise NotThere(f"there is no token {name!r}.", mend=nearest(name, known))
    print(f"The token {name} serves no more.")
