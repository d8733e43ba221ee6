"""Reading everything that an admin configured from its files, and checking it as one set."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import BaseModel

from lifecyclehub.connector.roles import ROLES
from lifecyclehub.errors import MappingError
from lifecyclehub.handoffs import load_handoffs
from lifecyclehub.mapping import MappingSet, content_version, load_mappings, read_folder
from lifecyclehub.registry.registry import Registry, default_mappings
from lifecyclehub.rules import Rules
from lifecyclehub.settings import Settings

SHIPPED = "shipped"


def action_inputs() -> dict[str, type[BaseModel]]:
    """Give the canonical input of every role's actions, by `role.action`."""
    return {f"{role.id}.{name}": model for role in ROLES.values() for name, model in role.actions.items()}


def read_mappings(registry: Registry, home: Path) -> dict[str, MappingSet]:
    """Read each connector's defaults with the home's overrides. Raises MappingError."""
    return {
        name: load_mappings(default_mappings(connector), read_folder(home / name), connector.about)
        for name, connector in registry.connectors.items()
    }


def read_rules(registry: Registry, settings: Settings, installation: str) -> Rules:
    """Read and check mappings, handoffs, lifecycle and tables. Raises MappingError for the first thing that is wrong."""
    folder = settings.mappings
    mappings = read_mappings(registry, folder)
    rules, tables, lifecycle = _text(folder, "handoffs.toml"), _tables(folder), _text(folder, "lifecycle.toml")
    handoffs = load_handoffs(rules, tables, lifecycle, action_inputs())
    version = content_version([handoffs.version, {name: one.version for name, one in mappings.items()}])
    return Rules(
        version=version,
        installation=installation,
        zone=settings.zone,
        abouts={name: connector.about for name, connector in registry.connectors.items()},
        mappings=mappings,
        handoffs=handoffs,
        content={"handoffs.toml": rules, "lifecycle.toml": lifecycle}
        | {f"tables/{name}.toml": text for name, text in tables.items()}
        | {name: [[one.section, one.path, one.entry, one.file] for one in found.show()] for name, found in mappings.items()},
    )


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
    own = folder / "tables"
    source: Traversable = own if own.is_dir() else shipped() / "tables"
    return {name.removesuffix(".toml"): text for name, text in read_folder(source).items()}


def copy_shipped(folder: Path) -> list[Path]:
    """Copy the shipped files into a home, where they may be changed; what stands there is left alone. Gives the new ones."""
    made = []
    for relative in ("handoffs.toml", "lifecycle.toml", "tables/onboarding.toml"):
        target = folder / relative
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(shipped().joinpath(*relative.split("/")).read_text("utf-8"), "utf-8")
            made.append(target)
    return made
