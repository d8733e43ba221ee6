"""What the commands share: the home, running against its store, tables, JSON, times as people say them."""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import Connection

from lifecyclehub.cli.home import settings_of
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.store.database import check_schema, open_engine

T = TypeVar("T")
_WIDE = 160  # where nobody looks at a screen, nothing is folded

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def console() -> Console:
    """Give the console of standard output; its width is the screen's."""
    screen = sys.stdout.isatty()
    width = None if screen or "COLUMNS" in os.environ else _WIDE
    return Console(width=width, highlight=False, soft_wrap=not screen)


def complaints() -> Console:
    """Give the console of standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


# --- the home and its store -------------------------------------------------------------------------------------------


def home_of(ctx: typer.Context) -> Path | None:
    """Give the home that was named with --home."""
    home: Path | None = ctx.obj
    return home


def ask(ctx: typer.Context, question: Callable[[Connection], T]) -> T:
    """Answer a question from the store. Raises ConfigurationError."""
    engine = open_engine(settings_of(home_of(ctx)).database)
    try:
        check_schema(engine)
        with engine.connect().execution_options(write=False) as conn, conn.begin():
            return question(conn)
    finally:
        engine.dispose()


@contextmanager
def writing(ctx: typer.Context) -> Iterator[Connection]:
    """Write to the store in one commit, without reading rules or connectors: it works also while these are broken."""
    engine = open_engine(settings_of(home_of(ctx)).database)
    try:
        check_schema(engine)
        with engine.connect() as conn, conn.begin():
            yield conn
    finally:
        engine.dispose()


@asynccontextmanager
async def opened(home: Path | None) -> AsyncIterator[Hub]:
    """Open an installation without running it: a hub may serve it at the same time."""
    hub = Hub(settings_of(home))
    try:
        yield hub
    finally:
        await hub.stop()


def with_hub(ctx: typer.Context, work: Callable[[Hub], Awaitable[T]]) -> T:
    """Do something with the opened installation. Raises ConfigurationError."""

    async def run() -> T:
        async with opened(home_of(ctx)) as hub:
            return await work(hub)

    return asyncio.run(run())


def me() -> str:
    """Give the name that is kept beside what a person decides."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def moment_of(said: str, zone: ZoneInfo, where: str) -> datetime:
    """Read a moment; without a zone of its own it is the business's. Raises ConfigurationError."""
    try:
        moment = datetime.fromisoformat(said)
    except ValueError as error:
        raise ConfigurationError(
            f"{said!r} is no date or time.", where=where, mend="Write it like 2026-03-01 or 2026-03-01T09:00+01:00."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


# --- secrets ----------------------------------------------------------------------------------------------------------


def read_secret(label: str) -> str:
    """Read a secret: hidden from the keyboard, or one line of standard input. It is never an argument."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{label}: ")
    line = sys.stdin.readline()
    if not line:
        raise ConfigurationError(
            f"{label} is missing: standard input has ended.",
            where="standard input",
            mend="Give each secret on its own line, in the order in which they are asked for.",
        )
    return line.rstrip("\r\n")


def refuse_secrets(extra: Sequence[str] | None, secret: str | None) -> None:
    """Refuse arguments that can only be secrets, without repeating them. Raises ConfigurationError."""
    if extra or secret is not None:
        raise ConfigurationError(
            "a secret must not be an argument: other programs and the shell's history can see it.",
            where="command line",
            mend="Leave it out; it is asked for, or read from standard input. Make a new one in the tool, this one was seen.",
        )


# --- showing ----------------------------------------------------------------------------------------------------------


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
        return escape(", ".join(str(one) for one in value))
    return escape(str(value))


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


def progress() -> Progress:
    """Give a progress bar on standard error, so that standard output stays clean."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=complaints(), transient=True, disable=not sys.stderr.isatty())


def quoted(name: str) -> str:
    """Write a name as a shell takes it."""
    return f'"{name}"' if " " in name else name
