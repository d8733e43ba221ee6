"""The hub's log: one record a line, whatever it holds; and a reader who does not read keeps nobody waiting."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Iterator
from logging.handlers import QueueHandler
from typing import Final, TextIO

from lifecyclehub.cli.visible import visible

KEPT: Final = 10_000
"""How many records wait for a reader at most; what comes beyond that is left out and counted."""

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_PATIENCE_S: Final = 2.0


class OneRecord(logging.Formatter):
    """Writes a record so that it cannot look like several: further lines, as of a traceback, are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Give its text."""
        return visible(super().format(record)).replace("\n", "\n    ")


class Kept(QueueHandler):
    """Keeps records for a thread that writes them: the one that logs never waits for whoever reads."""

    def __init__(self, out: TextIO, most: int = KEPT) -> None:
        """Write to `out`, with at most so many records waiting."""
        self._kept: queue.Queue[logging.LogRecord | None] = queue.Queue(most)
        super().__init__(self._kept)
        self.left_out = 0
        self._out = logging.StreamHandler(out)
        self._out.setFormatter(OneRecord(_FORMAT))
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep a record, or count it where too many wait."""
        try:
            self._kept.put_nowait(record)
        except queue.Full:
            self.left_out += 1

    def end(self, patience_s: float = _PATIENCE_S) -> None:
        """Write what waits; a reader who still does not read is left behind."""
        with contextlib.suppress(queue.Full):
            self._kept.put(None, timeout=patience_s)
            self._writer.join(patience_s)

    def _write(self) -> None:
        while (record := self._kept.get()) is not None:
            self._out.handle(record)
            if self._kept.empty():
                self._say_what_was_left_out()
        self._say_what_was_left_out()

    def _say_what_was_left_out(self) -> None:
        count, self.left_out = self.left_out, 0
        if count:
            said = f"{count} records were left out here: nobody read the log."
            self._out.handle(logging.LogRecord(__name__, logging.WARNING, "", 0, said, None, None))


@contextlib.contextmanager
def logging_to(out: TextIO) -> Iterator[Kept]:
    """Log to a stream for as long as the block lasts."""
    kept = Kept(out)
    logging.basicConfig(level=logging.WARNING, handlers=[kept])
    try:
        yield kept
    finally:
        logging.getLogger().removeHandler(kept)
        kept.end()
