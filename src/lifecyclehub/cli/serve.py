"""`lifecyclehub serve`: the hub as a server, with nothing loaded that it does not need."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import ipaddress
import logging
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from lifecyclehub import __version__
from lifecyclehub.cli.codes import ATTENTION, OK, end_with
from lifecyclehub.cli.home import holder_of, settings_of
from lifecyclehub.cli.logs import logging_to
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.settings import DEFAULT_PORT, FILE, Settings, write_settings
from lifecyclehub.web.app import create_app
from lifecyclehub.web.wire import BoundedHttp

_TRIED_PORTS = 100
_GRACE_S = 10
_BACKLOG = 2048


def options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Describe the options of `serve`."""
    parser.add_argument("--home", type=Path, help="the installation's folder (or LIFECYCLEHUB_HOME)")
    parser.add_argument("--host", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port, kept in hub.toml (8470, or the next free one)")
    parser.add_argument("--behind-proxy", action="store_true", help="allow another address than loopback: a proxy adds TLS")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; what is in flight ends first. Gives the exit code."""
    asked = options(argparse.ArgumentParser(prog="lifecyclehub serve")).parse_args(arguments)
    with logging_to(sys.stderr):
        return _run(asked)


def _run(asked: argparse.Namespace) -> int:
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a tick that is left out while the last one runs is no news
    try:
        settings = _with_host(settings_of(asked.home), asked.host, behind_proxy=asked.behind_proxy)
        _refuse_second(settings)
        with _bind(settings, asked.port) as listener:
            return _serve(replace(settings, port=listener.getsockname()[1]), listener)
    except Exception as error:
        code = end_with(error)
        if code is None:
            raise
        return code


# --- where to listen --------------------------------------------------------------------------------------------------


def _with_host(settings: Settings, host: str | None, *, behind_proxy: bool) -> Settings:
    """Take the host. Without a proxy in front only this machine may reach the hub: it speaks plain HTTP."""
    chosen = replace(settings, host=host or settings.host)
    if _is_loopback(chosen.host):
        return chosen
    if not behind_proxy:
        raise ConfigurationError(
            f"{chosen.host} can be reached from other machines, and the hub speaks plain HTTP.",
            where=f"{FILE}: host",
            mend="Listen on 127.0.0.1 with a proxy that adds TLS on this machine, or say --behind-proxy if one stands in front.",
        )
    if chosen.public_url is None:
        raise ConfigurationError(
            "behind a proxy the hub must know the address that vendors call: they sign it.",
            where=f"{FILE}: public_url",
            mend='Write public_url = "https://…", the proxy\'s address.',
        )
    return chosen


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_second(settings: Settings) -> None:
    """Say at once that a hub runs here, before its port seems to be somebody else's. The hub itself takes the lock."""
    holder = holder_of(settings)
    if holder is not None:
        raise ConfigurationError(
            f"another hub is running on this home (process {holder}).",
            where=str(settings.home),
            mend="Stop it, or use another home.",
        )


def _bind(settings: Settings, port: int | None) -> socket.socket:
    """Listen on the kept port, else on the next free one, which is kept: vendors sign the address with it."""
    if port is not None and settings.port is not None and port != settings.port:
        raise ConfigurationError(
            f"the port {settings.port} is kept already, and {port} was asked for.",
            where=str(settings.home / FILE),
            mend="Change it there; hooks that were set up with the old address must then be set up anew.",
        )
    wanted = port or settings.port
    if wanted is not None:
        listener = _listen(settings.host, wanted)
        if listener is None:
            raise ConfigurationError(
                f"the port {wanted} is taken by another program.",
                where=f"{settings.home / FILE}: port",
                mend="Stop that program, or change the port there; hooks with the old address must then be set up anew.",
            )
    else:
        listener = _next_free(settings.host)
    if settings.port is None:
        write_settings(settings.home, {"port": listener.getsockname()[1]})
    return listener


def _next_free(host: str) -> socket.socket:
    for port in range(DEFAULT_PORT, DEFAULT_PORT + _TRIED_PORTS):
        listener = _listen(host, port)
        if listener is not None:
            return listener
    raise ConfigurationError(
        f"none of the ports {DEFAULT_PORT} to {DEFAULT_PORT + _TRIED_PORTS - 1} is free.", where=FILE, mend="Choose one: port = …"
    )


def _listen(host: str, port: int) -> socket.socket | None:
    """Give a listening socket, None where another program has the port. Raises ConfigurationError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # only then is the port ours: two that are bound and start together would both go on
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on ({error.strerror}).",
            where=f"{FILE}: host",
            mend="Choose an address of this machine.",
        ) from error
    return listener


# --- serving ----------------------------------------------------------------------------------------------------------


def _serve(settings: Settings, listener: socket.socket) -> int:
    failures: list[BaseException] = []
    app = create_app(lambda: Hub(settings))
    _catch_start(app, settings, failures)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again once all is closed; that is the end here
        signal.signal(number, lambda *_: None)
    with contextlib.suppress(SystemExit):  # of a start that failed; what went wrong is told below
        uvicorn.Server(config).run(sockets=[listener])
    for failure in failures:
        code = end_with(failure) if isinstance(failure, Exception) else None
        if code is None:
            traceback.print_exception(failure)
        return ATTENTION if code is None else code
    return OK


def _catch_start(app: FastAPI, settings: Settings, failures: list[BaseException]) -> None:
    """Say where the hub is once it runs; keep what goes wrong before that, instead of uvicorn's traceback."""
    inner, log = app.router.lifespan_context, logging.getLogger("uvicorn.error")
    log.setLevel(logging.CRITICAL)

    @asynccontextmanager
    async def guarded(served: FastAPI) -> AsyncIterator[Any]:
        try:
            async with inner(served) as state:
                log.setLevel(logging.WARNING)
                _spare_collecting()
                _announce(settings)
                yield state
        except BaseException as error:
            failures.append(error)
            raise
        print("lifecyclehub has stopped.", flush=True)

    app.router.lifespan_context = guarded


def _spare_collecting() -> None:
    """Leave what start-up made out of garbage collection, and collect more seldom: measured, an eighth of all CPU time.

    Its longest pause, in which no delivery is acknowledged, falls from 100 to 30 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _announce(settings: Settings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"lifecyclehub {__version__} runs at http://{host}:{settings.port}")
    print(f"Home: {settings.home}")
    if settings.public_url:
        print(f"Vendors call {settings.public_url}/hooks/…")
    else:
        print(f"No public_url is set in {FILE}: only tools on this machine can call it.")
    print("Stop it with Ctrl-C.")
    sys.stdout.flush()
