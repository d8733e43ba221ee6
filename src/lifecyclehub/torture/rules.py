"""Registry and rules of each cast, read once: reading files is not what is tested here."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from sqlalchemy import Connection

from lifecyclehub.admin.applied import InForce, applied_version
from lifecyclehub.configuration import Source, read_rules
from lifecyclehub.mapping import content_version
from lifecyclehub.registry.registry import Registry
from lifecyclehub.rules import Rules
from lifecyclehub.settings import Settings
from lifecyclehub.torture.tools import Character
from lifecyclehub.torture.tools.books import books
from lifecyclehub.torture.tools.crm import crm
from lifecyclehub.torture.tools.desk import desk
from lifecyclehub.torture.tools.projects import projects

_TABLE = """format = 1
[[row]]
id = "welcome"
title = "Welcome"
notes = "Say hello."
owner = "deal owner"
due_days = 1
[[row]]
id = "plan"
title = "Plan"
notes = "Say what is next."
owner = "deal owner"
"""


@cache
def registry_of(cast: tuple[Character, ...]) -> Registry:
    """Give the connectors of a cast."""
    return Registry.of(*(make(one) for make, one in zip((crm, projects, desk, books), cast, strict=True)))


def in_force(conn: Connection, cast: tuple[Character, ...], settings: Settings, edition: int) -> InForce:
    """Give the set that counts, as if it had been applied: what a person has made anew names the one in the store."""
    rules = rules_of(cast, settings, edition)
    rules = replace(rules, earlier={**rules.earlier, str(applied_version(conn)): rules})
    return InForce(registry_of(cast), rules, Source({}), rules.version, rules.version)


_known: dict[tuple[tuple[Character, ...], int], Rules] = {}


def rules_of(cast: tuple[Character, ...], settings: Settings, edition: int) -> Rules:
    """Give the shipped rules with a short checklist. A later edition is the same rules as a new set, applied over the others."""
    found = _known.get((cast, edition))
    if found is None:
        table = settings.mappings / "tables" / "onboarding.toml"
        if not table.exists():
            table.parent.mkdir(parents=True, exist_ok=True)
            table.write_text(_TABLE, "utf-8")
        read = read_rules(registry_of(cast), settings, "ins_torture")
        earlier = {one.version: one for one in (rules_of(cast, settings, before) for before in range(edition))}
        found = _known[cast, edition] = replace(read, version=content_version([read.version, edition]), earlier=earlier)
    return found
