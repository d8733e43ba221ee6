"""What the commands share: the home, asking its store and writing to it, who decides, secrets."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection

from lifecyclehub.cli.home import settings_of
from lifecyclehub.cli.progress import doing, is_quiet
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.store.database import check_schema, open_engine

T = TypeVar("T")

Who = Annotated[str | None, typer.Option(help="Who decides this (the user that is logged in).")]


# --- the home and its store -------------------------------------------------------------------------------------------


def home_of(ctx: typer.Context) -> Path | None:
    """Give the home that was named with --home."""
    home: Path | None = ctx.obj
    return home


def ask(ctx: typer.Context, question: Callable[[Connection], T]) -> T:
    """Answer a question from the store. Raises ConfigurationError."""
    engine = open_engine(settings_of(home_of(ctx)).database)
    try:
        with doing("Reading the database", quiet=is_quiet(ctx)):
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
