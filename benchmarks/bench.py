"""Measures one hub process on the embedded store, over real HTTP on loopback: `make bench`.

This process is the load and the tools' side; the hub is started as an admin starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvloop
from cases import Case
from fat import Fat
from filled import measure_filled
from home import make_home
from ledger import Ledger, median
from load import Load
from measuring import CONNECTIONS, Figures, Measurement, Tally, no_collecting
from server import Server, free_port
from showing import show, show_filled, show_profile, show_soak
from sink import Sink
from soak import measure_soak
from thin import Thin

from lifecyclehub.registry.registry import Registry

HERE = Path(__file__).parent
RESULTS = HERE / "results"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. Pieces of the closed loop by case; seconds of each open loop."""

    repetitions: int
    warm_up: int
    closed: dict[str, int]
    seconds: float
    only_cases: bool = False
    profile: bool = False


FULL = Size(repetitions=3, warm_up=300, closed={"fat": 4_000, "thin": 1_500, "bare": 20_000}, seconds=15.0)
SMOKE = Size(repetitions=1, warm_up=10, closed={"fat": 150, "thin": 60, "bare": 0}, seconds=0.5, only_cases=True)


def serving(profile: Path | None) -> list[str]:
    """Give the program that serves: `lifecyclehub serve`, under the sampler when a profile is wanted."""
    return ["-m", "lifecyclehub", "serve"] if profile is None else [str(HERE / "serve.py"), str(profile)]


async def sampled(profile: Path, work: Awaitable[None]) -> None:
    """Let the hub's sampler look while something is done, and wait for what it writes."""
    switch = profile.with_suffix(".on")
    _begin_anew(profile, switch)
    try:
        await work
    finally:
        _end(switch)
    async with asyncio.timeout(30):
        while not _there(profile):  # noqa: ASYNC110 (another process makes it)
            await asyncio.sleep(0.1)


def _begin_anew(profile: Path, switch: Path) -> None:
    profile.unlink(missing_ok=True)
    switch.touch()


def _end(switch: Path) -> None:
    switch.unlink()


def _there(profile: Path) -> bool:
    return profile.exists()


Stores = Callable[[], AbstractContextManager[dict[str, str]]]
"""Gives an empty store as what a home's environment says of it."""


def stores(stack: ExitStack, *, on_postgres: bool) -> Stores:
    """Give SQLite in each home, or new schemas of a PostgreSQL that keeps what it commits."""
    if not on_postgres:
        return lambda: nullcontext({})
    sys.path.insert(0, str(HERE.parent))
    from tests.support import postgres

    url, _ = stack.enter_context(postgres.restartable())

    @contextmanager
    def fresh() -> Iterator[dict[str, str]]:
        with postgres.fresh_schema(url) as here:
            yield {"LIFECYCLEHUB_DATABASE": here}

    return fresh


async def measure_case(
    case: Case, size: Size, folder: Path, sink: Sink, registry: Registry, store: dict[str, str] | None = None
) -> Tally:
    """Set up a home, start a hub on it, and measure all phases."""
    home, port, ledger = folder / "home", free_port(), Ledger(case.wanted)
    make_home(home, case, registry, sink.port, store)
    sink.answer = lambda method, path, body: case.answer(ledger, method, path, body)
    profile = RESULTS / f"profile-{case.name}.json" if size.profile else None
    environment = {"LIFECYCLEHUB_HOME": str(home), "LIFECYCLEHUB_PORT": str(port), **(store or {})}
    server = await Server.start(serving(profile), folder / "hub.log", environment, port, b"/readyz")
    load = Load(port, ledger, lambda piece: case.delivery(piece, port))
    measured = Measurement(server, load, ledger)
    try:
        await asyncio.sleep(min(size.seconds, 2.0))  # until what is loaded later is loaded too
        idle = server.memory_mb()
        await measured.warm_up(size.warm_up)
        if profile is not None:
            await sampled(profile, measured.most(size.closed[case.name]))
        else:
            await measured.most(size.closed[case.name])
            await measured.paced((measured.tally.figures["handoffs_per_s"] or 20.0) / 2, size.seconds, "")
            await measured.paced(20.0, size.seconds, "_20")
        measured.tally.figures |= {
            "idle_mb": idle,
            "peak_mb": server.memory_mb("VmHWM"),
            "cold_start_s": server.cold_start_s,
        }
    finally:
        load.close()
        await server.stop()
    return measured.end()


