"""`explain`: why this value, why this effect, and why not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from lifecyclehub.admin.applied import read_applied
from lifecyclehub.cli.home import settings_of
from lifecyclehub.cli.shared import ask, home_of
from lifecyclehub.cli.showing import AsJson, console, print_json, print_table
from lifecyclehub.insight.explain import Explanation
from lifecyclehub.insight.explain import explain as answer
from lifecyclehub.registry.registry import Registry


def explain(
    ctx: typer.Context,
    thing: Annotated[str, typer.Argument(help="An id, one field of a thing (dea_…:deal.status), or a record's address.")],
    as_json: AsJson = False,
) -> None:
    """Say why this value, why this effect, and why not."""
    zone, registry = settings_of(home_of(ctx)).zone, Registry.load()
    found = ask(ctx, lambda conn: answer(conn, read_applied(conn, registry, zone).rules, thing, datetime.now(UTC)))
    if as_json:
        print_json(found)
    else:
        _show_explanation(found)


def _show_explanation(found: Explanation) -> None:
    out = console()
    out.print(f"{found.kind} {found.id}" + (f": {found.title}" if found.title else ""), markup=False)
    for line in found.lines:
        out.print(f"- {line}", markup=False)
    if found.kind != "field":
        rows = [(one.path, one.text, one.because) for one in found.values]
        print_table(("Field", "Value", "Because"), rows, empty="", title="Values")
