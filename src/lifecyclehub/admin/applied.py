"""The applied set: what the hub works with, kept in the store. Edited files count only once they were applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select, update

from lifecyclehub.admin.stored import changed
from lifecyclehub.configuration import Source, mapping_of, rules_of, shipped_defaults
from lifecyclehub.dispatch.advance import WAITING
from lifecyclehub.errors import ConfigurationError, MappingError
from lifecyclehub.insight.decided import decided_version, decided_with
from lifecyclehub.registry.registry import Registry
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import put_all
from lifecyclehub.store.writer import as_operation

_APPLY = "Accept its new defaults with `lifecyclehub mappings apply`, or install the version that was there before."


class AppliedMeanwhile(ConfigurationError):
    """Another set was applied since the list of changes was made. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class InForce:
    """What counts now. `registry`: the connectors that it can be used with; `files_set`: what the home's files made last.

    `kept` is the version in the store; the rules have another one while a connector has joined that the set did not know.
    """

    registry: Registry
    rules: Rules
    source: Source
    kept: str
    files_set: str | None


@dataclass(frozen=True, slots=True)
class Applying:
    """A set that is to count from now on. `over`: the one that it was compared with. `of_files`: it is what the files say."""

    version: str
    content: Mapping[str, Any]
    who: str
    at: datetime
    over: str | None
    of_files: bool = True


def applied_version(conn: Connection) -> str | None:
    """Give the version of the set that counts, None before the first one."""
    version: str | None = conn.execute(select(tables.installation.c.applied_set)).scalar()
    return version


def read_applied(conn: Connection, registry: Registry, zone: ZoneInfo, known: InForce | None = None) -> InForce:
    """Read the set that counts, and the earlier ones that waiting effects were planned with. Raises ConfigurationError.

    A connector that the set has not met joins with its own defaults. One whose mappings cannot be used is refused, and
    the others go on. `known`: what was read before from the same connectors; what it holds already is not made again.
    """
    installation = conn.execute(select(tables.installation)).mappings().first()
    if installation is None or installation["applied_set"] is None:
        raise ConfigurationError("no rules have been applied yet.", mend="Run `lifecyclehub init`: it applies the first ones.")
    version = installation["applied_set"]
    kept = Source.of(_content(conn, version))
    source = kept.joined(Source({}, shipped_defaults(registry)))
    if known is not None and source is kept and known.rules.version == version:
        usable, rules = known.registry, known.rules
    else:
        usable, rules = _usable(source, registry, zone, installation["id"], version if source is kept else None)
    earlier = _earlier(conn, usable, rules)
    if dict(rules.earlier) != earlier:
        rules = replace(rules, earlier=earlier)
    return InForce(usable, rules, source, version, installation["files_set"])


def _content(conn: Connection, version: str) -> Mapping[str, Any]:
    table = tables.applied_set
    found: Mapping[str, Any] | None = conn.execute(select(table.c.content).where(table.c.id == version)).scalar()
    if found is None:
        raise ConfigurationError(f"the applied set {version} is not in the store.", mend="Restore the database from its copy.")
    return found


def _usable(source: Source, registry: Registry, zone: ZoneInfo, installation: str, version: str | None) -> tuple[Registry, Rules]:
    try:
        return registry, rules_of(source, registry, zone, installation, version)
    except MappingError:
        usable = registry
    for name, connector in registry.connectors.items():
        try:
            mapping_of(source, connector)
        except MappingError as error:
            usable = usable.without(name, f"the applied mappings do not fit it: {error}", _APPLY)
    return usable, rules_of(source, usable, zone, installation, version)


def _earlier(conn: Connection, registry: Registry, rules: Rules) -> dict[str, Rules | str]:
    """Give the sets that waiting effects were planned with, beside the one that counts."""
    effect = tables.effect
    asked = select(effect.c.applied_set).where(tables.OPEN_EFFECT, effect.c.state.in_(WAITING)).distinct()
    versions = set(conn.execute(asked).scalars()) - {rules.version}
    return {one: rules.earlier.get(one) or _rules_or_why(conn, registry, rules, one) for one in sorted(versions)}


def _rules_or_why(conn: Connection, registry: Registry, rules: Rules, version: str) -> Rules | str:
    try:
        source = Source.of(_content(conn, version))
        return rules_of(source, registry, rules.zone, rules.installation, version)
    except ConfigurationError as error:
        return str(error)


# --- applying ---------------------------------------------------------------------------------------------------------


def _apply(conn: Connection, item: Applying) -> None:
    installation = tables.installation
    now = conn.execute(select(installation.c.applied_set).with_for_update()).scalar()
    if now != item.over:
        raise AppliedMeanwhile(
            f"the set {now} was applied meanwhile, over {item.over}.",
            where="mappings",
            mend="Look at the list again; nothing was changed.",
        )
    put_all(conn, tables.applied_set, [{"id": item.version, "content": item.content, "who": item.who, "at": item.at}])
    files = {"files_set": item.version} if item.of_files else {}
    conn.execute(update(installation).values(applied_set=item.version, **files))
    changed(conn)


apply_set: Callable[..., Any] = as_operation(_apply)


def in_step(conn: Connection, version: str) -> None:
    """Note that the home's files say what this set says."""
    conn.execute(update(tables.installation).values(files_set=version))


def taken_over(conn: Connection) -> bool:
    """Tell whether a hub has decided everything with the set that counts."""
    version = applied_version(conn)
    return version is not None and decided_with(conn) == decided_version(conn, version)


def apply_first(conn: Connection, source: Source, registry: Registry, zone: ZoneInfo, at: datetime) -> None:
    """Let the first set count. Raises MappingError."""
    version = rules_of(source, registry, zone, "").version
    _apply(conn, Applying(version, source.content(), "init", at, None))
