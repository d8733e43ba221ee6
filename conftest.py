"""What every test of the hub and of the plugins lives with: one event loop, and no network beyond this machine."""

from __future__ import annotations

import functools
import gc
import ipaddress
import socket
import sys
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

# httpcore looks for this at each request, which is not installed: the search takes longer than most of what it looks for.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]

# No test reaches a server behind TLS, but each client of httpx's own reads all certificates that it would trust.
httpx._transports.default.create_ssl_context = functools.cache(httpx.create_ssl_context)  # type: ignore[attr-defined]  # noqa: SLF001

# Generated examples are the same in every run, and a slow machine is no failure.
settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


class NetworkBlocked(RuntimeError):
    """A test tried to reach another machine."""


def _stays_here(address: Any) -> bool:
    if isinstance(address, str | bytes):  # a unix socket's path
        return True
    host = str(address[0]).partition("%")[0]
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusing(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if not _stays_here(address):
            raise NetworkBlocked(f"a test tried to connect to {address!r}; only loopback and unix sockets are allowed")
        return connect(self, address)

    return guarded


def pytest_configure() -> None:
    """Block connections to other machines for the whole run (not in processes that a test starts)."""
    gc.disable()  # what is collected lives as long as the run
    for name in ("connect", "connect_ex"):
        connect = getattr(socket.socket, name)
        if connect.__name__ != "guarded":
            setattr(socket.socket, name, _refusing(connect))


# Whole programs, and stories that many requests are sent in. Who begins with them last would be alone with them at the end.
LONG = (
    "tests/docs/test_what_readers_type",
    "tests/demo/",
    "tests/process/",
    "tests/flow/",
    "tests/torture/",
    "tests/contract/",
    "tests/bad_input/",
    "tests/cli/test_serve",
    "tests/architecture/test_serve",
    "tests/architecture/test_commands",
    "tests/web/test_anything_is_asked",
    "tests/docs/test_pages",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: next((place for place, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG)))


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and only among what tests leave.

    To go through all modules and all collected tests again and again took a quarter of the whole run.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 10)
    gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio only."""
    return "asyncio"
