"""Where to send: everything about one connection that a call needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, urlsplit

from lifecyclehub.connector import About, Auth, Host, Rate
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.vendor.guard import SsrfGuard

DEFAULT_TIMEOUT_S: Final = 30.0
_SLOT: Final = re.compile(r"\{([A-Za-z0-9_.-]+)\}")
_HOST_PART: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,200}[A-Za-z0-9])?")
_PLAIN: Final = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~/%-]*)?")
OVERRIDE: Final = "base_url."
RATES: Final = "rates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One connection, ready to be called. Make it with `Target.of`, which checks the addresses.

    `bases`: base address by host name of `About.hosts`; requests go nowhere else. `grant`: the id under which the
    credentials are kept. `private`: hosted by the business itself, so http and private addresses are allowed.
    """

    connection: str
    about: About
    auth: Auth
    grant: str
    bases: Mapping[str, str]
    settings: Mapping[str, str]
    account: str = ""
    private: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
    size_cap: int = 10 * 1024 * 1024
    rates: tuple[Rate, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        connection: str,
        about: About,
        auth: Auth,
        grant: str,
        settings: Mapping[str, str],
        account: str = "",
        self_hosted: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Target:
        """Fill in defaults and base addresses.

        A setting `base_url.<host>` replaces the declared one; `rates = "off"` lifts the rates for a self-hosted tool.
        Raises `ConfigurationError` for a missing or ill-formed setting or an address that must not be called.
        """
        where = f"connection {connection}"
        filled = _with_defaults(about, settings, where)
        guard = SsrfGuard(private=self_hosted)
        bases = {host.name: _base(host, filled, guard, where) for host in about.hosts}
        return cls(
            connection=connection,
            about=about,
            auth=auth,
            grant=grant,
            bases=MappingProxyType(bases),
            settings=MappingProxyType(filled),
            account=account,
            private=self_hosted,
            timeout_s=timeout_s,
            size_cap=about.size_cap,
            # A tool of one's own may take more than the vendor's cloud does.
            rates=() if self_hosted and filled.get(RATES) == "off" else about.rates,
        )

    def base(self, host: str) -> str:
        """Give the base address of a declared host. Raises `ConfigurationError` for any other."""
        base = self.bases.get(host)
        if base is None:
            raise ConfigurationError(
                f"the connector asked for the host {host!r}, which it does not declare.",
                where=f"connection {self.connection}",
                mend=f"{self.about.name} may call only: {', '.join(self.bases)}.",
            )
        return base


def server_timeout_s(target: Target) -> float:
    """Give for how long after our deadline the vendor may still do what it was sent."""
    return float(target.settings.get("server_timeout_s") or target.about.server_timeout_s)


def _with_defaults(about: About, settings: Mapping[str, str], where: str) -> dict[str, str]:
    filled = {setting.name: setting.default for setting in about.settings if setting.default is not None} | dict(settings)
    for setting in about.settings:
        value = filled.get(setting.name, "")
        if setting.required and not value:
            raise ConfigurationError(f"the setting {setting.name} ({setting.label}) is missing.", where=where, mend=setting.help)
        if value and setting.pattern and not re.fullmatch(setting.pattern, value):
            raise ConfigurationError(
                f"the setting {setting.name} ({setting.label}) must match {setting.pattern}.", where=where, mend=setting.help
            )
    return filled


def _base(host: Host, settings: Mapping[str, str], guard: SsrfGuard, where: str) -> str:
    given = settings.get(OVERRIDE + host.name)
    text = given or _fill(host, settings, where)
    parts = urlsplit(text)
    allowed = ("https", "http") if guard.private else ("https",)
    if parts.scheme not in allowed:
        raise ConfigurationError(
            f"the address {host.name} must begin with https://.",
            where=where,
            mend="Plain http is possible only for a tool that you host yourself: say so in the connection's settings.",
        )
    if not parts.hostname or not _PLAIN.fullmatch(text):
        raise ConfigurationError(
            f"the address {host.name} must be a plain one.",
            where=where,
            mend="Write https://host or https://host/path, without user, password, question mark or #.",
        )
    _check_port(parts, where)
    guard.check_host(parts.hostname)
    return text.rstrip("/")


def _check_port(parts: SplitResult, where: str) -> None:
    try:
        _ = parts.port
    except ValueError:
        raise ConfigurationError("the port in the address is not a number from 0 to 65535.", where=where) from None


def _fill(host: Host, settings: Mapping[str, str], where: str) -> str:
    whole = host.base.startswith("{")  # the setting is the address itself, as for a self-hosted tool

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        text = settings.get(name, "")
        if not text:
            raise ConfigurationError(f"the setting {name} is missing; the address {host.base} needs it.", where=where)
        if not whole and not _HOST_PART.fullmatch(text):
            raise ConfigurationError(
                f"the setting {name} is no part of a host name.", where=where, mend=f"Enter only what belongs into {host.base}."
            )
        return text

    return _SLOT.sub(value, host.base)
