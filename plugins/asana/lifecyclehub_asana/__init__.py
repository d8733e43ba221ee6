"""Connects Asana: its projects, their tasks and the comments on these."""

from __future__ import annotations

from lifecyclehub.connector import Connector
from lifecyclehub.hookspecs import hookimpl
from lifecyclehub_asana.connector import Asana

__all__ = ["Asana", "lifecyclehub_connectors"]


@hookimpl
def lifecyclehub_connectors() -> list[Connector]:
    """Give the connector for Asana."""
    return [Asana()]