async def measure_bare(size: Size, folder: Path, sink: Sink) -> Tally:
    """Measure the bare job, with the fat case's deliveries and answers."""
    case, port = Fat(), free_port()
    ledger = Ledger(case.wanted)
    sink.answer = lambda method, path, body: case.answer(ledger, method, path, body)
    program = [str(HERE / "bare.py"), str(port), str(sink.port), str(folder.with_suffix(".sqlite3"))]
    server = await Server.start(program, folder.with_suffix(".log"), {}, port, b"/")
    load = Load(port, ledger, lambda piece: case.delivery(piece, port))
    measured = Measurement(server, load, ledger)
    try:
        await measured.warm_up(size.warm_up)
        await measured.most(size.closed["bare"])
        await measured.paced(20.0, size.seconds, "_20")
    finally:
        load.close()
        await server.stop()
    return measured.end()


async def measure_rig(size: Size, sink: Sink) -> float:
    """Let the load call the sink: more than this cannot be measured here."""
    case = Fat()
    ledger = Ledger(case.wanted)
    sink.answer = lambda _method, _path, _body: (200, b"{}")
    load = Load(sink.port, ledger, lambda piece: case.delivery(piece, sink.port))
    pieces = range(size.closed["bare"])
    began = time.monotonic()
    with no_collecting():
        await load.closed(pieces, CONNECTIONS)
    load.close()
    return len(pieces) / (time.monotonic() - began)


def fsync_ms(folder: Path) -> float:
    """Give the median milliseconds of a small durable write."""
    times = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def summed(tallies: list[Tally]) -> Figures:
    """Give the median of every figure, and what was lost or doubled in all repetitions."""
    names = dict.fromkeys(name for one in tallies for name in one.figures)
    figures = {name: median(one.figures.get(name) for one in tallies) for name in names}
    totals = {name: float(sum(getattr(one, name) for one in tallies)) for name in ("lost", "doubled", "refused", "acknowledged")}
    return figures | totals


async def measure_long(size: Size, folder: Path, sink: Sink, registry: Registry, store: dict[str, str], handoffs: int) -> Figures:
    """Measure the fat case on an empty store, and on one that holds so many handoffs."""
    case, home = Fat(), folder / "home"
    settings = make_home(home, case, registry, sink.port, store)
    pieces = size.closed[case.name]
    return await measure_filled(
        case, home, settings.database, store, sink, handoffs=handoffs, pieces=pieces, rounds=size.repetitions
    )


async def soak(given: Stores, minutes: float) -> int:
    """Run one hub for so long and tell what it held; 1 when that grows, or when something was lost or done twice."""
    sys.path.insert(0, str(HERE / "connectors"))
    sink = Sink()
    await sink.start()
    with tempfile.TemporaryDirectory(prefix="lifecyclehub-bench-", dir=os.environ.get("LIFECYCLEHUB_BENCH_DIR")) as scratch:
        home = Path(scratch) / "home"
        with given() as store:
            make_home(home, Fat(), Registry.load(), sink.port, store)
            figures, wrong = await measure_soak(home, store, sink, minutes * 60)
    sink.stop()
    show_soak(figures, wrong)
    (RESULTS / "soak.json").write_text(json.dumps({**figures, "wrong": wrong}, indent=2) + "\n", "utf-8")
    return 1 if wrong or not sound(figures) else 0


