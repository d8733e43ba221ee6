"""The Zendesk connector: tickets of the people we work for, and internal comments on them."""

from __future__ import annotations

from lifecyclehub.connector import Connector
from lifecyclehub.hookspecs import hookimpl
from lifecyclehub_zendesk.connector import Zendesk

__all__ = ["Zendesk", "lifecyclehub_connectors"]


@hookimpl
def lifecyclehub_connectors() -> list[Connector]:
    """Give the Zendesk connector."""
    return [Zendesk()]
