"""What commands print: tables, JSON for scripts, times as people say them."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lifecyclehub.cli.visible import visible

_WIDE = 160  # where nobody looks at a screen, nothing is folded

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


class _Screen(Console):
    """A console that shows what would steer it."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print, with others' control characters written out."""
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **how)


def console() -> Console:
    """Give the console of standard output; its width is the screen's."""
    screen = sys.stdout.isatty()
    width = None if screen or "COLUMNS" in os.environ else _WIDE
    return _Screen(width=width, highlight=False, soft_wrap=not screen)


def complaints() -> Console:
    """Give the console of standard error."""
    return _Screen(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def plain(value: Any) -> Any:
    """Give a value as JSON knows it: dataclasses as objects, times as ISO 8601 in UTC, amounts as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Iterable):
        return [plain(one) for one in value]
    return str(value)


def print_json(value: Any) -> None:
    """Print JSON, and nothing else, on standard output."""
    print(json.dumps(plain(value), ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str, title: str | None = None) -> None:
    """Print a table, or a sentence where there is nothing to show."""
    lines = [[text(cell) for cell in row] for row in rows]
    if not lines:
        if empty:
            console().print(escape(empty))
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in table.columns:
        column.overflow = "fold"
    for line in lines:
        table.add_row(*line)
    out = console()
    # What is typed again, such as an id, stays in one piece while there is room for it.
    table.columns[0].no_wrap = max(len(line[0]) for line in lines) <= out.width // 2
    if title:
        out.print(f"\n{title}", style="bold", markup=False)
    with out.capture() as drawn:
        out.print(table, soft_wrap=False)
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def text(value: object) -> str:
    """Write a cell: nothing for None, times as people say them, no markup of anybody else's."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return ago(value)
    if isinstance(value, list | tuple):
        value = ", ".join(str(one) for one in value)
    return escape(visible(str(value)))


_UNITS = ((86_400 * 2, 86_400, "days"), (3_600 * 2, 3_600, "hours"), (120, 60, "minutes"), (2, 1, "seconds"))


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Say how long ago something was, or in how long it will be."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    far = abs(seconds)
    for least, unit, name in _UNITS:
        if far >= least:
            said = f"{int(far // unit)} {name}"
            return f"{said} ago" if seconds > 0 else f"in {said}"
    return "just now"


def clock(moment: datetime | None) -> str:
    """Write a moment in full, in UTC."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def quoted(name: str) -> str:
    """Write a name as a shell takes it."""
    return f'"{name}"' if " " in name else name
