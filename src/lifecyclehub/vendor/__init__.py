"""The one HTTP module: everything that goes out to a vendor goes through `Client.send`."""

from lifecyclehub.vendor.breaker import Breaker, after_call, before_call
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.client import Client, retry_after
from lifecyclehub.vendor.grants import GrantStore, Tokens
from lifecyclehub.vendor.guard import AddressRefused, SsrfGuard
from lifecyclehub.vendor.rates import RateLimits
from lifecyclehub.vendor.retry import next_try
from lifecyclehub.vendor.target import Target
from lifecyclehub.vendor.transport import Limits, TransportFactory, aiohttp_transport

__all__ = [
    "AddressRefused",
    "Breaker",
    "Client",
    "GrantStore",
    "HubCall",
    "Limits",
    "RateLimits",
    "SsrfGuard",
    "Target",
    "Tokens",
    "TransportFactory",
    "after_call",
    "aiohttp_transport",
    "before_call",
    "next_try",
    "retry_after",
]
