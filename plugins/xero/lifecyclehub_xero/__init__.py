"""Xero for lifecyclehub."""

from __future__ import annotations

from lifecyclehub.connector import Connector
from lifecyclehub.hookspecs import hookimpl
from lifecyclehub_xero.connector import Xero

__all__ = ["Xero", "lifecyclehub_connectors"]


@hookimpl
def lifecyclehub_connectors() -> list[Connector]:
    """Give the connectors of this distribution."""
    return [Xero()]