async def measure(size: Size, chosen: list[Case], given: Stores, filled: int | None = None) -> dict[str, Any]:
    """Measure everything and give the results as they are written."""
    sys.path.insert(0, str(HERE / "connectors"))
    registry = Registry.load()
    sink = Sink()
    await sink.start()
    loads = [os.getloadavg()[0]]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="lifecyclehub-bench-", dir=os.environ.get("LIFECYCLEHUB_BENCH_DIR")) as scratch:
        folder = Path(scratch)
        machine: dict[str, Any] = {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "fsync_ms": fsync_ms(folder),
        }
        if not size.only_cases:
            machine["rig_per_s"] = await measure_rig(size, sink)
            bare = [await measure_bare(size, folder / f"bare{turn}", sink) for turn in range(size.repetitions)]
            machine |= {f"bare_{name}": value for name, value in summed(bare).items()}
        if filled is not None:
            with given() as store:
                results["filled"] = await measure_long(size, folder, sink, registry, store, filled)
        for case in chosen if filled is None else ():
            tallies: list[Tally] = []
            for turn in range(size.repetitions):
                place = folder / f"{case.name}{turn}"
                place.mkdir()
                with given() as store:
                    tallies.append(await measure_case(case, size, place, sink, registry, store))
                loads.append(os.getloadavg()[0])
                print(f"{case.name}: repetition {turn + 1} of {size.repetitions}", file=sys.stderr)
            results[case.name] = summed(tallies)
    sink.stop()
    results["machine"] = machine | {"load_average": loads}
    return results


def sound(figures: Figures) -> bool:
    """Tell whether all that was acknowledged arrived once."""
    return not figures["lost"] and not figures["doubled"] and bool(figures["acknowledged"])


def main() -> int:
    """Measure, show, write; 1 when something was lost or done twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds: only that nothing is lost or done twice")
    parser.add_argument("--profile", action="store_true", help="where the hub's CPU time goes, step by step")
    parser.add_argument("--only", choices=("fat", "thin"), help="one case alone")
    parser.add_argument("--repetitions", type=int, help="how many homes and hubs per case")
    parser.add_argument("--seconds", type=float, help="how long each rate is kept")
    parser.add_argument(
        "--filled", type=int, nargs="?", const=1_000_000, help="compare an empty store with one of so many handoffs"
    )
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="does one hub hold ever more memory, files or threads?")
    parser.add_argument("--pieces", type=int, help="how many deliveries the closed loop has")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL instead of the embedded store")
    given = parser.parse_args()
    size = SMOKE if given.smoke else FULL
    repetitions = 1 if given.profile else given.repetitions or size.repetitions
    size = replace(size, repetitions=repetitions, seconds=given.seconds or size.seconds)
    size = replace(size, only_cases=True, profile=True) if given.profile else size
    size = replace(size, only_cases=True) if given.filled else size
    size = replace(size, closed=dict.fromkeys(size.closed, given.pieces)) if given.pieces else size
    cases: tuple[Case, ...] = (Fat(), Thin())
    chosen = [case for case in cases if given.only in (None, case.name)]
    RESULTS.mkdir(exist_ok=True)
    with ExitStack() as stack:
        if given.soak is not None:
            return uvloop.run(soak(stores(stack, on_postgres=given.postgres), given.soak))
        results = uvloop.run(measure(size, chosen, stores(stack, on_postgres=given.postgres), given.filled))
    if given.filled:
        show_filled(results["filled"], results["machine"])
        (RESULTS / "filled.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        return 0 if sound(results["filled"]) else 1
    if given.profile:
        for case in chosen:
            show_profile(
                case.name, json.loads((RESULTS / f"profile-{case.name}.json").read_text("utf-8")), size.closed[case.name]
            )
    elif given.smoke:
        print(
            ", ".join(
                f"{case.name}: {results[case.name]['lost']:.0f} lost, {results[case.name]['doubled']:.0f} done twice"
                for case in chosen
            )
        )
    else:
        show(results)
        (RESULTS / "latest.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    bad = [case.name for case in chosen if not sound(results[case.name])]
    if bad:
        print(f"lost, done twice, or nothing acknowledged at all: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
