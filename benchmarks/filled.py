"""The same work on an empty store and on one that holds a long history: how much slower it becomes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from cases import Case
from filling import fill, unfinished
from ledger import Ledger
from load import Load
from measuring import Figures, Measurement
from server import Server, free_port
from sink import Sink

ORIGINALS = 300  # handoffs that are really made, and then copied
PATIENCE_S = 120.0


async def measure_filled(
    case: Case, home: Path, url: str, environment: Mapping[str, str], sink: Sink, *, handoffs: int, pieces: int, rounds: int
) -> Figures:
    """Measure `pieces` handoffs in a home, fill its store up to `handoffs`, and measure as many again, each time `rounds` times.

    The best round of each counts: what else the machine does makes rounds slower, never faster.
    """
    ledger = Ledger(case.wanted)
    sink.answer = lambda method, path, body: case.answer(ledger, method, path, body)
    figures: Figures = {}
    first = 1
    for when in ("empty", "filled"):
        port = free_port()
        given = {**environment, "LIFECYCLEHUB_HOME": str(home), "LIFECYCLEHUB_PORT": str(port)}
        server = await Server.start(["-m", "lifecyclehub", "serve"], home.parent / "hub.log", given, port, b"/readyz")
        load = Load(port, ledger, lambda piece, port=port: case.delivery(piece, port))  # type: ignore[misc]
        measured = Measurement(server, load, ledger, first)
        try:
            await measured.warm_up(ORIGINALS)
            for _ in range(rounds):
                await measured.most(pieces)
                for name, better in (("handoffs_per_s", max), ("cpu_s_per_1000", min)):
                    now, key = measured.tally.figures[name], f"{name}_{when}"
                    before = figures.get(key)
                    figures[key] = now if before is None or now is None else better(before, now)
            await _finished(url)
            figures[f"cold_start_s_{when}"] = server.cold_start_s
            figures[f"peak_mb_{when}"] = server.memory_mb("VmHWM")
        finally:
            load.close()
            await server.stop()
        tally, first = measured.end(), measured.next
        figures |= {"lost": (figures.get("lost") or 0) + tally.lost, "doubled": float(tally.doubled)}
        figures["acknowledged"] = float(tally.acknowledged)
        if when == "empty":
            began = time.monotonic()
            figures["stored"] = float(await asyncio.to_thread(fill, url, handoffs))
            figures["filling_s"] = time.monotonic() - began
    figures["rate_ratio"] = (figures["handoffs_per_s_filled"] or 0.0) / (figures["handoffs_per_s_empty"] or float("nan"))
    figures["cpu_ratio"] = (figures["cpu_s_per_1000_filled"] or 0.0) / (figures["cpu_s_per_1000_empty"] or float("nan"))
    return figures


async def _finished(url: str) -> None:
    """Wait until the hub has nothing left to do. Raises RuntimeError when that does not come."""
    began = time.monotonic()
    while left := await asyncio.to_thread(unfinished, url):
        if time.monotonic() - began > PATIENCE_S:
            raise RuntimeError(f"not finished: {', '.join(left)}")
        await asyncio.sleep(0.5)
