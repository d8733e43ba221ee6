"""What a command that takes long is doing: one line on the screen, and nothing at all where a script reads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LATER_S: Final = 0.4  # what is over by then needs no line, nor the time that loading Rich takes


class Doing:
    """Says what is being done, and how far it is where a total is known. Silent until it is shown."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._lock = threading.RLock()
        self._shown: tuple[Progress, TaskID] | None = None
        self._over = False

    def now(self, what: str) -> None:
        """Go on with something else."""
        with self._lock:
            self._what = what
            self._draw()

    def at(self, done: int) -> None:
        """Be so far."""
        with self._lock:
            self._done = done
            self._draw()

    def one_more(self) -> None:
        """Be one further."""
        self.at(self._done + 1)

    def say(self, text: str) -> None:
        """Say something that stays, on standard error, above the line."""
        with self._lock:
            if self._shown:
                self._shown[0].console.print(text, markup=False, highlight=False)
            else:
                print(text, file=sys.stderr)

    def show(self) -> None:
        """Draw the line from now on, unless all is over already."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._over or self._shown:
                return
            counted = () if self._total is None else (BarColumn(), MofNCompleteColumn())
            line = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                *counted,
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=sys.stdout.isatty(),  # what is printed meanwhile stands above the line; a file gets it as it is
            )
            self._shown = line, line.add_task(self._what, total=self._total, completed=self._done)
            line.start()

    def end(self) -> None:
        """Take the line away."""
        with self._lock:
            self._over = True
            shown, self._shown = self._shown, None
        if shown:
            shown[0].stop()

    def _draw(self) -> None:
        if self._shown:
            line, row = self._shown
            line.update(row, description=self._what, completed=self._done, total=self._total)


_now: list[Doing] = []  # there is one screen: what is done within something else says nothing of its own


@contextmanager
def doing(what: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Doing]:
    """Show what is done for as long as the block lasts; only on a terminal, and never with `quiet`."""
    line = Doing(what, total)
    if quiet or _now or not sys.stderr.isatty():
        yield line
        return
    _now.append(line)
    forget = _later(line.show)
    try:
        yield line
    finally:
        forget()
        _now.remove(line)
        line.end()


def _later(show: Callable[[], None]) -> Callable[[], None]:
    timer = threading.Timer(LATER_S, show)
    timer.daemon = True
    timer.start()
    return timer.cancel


def is_quiet(ctx: typer.Context) -> bool:
    """Tell whether a script asked: with --json nothing but JSON is said."""
    return bool(ctx.params.get("as_json"))
