"""Mappings: checking all files as one set, showing the sum, and keeping every set that was applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from lifecyclehub.admin.stored import NotThere, changed, nearest
from lifecyclehub.configuration import read_mappings, read_rules
from lifecyclehub.errors import MappingError
from lifecyclehub.mapping import Shown
from lifecyclehub.registry.registry import Registry
from lifecyclehub.rules import Rules
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import insert_new
from lifecyclehub.store.writer import as_operation


@dataclass(frozen=True, slots=True)
class Applied:
    """Rules that are worked with from a moment on, and who made it so."""

    rules: Rules
    who: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the sum: whose mapping, which record or action, which field, its entry, and the file that says so."""

    connector: str
    section: str
    path: str
    entry: object
    file: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of a check. `rules` are None when something is wrong; `problems` say what, where and how to mend it."""

    rules: Rules | None
    problems: tuple[MappingError, ...]


def _record(conn: Connection, item: Applied) -> None:
    """Keep a set once; effects name the version that planned them."""
    row = {"id": item.rules.version, "content": dict(item.rules.content), "who": item.who, "at": item.at}
    insert_new(conn, tables.applied_set, [row])
    table = tables.installation
    conn.execute(update(table).where(table.c.applied_set.is_distinct_from(row["id"])).values(applied_set=row["id"]))


def _apply(conn: Connection, _: None) -> None:
    changed(conn)


record_rules = as_operation(_record)
apply_rules = as_operation(_apply)


def applied_version(conn: Connection) -> str | None:
    """Give the version that the hub works with, or worked with last."""
    version: str | None = conn.execute(select(tables.installation.c.applied_set)).scalar()
    return version


def check_mappings(registry: Registry, settings: Settings) -> Checked:
    """Read everything and say what is wrong, at most one thing of each connector and one of the handoffs."""
    problems: list[MappingError] = []
    sound = {}
    for name, connector in registry.connectors.items():
        one = Registry.of(connector)
        try:
            read_mappings(one, settings.mappings)
            sound[name] = connector
        except MappingError as error:
            problems.append(error)
    try:
        rules = read_rules(Registry.of(*sound.values()), settings, "")
    except MappingError as error:
        return Checked(None, (*problems, error))
    return Checked(None if problems else rules, (*problems, *_strangers(registry, settings)))


def _strangers(registry: Registry, settings: Settings) -> Iterator[MappingError]:
    """Find folders that no connector reads: what stands in them does nothing, and a typo looks just like that."""
    if not settings.mappings.is_dir():
        return
    for folder in sorted(settings.mappings.iterdir()):
        if folder.is_dir() and folder.name != "tables" and folder.name not in registry.connectors:
            yield MappingError(
                "no installed connector reads this folder.",
                where=f"mappings/{folder.name}",
                mend=nearest(folder.name, registry.connectors, none="No connector is installed."),
            )


def show_mappings(registry: Registry, settings: Settings, connector: str | None = None) -> list[Line]:
    """Give the sum of defaults and overrides, of one connector or all. Raises MappingError, NotThere."""
    if connector is not None and connector not in registry.connectors:
        raise NotThere(f"there is no connector {connector!r}.", mend=nearest(connector, registry.connectors))
    found = read_mappings(registry, settings.mappings)
    return [_line(name, one) for name, mappings in sorted(found.items()) if connector in (None, name) for one in mappings.show()]


def _line(connector: str, one: Shown) -> Line:
    return Line(connector, one.section, one.path, one.entry, one.file)


__all__ = ["Applied", "Checked", "Line", "applied_version", "apply_rules", "check_mappings", "record_rules", "show_mappings"]
