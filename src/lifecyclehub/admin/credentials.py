"""Trying credentials at the vendor before anything is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from lifecyclehub.connector import About, Account, Auth, Connector
from lifecyclehub.errors import ConfigurationError, HubError, NeedsReauthorization, nearest
from lifecyclehub.insight.clocks import CALLS_PER_DAY
from lifecyclehub.registry.runner import cut
from lifecyclehub.vendor.call import HubCall
from lifecyclehub.vendor.client import Client
from lifecyclehub.vendor.grants import Tokens
from lifecyclehub.vendor.target import RATES, Target

_NUMBERS = ("accepted_s", "lag_s", "poll_s", "server_timeout_s", "total_s")


class TriedGrant:
    """Credentials in memory while they are tried. `tokens` are the present ones: trying may have rotated them."""

    def __init__(self, tokens: Tokens) -> None:
        self.first = self.tokens = tokens

    async def load(self, grant_id: str) -> Tokens:
        """Give the credentials."""
        return self.tokens

    async def save(self, grant_id: str, tokens: Tokens, instead_of: Tokens | None = None) -> bool:
        """Take renewed ones."""
        self.tokens = tokens
        return True

    async def hold(self, grant_id: str) -> bool:
        """Nobody else knows of them yet."""
        return True

    async def let_go(self, grant_id: str) -> None:
        """Leave it at that."""

    @property
    def used_up(self) -> bool:
        """Tell whether what the admin entered serves no more, because a single-use token was exchanged."""
        return {name: value.get_secret_value() for name, value in self.tokens.secrets.items()} != {
            name: value.get_secret_value() for name, value in self.first.secrets.items()
        }


def auth_of(about: About, name: str | None) -> Auth:
    """Give a way in by its name, the only one for None. Raises ConfigurationError."""
    names = [auth.name for auth in about.auths]
    if name is None and len(names) == 1:
        return about.auths[0]
    if name is None:
        listed = "; ".join(f"{auth.name} ({auth.label})" for auth in about.auths)
        raise ConfigurationError(f"{about.name} has several ways in.", mend=f"Choose one: {listed}.")
    auth = about.auth(name)
    if auth is None:
        raise ConfigurationError(f"{about.name} has no way in called {name!r}.", mend=nearest(name, names))
    return auth


def entered(auth: Auth, secrets: Mapping[str, str]) -> Tokens:
    """Check that exactly the asked credentials were entered. Raises ConfigurationError, which shows none of them."""
    where = f"credentials ({auth.label})"
    for name in secrets:
        if name not in auth.secrets:
            raise ConfigurationError(f"{name!r} is not asked for.", where=where, mend=nearest(name, auth.secrets))
    for name in auth.secrets:
        value = secrets.get(name, "").strip()
        if not value:
            raise ConfigurationError(f"the {name} is missing.", where=where, mend=f"Enter {', then '.join(auth.secrets)}.")
        if not value.isascii() or not value.isprintable():
            raise ConfigurationError(
                f"the {name} has characters that no credential has.", where=where, mend="Copy it again, whole and alone."
            )
    return Tokens(secrets={name: SecretStr(secrets[name].strip()) for name in auth.secrets})


def checked_settings(about: About, settings: Mapping[str, str]) -> dict[str, str]:
    """Refuse settings that nobody reads, and figures that are none. Raises ConfigurationError with the nearest name.

    Whether values fit their patterns, and required ones are there, is checked when the target is made.
    """
    bases = tuple(f"base_url.{host.name}" for host in about.hosts)
    secret = {name for auth in about.auths for name in auth.secrets}
    known = {*(setting.name for setting in about.settings), *bases, "self_hosted", RATES, *_NUMBERS, CALLS_PER_DAY}
    for name, value in settings.items():
        where = f"setting {name}"
        if name not in known and name in secret:
            raise ConfigurationError(
                "this is a credential, and settings are shown to everybody.",
                where=where,
                mend="Leave it out: it is asked for, hidden, or read from standard input. If others saw it, make a new one.",
            )
        if name not in known:
            raise ConfigurationError(f"{about.name} has no such setting.", where=where, mend=nearest(name, known))
        if name == "self_hosted" and value not in ("yes", "no"):
            raise ConfigurationError(f"{value!r} is neither yes nor no.", where=where, mend="Write self_hosted=yes.")
        if name == RATES and (value != "off" or settings.get("self_hosted") != "yes"):
            raise ConfigurationError(
                "the vendor's rates can only be lifted for a tool that you host yourself.",
                where=where,
                mend="Write rates=off beside self_hosted=yes, or leave it out.",
            )
        if name == CALLS_PER_DAY and not (value.isascii() and value.isdigit() and int(value)):
            raise ConfigurationError(f"{value!r} is no number of calls.", where=where, mend=f"Write {name}=5000, for example.")
        if name in _NUMBERS and not _is_seconds(value):
            raise ConfigurationError(f"{value!r} is no number of seconds.", where=where, mend=f"Write {name}=30, for example.")
    return dict(settings)


def _is_seconds(text: str) -> bool:
    try:
        return 0 <= float(text) <= 24 * 3600
    except ValueError:
        return False


async def try_tokens(client: Client, connector: Connector, target: Target, tried: TriedGrant) -> tuple[Account, ...]:
    """Ask the vendor which accounts credentials reach. Raises ConfigurationError when they are not accepted.

    Whatever comes of it, `tried` has the present ones afterwards.
    """
    trying = client.with_grants(tried)
    try:
        return await ask_accounts(trying, connector, target)
    finally:
        await trying.aclose()


async def ask_accounts(client: Client, connector: Connector, target: Target) -> tuple[Account, ...]:
    """List the accounts that a target's grant reaches. Raises ConfigurationError saying what the vendor said."""
    about = connector.about
    where = f"{about.name} ({target.auth.label})"
    try:
        asked = connector.accounts(HubCall(client, target))
        found: Sequence[Account] = await cut(about.id, "accounts", asked, 2 * target.timeout_s)
    except NeedsReauthorization as error:
        raise ConfigurationError(
            "the vendor does not accept these credentials.", where=where, mend="Copy them again, or make new ones in the tool."
        ) from error
    except ConfigurationError:
        raise
    except HubError as error:
        raise ConfigurationError(
            f"the accounts could not be listed: {error}.", where=where, mend="Check addresses and the rights of the credentials."
        ) from error
    if not found:
        raise ConfigurationError(
            "these credentials reach no account.", where=where, mend="Let them be authorised for an account in the tool."
        )
    return tuple(found)
