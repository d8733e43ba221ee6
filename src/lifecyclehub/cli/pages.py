"""How every list is shown, a page at a time, and how one thing is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy import Connection

from lifecyclehub.cli.shared import ask
from lifecyclehub.cli.showing import console, print_json, print_table
from lifecyclehub.insight.lists import MAX_LIMIT, Listed

T = TypeVar("T")

After = Annotated[str | None, typer.Option("--after", help="Go on after the cursor that the last page ended with.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="How many at most.")]
_HOW_MANY = {"limit", "as_json"}


def show_page(
    ctx: typer.Context,
    question: Callable[[Connection], Listed[Any]],
    columns: Sequence[str],
    row: Callable[[Any], Sequence[object]],
    *,
    as_json: bool,
    empty: str,
) -> None:
    """Show one page. `empty` is said where there is nothing at all; a filter that leaves nothing says so."""
    found = ask(ctx, question)
    if as_json:
        print_json(found)
        return
    narrowed = any(value is not None for name, value in ctx.params.items() if name not in _HOW_MANY)
    print_table(columns, [row(one) for one in found.items], empty="None." if narrowed else empty)
    if found.next:
        console().print(f"There is more: --after {found.next}", markup=False)


def show_one(
    ctx: typer.Context, detail: Callable[[Connection, str], T], named: str, show: Callable[[T], None], *, as_json: bool
) -> None:
    """Show one thing in full. Raises NotThere."""
    found = ask(ctx, lambda conn: detail(conn, named))
    if as_json:
        print_json(found)
    else:
        show(found)
