"""Serves a home as `lifecyclehub serve` does, with a sampler beside it: `serve.py <profile file>`.

The sampler looks every millisecond at what each thread is doing and how much CPU time it used since the last look,
while a file with the ending `.on` lies beside the profile file. At the end it writes what it saw.
"""

from __future__ import annotations

import json
import runpy
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

EVERY_S = 0.001
# The innermost function of these on the stack names the step. What is not among them: the event loop and its glue.
STEPS = {
    "writer.py:in_transaction": "commit",
    "writer.py:_resolve": "wake up who waited",
    "keep.py:keep": "3 keep (operation)",
    "split.py:split": "4 split (operation)",
    "settle.py:Settle.__call__": "5 settle (operation)",
    "settle.py:end_notices": "5 settle (operation)",
    "decide.py:decide": "6 decide (operation)",
    "advance.py:prepare": "6 decide: render input and body",
    "upkeep.py:Advance.__call__": "6 advance (operation)",
    "claim.py:TakeClaims.__call__": "7 claim (operation)",
    "receipt.py:WriteReceipts.__call__": "8 receipt (operation)",
    "writer.py:as_operation.<locals>.operation": "small operations",
    "receive.py:Reception.receive": "1-2 receive and verify",
    "hooks.py:hooks_route.<locals>.receive": "1-2 web route",
    "work.py:Intake._split": "4 split (outside the store)",
    "fetch.py:observe": "4 map inbound",
    "work.py:Intake._see": "4 fetch",
    "work.py:Intake._record": "4-5 lanes",
    "client.py:Client.send": "7 send",
    "perform.py:Performer.perform": "7 perform, without sending",
    "dispatcher.py:Dispatcher.receive": "8 receipt (outside the store)",
    "dispatcher.py:Dispatcher.tick": "ticks",
    "work.py:Intake.tick": "ticks",
    "runner.py:_Lane._work": "plugin functions",
    "writer.py:Store._commit_together": "commit, begin, connection",
    "writer.py:Store.read.<locals>.answer": "reads",
}


def _name(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_code.co_qualname}"


def _stack(frame: FrameType | None) -> list[str]:
    names = []
    while frame is not None:
        names.append(_name(frame))
        frame = frame.f_back
    return names


def _step(names: list[str]) -> str:
    for name in names:
        if name in STEPS:
            return STEPS[name]
    outer = " ".join(names)
    if "httptools_impl.py" in outer or "uvicorn" in outer:
        return "0 server (uvicorn, starlette)"
    if "client_proto.py" in outer or "client_reqrep.py" in outer or "connector.py" in outer:
        return "7 send (aiohttp's callbacks)"
    return "event loop and the rest"


class Sampler(threading.Thread):
    """Weighs stacks by the CPU time that their threads used."""

    def __init__(self, file: Path) -> None:
        super().__init__(name="sampler", daemon=True)
        self._file, self._switch = file, file.with_suffix(".on")
        self._clocks: dict[int, tuple[int, float]] = {}
        self._steps: defaultdict[str, float] = defaultdict(float)
        self._threads: defaultdict[str, float] = defaultdict(float)
        self._own: defaultdict[str, float] = defaultdict(float)
        self._whole: defaultdict[str, float] = defaultdict(float)

    def run(self) -> None:
        # Threads take turns quickly then: else most looks would fall on the few calls that let go of the GIL by themselves.
        sys.setswitchinterval(0.00002)
        while not self._switch.exists():
            time.sleep(0.05)
        while self._switch.exists():
            for _ in range(100):
                self._look()
                time.sleep(EVERY_S)
        self._write()

    def _look(self) -> None:
        frames = sys._current_frames()
        for thread in threading.enumerate():
            ident = thread.ident
            if ident is None or thread is self or ident not in frames:
                continue
            clock, before = self._clocks.get(ident) or (time.pthread_getcpuclockid(ident), None)
            try:
                now = time.clock_gettime(clock)
            except OSError:  # it has ended meanwhile
                self._clocks.pop(ident, None)
                continue
            self._clocks[ident] = (clock, now)
            if before is None or now <= before:
                continue
            names = _stack(frames[ident])
            self._threads[thread.name.rstrip("0123456789_-")] += now - before
            self._steps[_step(names)] += now - before
            self._own[names[0]] += now - before
            for name in set(names):
                self._whole[name] += now - before

    def _write(self) -> None:
        functions = {name: (self._own.get(name, 0.0), seconds) for name, seconds in self._whole.items()}
        seen = {"threads": self._threads, "steps": self._steps, "functions": functions}
        made = self._file.with_suffix(".new")
        made.write_text(json.dumps(seen), "utf-8")
        made.rename(self._file)


def main() -> None:
    Sampler(Path(sys.argv[1])).start()
    sys.argv = ["lifecyclehub", "serve"]
    runpy.run_module("lifecyclehub", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
