"""A simulated tool's own history file: one JSON line per thing that happened there, synced before it is answered."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class History:
    """Appends what happened in a tool. It never reads anything of the hub's. `durable`: each line survives a power cut."""

    durable = True

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def add(self, what: str, **facts: Any) -> None:
        """Write one line and sync it to the disk. `what`: created, changed, sent, answered, refused."""
        line = {"at": datetime.now(UTC).isoformat(), "what": what, **facts}
        self._file.write(json.dumps(line, sort_keys=True, default=str) + "\n")
        self._file.flush()
        if self.durable:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """Give the lines of a history file, oldest first; a last line cut off by a kill is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)
