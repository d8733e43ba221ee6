"""One hub for as long as wanted, in ordinary weather: does it hold ever more memory, files or threads?

Every round brings new deals, deliveries sent again, forged ones, connections that break off, and a tool that now and then
fails first. What a round left behind is read from /proc once everything has arrived.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fat import Fat
from ledger import Ledger
from load import Load
from measuring import Figures, Measurement
from server import Server, free_port
from sink import Sink

PIECES = 500  # of a round
FAILS_FIRST = 25  # of so many projects, one is made only when it is asked for again
AGAIN, FORGED, BROKEN = 50, 25, 10  # in each round
LEAST_ROUNDS = 24  # the first half of all rounds fills caches and the allocator; the second half is judged
MOST_GROWTH_KB = 150.0  # per 1,000 handoffs: with a hundred a day, 5 MB in a year
NOISE_KB = 3_000.0  # by which an allocator's memory changes without a reason: only a longer run can tell less from a leak
MOST_MORE = 4  # files and threads


@dataclass(frozen=True, slots=True)
class Held:
    """What the hub's process held after a round."""

    handoffs: int
    memory_kb: float
    files: int
    threads: int


class Moody(Fat):
    """The fat case with a project tool that fails now and then, the first time it is asked."""

    def __init__(self) -> None:
        self._asked: set[bytes] = set()
        self._count = itertools.count(1)

    def answer(self, ledger: Ledger, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Make projects, some of them at the second try."""
        if next(self._count) % FAILS_FIRST == 0 and body not in self._asked:
            self._asked.add(body)
            return 503, b"{}"
        return super().answer(ledger, method, path, body)


class Weather:
    """Sends what a hub on the open internet gets beside its deliveries."""

    def __init__(self, case: Fat, port: int) -> None:
        self._case, self._port = case, port

    async def round(self, pieces: range) -> None:
        """Send some of the round's deliveries again, forge some, and break some off in the middle."""
        again = [self._case.delivery(piece, self._port) for piece in pieces[:AGAIN]]
        forged = [one.replace(b'"stage":"won"', b'"stage":"WON"') for one in again[:FORGED]]
        for request in (*again, *forged):
            await self._send(request)
        for request in again[:BROKEN]:
            await self._send(request[:-100], answered=False)

    async def _send(self, request: bytes, *, answered: bool = True) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        await writer.drain()
        if answered:
            await reader.readuntil(b"\r\n")
        writer.close()
        await writer.wait_closed()


async def measure_soak(home: Path, environment: Mapping[str, str], sink: Sink, seconds: float) -> tuple[Figures, list[str]]:
    """Run rounds for so long, at least two dozen; give the figures and what is wrong with them."""
    case = Moody()
    ledger, port = Ledger(case.wanted), free_port()
    sink.answer = lambda method, path, body: case.answer(ledger, method, path, body)
    given = {**environment, "LIFECYCLEHUB_HOME": str(home), "LIFECYCLEHUB_PORT": str(port)}
    server = await Server.start(["-m", "lifecyclehub", "serve"], home.parent / "hub.log", given, port, b"/readyz")
    load = Load(port, ledger, lambda piece: case.delivery(piece, port))
    measured, weather = Measurement(server, load, ledger), Weather(case, port)
    rounds: list[Held] = []
    began = time.monotonic()
    try:
        while time.monotonic() - began < seconds or len(rounds) < LEAST_ROUNDS:
            before = measured.next
            await measured.most(PIECES)
            await weather.round(range(before, measured.next))
            rounds.append(held(server, measured.next - 1))
    finally:
        load.close()
        await server.stop()
    tally = measured.end()
    counted = {"lost": tally.lost, "doubled": tally.doubled, "acknowledged": tally.acknowledged}
    return judged(rounds, counted)


def held(server: Server, handoffs: int) -> Held:
    """Read what the process holds now."""
    place = Path(f"/proc/{server.process.pid}")
    threads = sum(1 for _ in (place / "task").iterdir())
    return Held(handoffs, (server.memory_mb() or 0.0) * 1024, sum(1 for _ in (place / "fd").iterdir()), threads)


def judged(rounds: Sequence[Held], counted: Mapping[str, int]) -> tuple[Figures, list[str]]:
    """Give growth and totals, and what must not be so."""
    half = len(rounds) // 2
    first, last = rounds[half], rounds[-1]
    growth = slope([(one.handoffs / 1000, one.memory_kb) for one in rounds[half:]])
    figures: Figures = {name: float(value) for name, value in counted.items()}
    figures |= {f"{name}_first": float(value) for name, value in asdict(first).items()}
    figures |= {f"{name}_last": float(value) for name, value in asdict(last).items()}
    figures["growth_kb_per_1000"] = growth
    wrong = []
    if growth > MOST_GROWTH_KB and growth * (last.handoffs - first.handoffs) / 1000 > NOISE_KB:
        wrong.append(f"memory grows by {growth:.0f} KB per 1,000 handoffs, allowed are {MOST_GROWTH_KB:.0f}")
    for what in ("files", "threads"):
        before, after = (max(getattr(one, what) for one in part) for part in (rounds[:half], rounds[half:]))
        if after > before + MOST_MORE:
            wrong.append(f"the hub held {before} {what} at most in the first half and {after} in the second")
    return figures, wrong


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Give the median slope of all pairs of points, which a single jump does not change (Theil-Sen)."""
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.combinations(points, 2))
