"""HubSpot as the CRM of a lifecyclehub installation."""

from lifecyclehub.connector import Connector
from lifecyclehub.hookspecs import hookimpl
from lifecyclehub_hubspot.connector import HubSpot

__all__ = ["HubSpot", "lifecyclehub_connectors"]


@hookimpl
def lifecyclehub_connectors() -> list[Connector]:
    """Give this distribution's connector."""
    return [HubSpot()]
