"""What an admin configured: read from files or from a set that was applied, checked as one, and held side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from lifecyclehub.connector import Connector
from lifecyclehub.connector.roles import ROLES
from lifecyclehub.errors import MappingError
from lifecyclehub.handoffs import load_handoffs
from lifecyclehub.mapping import MappingSet, content_version, load_mappings, read_folder
from lifecyclehub.registry.registry import Registry, default_mappings
from lifecyclehub.rules import Rules
from lifecyclehub.settings import Settings

SHIPPED: Final = "shipped"
HANDOFFS, LIFECYCLE, TABLES = "handoffs.toml", "lifecycle.toml", "tables"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Source:
    """The text of everything that an admin configured: all that rules are made of.

    `own`: a home's files by name, `hubspot/deal.toml`; `defaults`: each connector's own mappings by file name.
    """

    own: Mapping[str, str]
    defaults: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Source:
        """Give back what `content` made."""
        return cls(content["own"], content["defaults"])

    def content(self) -> dict[str, Any]:
        """Give it as JSON knows it, to be kept."""
        return {"format": _FORMAT, "own": dict(self.own), "defaults": {name: dict(one) for name, one in self.defaults.items()}}

    def folder(self, name: str) -> dict[str, str]:
        """Give the files of one folder by their name in it."""
        start = f"{name}/"
        return {path.removeprefix(start): text for path, text in self.own.items() if path.startswith(start)}

    def joined(self, other: Source) -> Source:
        """Give it with what only the other one knows of: connectors that it has not met, with their folders."""
        news = set(other.defaults) - set(self.defaults)
        if not news:
            return self
        own = {path: text for path, text in other.own.items() if path.partition("/")[0] in news}
        return Source({**self.own, **own}, {**self.defaults, **{name: other.defaults[name] for name in news}})


def action_inputs() -> dict[str, type[BaseModel]]:
    """Give the canonical input of every role's actions, by `role.action`."""
    return {f"{role.id}.{name}": model for role in ROLES.values() for name, model in role.actions.items()}


# --- from files -------------------------------------------------------------------------------------------------------


def read_source(registry: Registry, folder: Path) -> Source:
    """Read a home's files and the connectors' defaults. Raises MappingError for a file that is too large or not UTF-8."""
    own = {HANDOFFS: _text(folder, HANDOFFS), LIFECYCLE: _text(folder, LIFECYCLE)}
    own |= {f"{TABLES}/{name}": text for name, text in _tables(folder).items()}
    for name in sorted(registry.connectors):
        own |= {f"{name}/{file}": text for file, text in read_folder(folder / name).items()}
    return Source(own, shipped_defaults(registry))


def shipped_defaults(registry: Registry) -> dict[str, dict[str, str]]:
    """Give the default mappings of all installed connectors."""
    return {name: default_mappings(connector) for name, connector in sorted(registry.connectors.items())}


def read_mappings(registry: Registry, folder: Path) -> dict[str, MappingSet]:
    """Read each connector's defaults with the home's overrides. Raises MappingError."""
    return {
        name: load_mappings(default_mappings(connector), read_folder(folder / name), connector.about)
        for name, connector in registry.connectors.items()
    }


def read_rules(registry: Registry, settings: Settings, installation: str) -> Rules:
    """Read and check the files as they are now. Raises MappingError for the first thing that is wrong."""
    return rules_of(read_source(registry, settings.mappings), registry, settings.zone, installation)


def shipped() -> Traversable:
    """Give the folder of the handoffs, lifecycle and tables that come with lifecyclehub."""
    return files("lifecyclehub") / SHIPPED


def _text(folder: Path, name: str) -> str:
    own = folder / name
    source: Traversable = own if own.exists() else shipped() / name
    try:
        return source.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise MappingError(f"byte {error.start} is not UTF-8.", where=f"mappings/{name}", mend="Save it as UTF-8.") from error


def _tables(folder: Path) -> Mapping[str, str]:
    own = folder / TABLES
    return read_folder(own if own.is_dir() else shipped() / TABLES)


def copy_shipped(folder: Path) -> list[Path]:
    """Copy the shipped files into a home, where they may be changed; what stands there is left alone. Gives the new ones."""
    made = []
    for relative in (HANDOFFS, LIFECYCLE, f"{TABLES}/onboarding.toml"):
        target = folder / relative
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(shipped().joinpath(*relative.split("/")).read_text("utf-8"), "utf-8")
            made.append(target)
    return made


# --- from text --------------------------------------------------------------------------------------------------------


def mapping_of(source: Source, connector: Connector) -> MappingSet:
    """Make the mappings of one connector that the source knows of. Raises MappingError."""
    name = connector.about.id
    return load_mappings(source.defaults[name], source.folder(name), connector.about)


def mappings_of(source: Source, registry: Registry) -> dict[str, MappingSet]:
    """Make the mappings of the installed connectors that the source knows of. Raises MappingError."""
    return {name: mapping_of(source, one) for name, one in registry.connectors.items() if name in source.defaults}


def rules_of(source: Source, registry: Registry, zone: ZoneInfo, installation: str, version: str | None = None) -> Rules:
    """Make and check rules as one set. `version`: what a kept set is called. Raises MappingError."""
    mappings = mappings_of(source, registry)
    tables = {name.removesuffix(".toml"): text for name, text in source.folder(TABLES).items()}
    handoffs = load_handoffs(source.own[HANDOFFS], tables, source.own[LIFECYCLE], action_inputs())
    return Rules(
        version=version or content_version([handoffs.version, {name: one.version for name, one in mappings.items()}]),
        installation=installation,
        zone=zone,
        abouts={name: connector.about for name, connector in registry.connectors.items()},
        mappings=mappings,
        handoffs=handoffs,
    )
