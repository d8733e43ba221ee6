"""Working with the whole installation: for what needs connectors and the network. Commands that only look do without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import typer

from lifecyclehub.cli.home import settings_of
from lifecyclehub.cli.progress import doing, is_quiet
from lifecyclehub.cli.shared import home_of
from lifecyclehub.hub import Hub

T = TypeVar("T")


@asynccontextmanager
async def opened(ctx: typer.Context) -> AsyncIterator[Hub]:
    """Open an installation without running it: a hub may serve it at the same time."""
    with doing("Opening the installation", quiet=is_quiet(ctx)):
        hub = Hub(settings_of(home_of(ctx)))
    try:
        yield hub
    finally:
        await hub.stop()


def with_hub(ctx: typer.Context, work: Callable[[Hub], Awaitable[T]]) -> T:
    """Do something with the opened installation. Raises ConfigurationError."""

    async def run() -> T:
        async with opened(ctx) as hub:
            return await work(hub)

    return asyncio.run(run())
