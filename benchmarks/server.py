"""The process that is measured: started as an admin starts it, watched from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_TICKS = os.sysconf("SC_CLK_TCK")
START_S = 60.0


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_cpu_s() -> float:
    """Give the CPU seconds that this process (load and sink) has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@dataclass(slots=True)
class Server:
    """A started process and its port. Figures of its memory and CPU time are read from /proc, None elsewhere."""

    process: subprocess.Popen[bytes]
    port: int
    cold_start_s: float = float("nan")

    @classmethod
    async def start(cls, program: list[str], log: Path, environment: Mapping[str, str], port: int, ready: bytes) -> Server:
        """Start it and wait for the first 200 on the path `ready`. Raises RuntimeError with the end of its log."""
        began = time.monotonic()
        server = cls(_spawned(program, log, environment), port)
        while not await _answers(port, ready):
            if server.process.poll() is not None or time.monotonic() - began > START_S:
                await server.stop()
                raise RuntimeError(f"{' '.join(program)} did not start:\n{_end_of(log)}")
            await asyncio.sleep(0.005)
        server.cold_start_s = time.monotonic() - began
        return server

    def cpu_s(self) -> float | None:
        """Give the user and system seconds used so far."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(") ")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mb(self, what: str = "VmRSS") -> float | None:
        """Give the memory held now, or the most that was ever held (`VmHWM`)."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text("ascii", "replace")
        except OSError:
            return None
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{what}:")), None)

    async def stop(self) -> None:
        """End it as an admin would, by force when it does not come to an end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self.process.wait, 40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            await loop.run_in_executor(None, self.process.wait)


def _spawned(program: list[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, (str(HERE / "connectors"), os.environ.get("PYTHONPATH", ""))))
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *program], env={**os.environ, "PYTHONPATH": path, **environment}, stdout=out, stderr=out
        )


def _end_of(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-3000:]


async def _answers(port: int, path: bytes) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET %s HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n" % path)
        async with asyncio.timeout(5):
            return (await reader.read()).startswith(b"HTTP/1.1 200")
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
