"""`init`, `serve` (its help), `demo`: getting an installation going."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated

import typer

from lifecyclehub.admin.setup import init_home
from lifecyclehub.cli.progress import doing
from lifecyclehub.cli.shared import home_of
from lifecyclehub.cli.showing import console
from lifecyclehub.settings import read_settings, write_settings


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
    with doing("Making the key, the database and the rules"):
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
