"""Finds the installed connectors. One that cannot be used is refused with its reason, and the others load."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any, Final

import pluggy

from lifecyclehub import hookspecs
from lifecyclehub.connector import Connector
from lifecyclehub.errors import PluginRefused
from lifecyclehub.registry.checks import problems_of

_HOOK: Final = "lifecyclehub_connectors"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A connector that was not loaded: the entry point's name, its distribution, why, and how to mend it."""

    name: str
    distribution: str
    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution}): {self.reason} {self.mend}"


@dataclass(frozen=True, slots=True)
class Registry:
    """The usable connectors by id, and the refused ones."""

    connectors: Mapping[str, Connector]
    refused: tuple[Refusal, ...]

    @classmethod
    def load(cls, entry_points: Iterable[EntryPoint] | None = None) -> Registry:
        """Load what is installed under the entry point group `lifecyclehub.connectors`, or only what is given.

        Never raises for a plugin's fault; only Ctrl-C gets through.
        """
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=hookspecs.ENTRY_POINTS)
        found: dict[str, list[tuple[EntryPoint, Connector]]] = {}
        refused: list[Refusal] = []
        for entry in sorted(entry_points, key=lambda entry: (entry.name, _distribution(entry))):
            try:
                for connector in _connectors_of(entry):
                    found.setdefault(connector.about.id, []).append((entry, connector))
            except PluginRefused as refusal:
                refused.append(Refusal(entry.name, _distribution(entry), refusal.what, refusal.mend))
        connectors = {}
        for name, offers in found.items():
            if len(offers) == 1:
                connectors[name] = offers[0][1]
            else:
                refused.extend(_twice(offers))
        return cls(MappingProxyType(connectors), tuple(refused))

    @classmethod
    def of(cls, *connectors: Connector) -> Registry:
        """Make a registry of these connectors, checked alike: for tests and the contract kit. Raises `PluginRefused`."""
        for connector in connectors:
            _refuse_faulty(connector)
        return cls(MappingProxyType({connector.about.id: connector for connector in connectors}), ())

    def without(self, connector_id: str, reason: str, mend: str) -> Registry:
        """Give the registry with one connector refused; the others go on."""
        left = {name: one for name, one in self.connectors.items() if name != connector_id}
        return Registry(MappingProxyType(left), (*self.refused, Refusal(connector_id, "its mappings", reason, mend)))

    def get(self, connector_id: str) -> Connector:
        """Give a connector. Raises `PluginRefused` saying why it is not there."""
        if (connector := self.connectors.get(connector_id)) is not None:
            return connector
        for refusal in self.refused:
            if refusal.name == connector_id:
                raise PluginRefused(refusal.reason, where=f"connector {connector_id}", mend=refusal.mend)
        raise PluginRefused(
            f"the connector {connector_id} is not installed.",
            mend=f"Install it with pip. Installed: {', '.join(sorted(self.connectors)) or 'none'}.",
        )


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "no distribution"


def _connectors_of(entry: EntryPoint) -> list[Connector]:
    """Import one plugin and take its connectors. Raises `PluginRefused`."""
    plugin = _guarded(entry.load, f"its import ({entry.value}) failed", "Correct or upgrade the distribution, or uninstall it.")
    offered = _guarded(lambda: _ask(plugin), f"its hook {_HOOK} failed", "The distribution's author must correct it.")
    if not isinstance(offered, list) or not offered:
        raise PluginRefused(
            f"it gives no connectors through the hook {_HOOK}.", mend="The hook must return a list with the connector."
        )
    for connector in offered:
        _refuse_faulty(connector)
    if entry.name not in {connector.about.id for connector in offered}:
        given = ", ".join(connector.about.id for connector in offered)
        raise PluginRefused(
            f"its entry point is named {entry.name}, but it gives {given}.",
            mend="The entry point's name must be the connector's id.",
        )
    return offered


def _guarded(step: Any, what: str, mend: str) -> Any:
    try:
        return step()
    except (KeyboardInterrupt, PluginRefused):
        raise
    except BaseException as error:  # also SystemExit: a plugin must not end the hub
        text = " ".join(str(error).split())[:300]
        raise PluginRefused(f"{what}: {type(error).__name__}{': ' + text if text else ''}.", mend=mend) from error


def _ask(plugin: object) -> Any:
    """Ask one plugin alone, so that its fault is its own."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    answers = manager.hook.lifecyclehub_connectors()
    return [connector for answer in answers for connector in answer]


def _refuse_faulty(connector: object) -> None:
    where = getattr(getattr(connector, "about", None), "id", None) or type(connector).__name__
    problems = _guarded(lambda: problems_of(connector), "its description cannot be read", "Its author must correct it.")
    if problems:
        raise PluginRefused(" ".join(f"{problem}." for problem in problems), where=str(where), mend=_MEND)


_MEND: Final = "Upgrade the distribution, or tell its author; the contract kit shows the same faults."


def _twice(offers: list[tuple[EntryPoint, Connector]]) -> Iterator[Refusal]:
    givers = " and ".join(_distribution(entry) for entry, _ in offers)
    for entry, connector in offers:
        reason = f"the connector {connector.about.id} is given by {givers}; none of them is used."
        yield Refusal(connector.about.id, _distribution(entry), reason, "Uninstall all but one.")


def default_mappings(connector: Connector) -> dict[str, str]:
    """Give the default mappings of a connector: TOML text by file name below its package's `mappings` folder."""
    package = sys.modules[type(connector).__module__].__package__
    while package:
        folder = importlib.resources.files(package) / "mappings"
        if folder.is_dir():
            return dict(sorted(_toml_below(folder, "")))
        package = package.rpartition(".")[0]
    return {}


def _toml_below(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _toml_below(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".toml"):
            yield prefix + entry.name, entry.read_text("utf-8")
