"""Recognising who is who, and which project a ticket means: by keys that identify, never by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from lifecyclehub.mapping.converters import domain, email
from lifecyclehub.model import THINGS

IdentityKey: TypeAlias = tuple[str, str]
"""(kind, value), for example `("email", "ada@acme.example")`."""

# Hosts of mailboxes that anybody can open: their domain says nothing about a company.
FREE_MAIL: Final = frozenset(
    """
    126.com 163.com aim.com alice.it aol.com arcor.de bigpond.com bk.ru bluewin.ch btinternet.com centrum.cz comcast.net
    cox.net duck.com email.com email.cz fastmail.com fastmail.fm foxmail.com free.fr freemail.hu freenet.de gmail.com
    gmx.at gmx.ch gmx.com gmx.de gmx.net googlemail.com hanmail.net hey.com hotmail.be hotmail.ca hotmail.co.uk
    hotmail.com hotmail.de hotmail.es hotmail.fr hotmail.it hotmail.nl hushmail.com icloud.com inbox.lv inbox.ru
    interia.pl kpnmail.nl laposte.net libero.it list.ru live.be live.ca live.co.uk live.com live.de live.fr live.it
    live.nl mac.com mail.com mail.de mail.ee mail.ru mailbox.org me.com msn.com naver.com neuf.fr o2.pl onet.pl
    online.de op.pl orange.fr outlook.com outlook.de outlook.es outlook.fr outlook.it pm.me posteo.de posteo.net
    proton.me protonmail.ch protonmail.com qq.com rambler.ru rediffmail.com rocketmail.com sapo.pt sbcglobal.net
    seznam.cz sfr.fr sina.com sky.com skynet.be sympatico.ca t-online.de talktalk.net telenet.be telia.com terra.com.br
    tiscali.it tuta.com tutamail.com tutanota.com ukr.net uol.com.br verizon.net virgilio.it virginmedia.com
    volny.cz wanadoo.fr web.de wp.pl yahoo.ca yahoo.co.in yahoo.co.jp yahoo.co.uk yahoo.com yahoo.com.au yahoo.com.br
    yahoo.de yahoo.es yahoo.fr yahoo.it yandex.com yandex.ru ymail.com zoho.com zohomail.com
    """.split()  # noqa: SIM905 (a list that people read and extend)
)


def email_key(value: Any) -> str | None:
    """Give an e-mail address as a key: lower case, a tag after `+` kept; None for anything else.

    Tags are kept because some hosts deliver `a+b@` to somebody else than `a@`: taking two people for one is worse than
    asking once more.
    """
    try:
        return email(value) if value is not None else None
    except ValueError:
        return None


def domain_key(value: Any) -> str | None:
    """Give the company's domain of an e-mail address, URL or host; None for free mail hosts and for anything else."""
    try:
        found = domain(value) if value is not None else None
    except ValueError:
        return None
    return None if found is None or found in FREE_MAIL else found


def _plain(value: Any) -> str | None:
    said = "".join(char for char in str(value) if char.isalnum()).upper() if value is not None else ""
    return said or None


_NORMAL: Final = {"email": email_key, "domain": domain_key, "tax_id": _plain}


_IDENTIFYING: Final = {
    thing: [(f"{thing}.{name}", field.identity) for name, field in fields.items() if field.identity]
    for thing, fields in THINGS.items()
}


def identity_keys(thing: str, values: Mapping[str, Any]) -> tuple[IdentityKey, ...]:
    """Give the keys of a thing by which it is recognised, the surest first, from its canonical values by path.

    An e-mail address at a company's own domain gives that domain too. Values that identify nothing give no key.
    """
    keys: dict[IdentityKey, None] = {}
    domains: dict[IdentityKey, None] = {}
    for path, identity in _IDENTIFYING[thing]:
        value = values.get(path)
        key = _NORMAL[identity](value)
        if key is None:
            continue
        (domains if identity == "domain" else keys)[identity, key] = None
        if identity == "email" and (company := domain_key(value)):
            domains["domain", company] = None
    return (*keys, *domains)


# --- tickets ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiveProject:
    """A client's project that is not closed. `record_ids` and `urls`: how the tools call it."""

    id: str
    title: str
    record_ids: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Joins:
    """The ticket belongs to this project."""

    project: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The ticket has no project yet."""

    reason: str


@dataclass(frozen=True, slots=True)
class Several:
    """A person must choose among these."""

    choices: tuple[LiveProject, ...]
    reason: str


def _address(url: str) -> str:
    """Give an address without what varies: scheme, `www.`, query, fragment, a slash at the end."""
    bare = url.strip().partition("#")[0].partition("?")[0]
    return bare.rpartition("://")[2].removeprefix("www.").rstrip("/").lower()


def _names(ref: str, project: LiveProject) -> bool:
    if ref in (project.id, *project.record_ids):
        return True
    given = _address(ref)
    if "/" not in given:
        return False
    return any(given == known or given.startswith(known + "/") for known in map(_address, project.urls) if known)


def ticket_project(ref: str | None, named: Iterable[LiveProject], live: Sequence[LiveProject]) -> Joins | Waiting | Several:
    """Choose a ticket's project: the one that `ref` names (address or vendor id), else the client's only live one.

    `named`: all projects that a ticket of this client may name, closed ones too; `live`: the client's live ones. A
    reference that names none is never passed over for a guess: it waits.
    """
    said = (ref or "").strip()
    if said:
        found = {project.id: project for project in named if _names(said, project)}
        if len(found) == 1:
            return Joins(next(iter(found)))
        if found:
            return Several(tuple(found.values()), f"{said!r} names several projects.")
        return Waiting(f"{said!r} names no project that we know. Correct it on the ticket, or link that project.")
    if len(live) == 1:
        return Joins(live[0].id)
    if live:
        return Several(tuple(live), f"The client has {len(live)} live projects. Choose one, or name it on the ticket.")
    return Waiting("The client has no live project.")
