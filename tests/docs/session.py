"""A reader at work: types the blocks of a document one after the other, with one terminal more for what stays running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.docs.blocks import Block
from tests.docs.shown import difference

PATIENCE_S = 40.0  # a machine may have much else to do
_AGAIN_S = 0.3
_KEPT = ("LANG", "LC_ALL", "TMPDIR", "USER")


class NotAsShown(AssertionError):
    """A block failed, or did not show what the document says."""


class Reader:
    """Works in a folder with the installed programs, nothing else, and remembers what was set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._after = folder.parent / "environment"
        self._running: list[subprocess.Popen[bytes]] = []
        self._env = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder.parent),
            "NO_COLOR": "1",
            "TERM": "dumb",
            "PWD": str(folder),
        }

    def work_through(self, blocks: Sequence[Block]) -> None:
        """Do all that a reader does. Raises NotAsShown."""
        for block in blocks:
            if block.is_a("file: ") or block.is_a("added to: "):
                self._write(block)
            elif block.is_a("stays running"):
                self._start(block)
            elif not block.is_a("set-up") and not block.is_a("not run: "):
                self._type(block)

    def _write(self, block: Block) -> None:
        how, _, name = block.comment.partition(": ")
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.read_text("utf-8") + "\n" if how == "added to" else ""
        file.write_text(before + block.text + "\n", "utf-8")

    def _type(self, block: Block) -> None:
        until = time.monotonic() + PATIENCE_S
        while True:
            status, came = self._run(block.text)
            wrong = "" if block.shows is None else difference(block.shows, came)
            if status == 0 and not wrong:
                return
            if not block.is_a("may take a moment") or time.monotonic() > until:
                said = wrong or f"exit code {status}:\n{came}"
                raise NotAsShown(f"line {block.line}: {block.text}\n{said}\n--- all that came:\n{came}")
            time.sleep(_AGAIN_S)

    def _run(self, text: str) -> tuple[int, str]:
        keep = f"trap 'status=$?; env -0 >{self._after}; exit $status' EXIT"
        done = subprocess.run(
            ["bash", "-c", "\n".join((keep, "set -ea", f"cd {self._env['PWD']}", text))],
            check=False,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        if self._after.exists():
            pairs = (pair.partition("=") for pair in self._after.read_text("utf-8").split("\0") if pair)
            self._env = {name: value for name, _, value in pairs if name not in ("status", "_", "SHLVL")}
        return done.returncode, done.stdout.decode("utf-8", "replace").replace(str(self.folder.parent), "~")

    def _start(self, block: Block) -> None:
        log = self.folder.parent / f"terminal-{len(self._running)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"cd {self._env['PWD']}\nexec {block.text}"],
                env=self._env,
                stdin=subprocess.PIPE,  # stays open, as a terminal does
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)
        until = time.monotonic() + PATIENCE_S
        while True:
            came = log.read_text("utf-8", "replace").replace(str(self.folder.parent), "~")
            wrong = difference(block.shows or "", came)
            if not wrong:
                return
            if process.poll() is not None or time.monotonic() > until:
                raise NotAsShown(f"line {block.line}: {block.text}\n{wrong}\n--- all that came:\n{came}")
            time.sleep(0.05)

    def leave(self) -> None:
        """Close every terminal, the last one first."""
        for process in reversed(self._running):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            assert process.stdin is not None
            process.stdin.close()
