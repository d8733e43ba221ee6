"""Starting, killing and asking the two processes of the demo: the hub, and the simulated tools."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

from lifecyclehub.cli.progress import doing
from lifecyclehub.sandbox.serve import CREDENTIALS
from lifecyclehub.settings import read_settings

T = TypeVar("T")
POLL_S = 0.05
START_S = 30.0
SERVE = (sys.executable, "-m", "lifecyclehub", "serve")


class DidNotHappen(Exception):
    """Something that was waited for did not happen. The text says what, and what was there instead."""


def wait_for(what: str, look: Callable[[], T | None], seconds: float, instead: Callable[[], str] = str) -> T:
    """Look again and again until there is something, and give it. Raises DidNotHappen after so many seconds."""
    until = time.monotonic() + seconds
    with doing(f"Waiting for {what}"):
        while True:
            found = look()
            if found is not None and found is not False:
                return found
            if time.monotonic() >= until:
                raise DidNotHappen(f"{what} did not happen within {seconds:g} s. {instead()}".strip())
            time.sleep(POLL_S)


class Tools:
    """The process of the simulated tools, and what people do in them."""

    def __init__(self, home: Path, log: Path) -> None:
        """Start the tools. Raises DidNotHappen when they do not come up."""
        self.home = home
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [sys.executable, "-m", "lifecyclehub.sandbox.serve", "--home", str(home)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops both in order
            )
        self.about: dict[str, dict[str, Any]] = self._first_line()["tools"]
        self.secrets: dict[str, dict[str, Any]] = json.loads((home / CREDENTIALS).read_text("utf-8"))
        self._http = httpx.Client(timeout=20, trust_env=False)

    def _first_line(self) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], START_S)
        line = out.readline() if ready else b""
        if not line:
            raise DidNotHappen(f"the simulated tools did not start; {self.log} says why")
        said: dict[str, Any] = json.loads(line)
        return said

    def act(self, tool: str, name: str, /, **members: Any) -> Any:
        """Let a person do something in a tool, and give what the tool shows then."""
        return self._ask(tool, f"act/{name}", members)

    def misbehave(self, tool: str, **orders: Any) -> None:
        """Tell a tool to misbehave."""
        self._ask(tool, "misbehave", orders)

    def resend(self) -> int:
        """Let every tool send each of its webhooks again; give how many."""
        return sum(self._ask(tool, "resend", {})["resent"] for tool in self.about)

    def settled(self) -> bool:
        """Tell whether every webhook was delivered."""
        return all(self._http.get(f"{one['base_url']}/_sandbox/settled").json()["settled"] for one in self.about.values())

    def _ask(self, tool: str, path: str, body: dict[str, Any]) -> Any:
        reply = self._http.post(f"{self.about[tool]['base_url']}/_sandbox/{path}", json=body)
        if reply.status_code != 200:
            raise DidNotHappen(f"{tool} answered {reply.status_code} to {path}: {reply.text[:300]}")
        return reply.json()

    @property
    def running(self) -> bool:
        """Tell whether the process lives."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process."""
        self._http.close()
        _end(self._process, 5.0)


class HubProcess:
    """The hub's process, `lifecyclehub serve`, which can be killed and started again on the same home."""

    def __init__(self, home: Path, log: Path) -> None:
        self.home, self.log = home, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 (our own program)
                [*SERVE, "--home", str(self.home)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def wait_until_ready(self) -> str:
        """Wait until it takes deliveries, and give its address. Raises DidNotHappen."""

        def look() -> str | None:
            if not self.running:
                raise DidNotHappen(f"the hub ended while starting; the end of {self.log}:\n{self.last_words()}")
            port = read_settings(self.home).port
            if port is None or not self._has_the_home():
                return None
            address = f"http://127.0.0.1:{port}"
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{address}/readyz", timeout=2, trust_env=False).status_code == 200:
                    return address
            return None

        return wait_for("the hub's readiness", look, START_S, lambda: f"The end of {self.log}:\n{self.last_words()}")

    def _has_the_home(self) -> bool:
        """Tell whether it is this process that works on the home; another hub may answer at the same port."""
        lock = self.home / "hub.lock"
        return lock.exists() and lock.read_text("ascii") == str(self.pid)

    def last_words(self) -> str:
        """Give the end of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-15:]) if self.log.exists() else ""

    def kill(self) -> None:
        """Kill it without a warning (SIGKILL), as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Give the process's number."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """End it in order: what is in flight is brought home."""
        if self._process is not None:
            _end(self._process, 30.0)


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def stopped_in_order() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that both processes are stopped."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
