"""Which addresses may be called. Every address of a name is judged, and the connection goes to the one judged."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from lifecyclehub.errors import ConfigurationError

Address: TypeAlias = IPv4Address | IPv6Address
Lookup: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives all addresses of a name; raises OSError when there are none."""

_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
_NUMBER: Final = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)")

# Where clouds hand out a machine's own credentials: AWS, Google, Azure, Oracle, DigitalOcean; AWS over IPv6 and for
# containers; Alibaba; Oracle's old one; Azure's wire server.
_METADATA: Final[tuple[IPv4Network | IPv6Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::/32",
        "fd20:ce::/32",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "168.63.129.16/32",
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_OWN_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")  # never public, but leads to IPv4 all the same
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # all that is handed out so far
# What Python 3.11 still takes for global: the retired 6to4 relay, the newer documentation prefix.
_NOT_PUBLIC: Final[tuple[IPv4Network | IPv6Network, ...]] = (
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv6Network("3fff::/20"),
)


class AddressRefused(ConfigurationError):
    """An address that must not be called. Nothing was sent."""


def _carried(address: Address) -> tuple[Address, ...]:
    """Give the address and every IPv4 address it stands for (mapped, compatible, NAT64, 6to4, Teredo)."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    found: list[Address] = [address]
    if address in _NAT64 or address in _OWN_NAT64 or address in _COMPATIBLE:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    return tuple(found)


def _within(address: Address, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _UNICAST and address not in _NAT64:
        return False
    return address.is_global and not address.is_multicast and not _within(address, _NOT_PUBLIC)


class SsrfGuard:
    """Judges hosts and addresses. `private`: for tools the business hosts itself, also on its own machine or network."""

    def __init__(self, *, private: bool, lookup: Lookup | None = None) -> None:
        self.private = private
        self._lookup = lookup or _system_lookup

    def check_address(self, text: str, *, host: str = "") -> None:
        """Raises `AddressRefused` unless this address may be called."""
        name = host or text
        if "%" in text:
            raise _refusal(name, text, "it names a network interface")
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise _refusal(name, text, "it is no address") from None
        for carried in _carried(address):
            if _within(carried, _METADATA):
                raise _refusal(name, text, "it may be a cloud's metadata service, which is never called")
            if carried.is_multicast or carried.is_unspecified:
                raise _refusal(name, text, "it is not the address of one machine")
        if not self.private and not all(_is_public(carried) for carried in _carried(address)):
            raise _refusal(name, text, "it is not public", "If you host this tool yourself, say so in the connection's settings.")

    def check_host(self, host: str) -> None:
        """Raises `AddressRefused` for a host that cannot be a name or an address in its usual notation.

        A name is judged again by its addresses when the connection is made.
        """
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if ":" in bare:
            self.check_address(bare, host=host)
            return
        bare = bare.removesuffix(".")
        if not _NAME.fullmatch(bare):
            raise _refusal(host, bare, "it is no host name")
        if _NUMBER.fullmatch(bare.rpartition(".")[2]):  # 2130706433, 127.1, 0x7f.1: read differently by different programs
            self.check_address(bare, host=host)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Give the addresses of a name, each one judged: one bad address refuses all. Raises `AddressRefused`, OSError."""
        self.check_host(host)
        addresses = list(await self._lookup(host, port))
        if not addresses:
            raise OSError(f"{host} has no address")
        for address in addresses:
            self.check_address(address, host=host)
        return addresses


_CORRECT: Final = "Correct the address in the connection's settings."


def _refusal(host: str, address: str, why: str, mend: str = _CORRECT) -> AddressRefused:
    which = f"{host} ({address})" if address != host else host
    return AddressRefused(f"{which} is not called: {why}.", mend=mend)


async def _system_lookup(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedResolver(AbstractResolver):
    """Hands aiohttp the judged addresses, so that it connects to these and asks nobody again."""

    def __init__(self, guard: SsrfGuard) -> None:
        self._guard = guard

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Give only addresses that the guard lets pass. Raises `AddressRefused`, OSError."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._guard.resolve(host, port)
            if family in (socket.AF_UNSPEC, socket.AF_INET6 if ":" in address else socket.AF_INET)
        ]

    async def close(self) -> None:
        """Nothing to release."""
