"""`handoffs list`: which rules act, and since when."""

from __future__ import annotations

import typer
from sqlalchemy import Connection

from lifecyclehub.admin.applied import read_applied
from lifecyclehub.admin.handoffs import Switched, list_handoffs
from lifecyclehub.cli.home import settings_of
from lifecyclehub.cli.shared import ask, home_of
from lifecyclehub.cli.showing import AsJson, clock, print_json, print_table
from lifecyclehub.registry.registry import Registry


def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the handoffs with their switches."""
    zone, registry = settings_of(home_of(ctx)).zone, Registry.load()

    def question(conn: Connection) -> list[Switched]:
        return list_handoffs(conn, read_applied(conn, registry, zone).rules.handoffs)

    show_handoffs(ask(ctx, question), as_json=as_json)


def show_handoffs(found: list[Switched], *, as_json: bool) -> None:
    """Show handoffs with their switches."""
    if as_json:
        print_json(found)
        return
    rows = [(one.id, one.title, one.per, one.state, clock(one.go_live), _switched_by(one)) for one in found]
    columns = ("Handoff", "What it does", "For each", "State", "Acts on facts since", "Switched by")
    print_table(columns, rows, empty="The applied mappings/handoffs.toml holds none.")


def _switched_by(one: Switched) -> str:
    return f"{one.who}, {clock(one.at)}" if one.who else "never switched"
