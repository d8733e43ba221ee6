"""The pluggy hooks. They only hand objects over; all behaviour is in the objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from lifecyclehub.connector import Connector

PROJECT = "lifecyclehub"
ENTRY_POINTS = "lifecyclehub.connectors"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def lifecyclehub_connectors() -> list[Connector]:  # type: ignore[empty-body]
    """Give the connectors of this distribution."""
