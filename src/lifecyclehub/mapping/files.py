"""Mapping files: the connector's defaults and the installation's overrides, merged entry by entry and checked whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, Protocol

from pydantic import BaseModel

from lifecyclehub import jsonio
from lifecyclehub.errors import MappingError, nearest
from lifecyclehub.mapping.converters import CONVERTERS, Converter
from lifecyclehub.mapping.entries import read_lookups, read_toml, refuse_unknown, shown
from lifecyclehub.mapping.inbound import Inbound, read_inbound
from lifecyclehub.mapping.outbound import Outbound, read_outbound

_SIZE_CAP = 1024 * 1024


class KindLike(Protocol):
    """What a mapping must know of a kind of record."""

    @property
    def id(self) -> str: ...
    @property
    def fills(self) -> str | None: ...


class ActionLike(Protocol):
    """What a mapping must know of an action."""

    name: str
    input: type[BaseModel]


class SettingLike(Protocol):
    """What a mapping must know of a connection's setting."""

    @property
    def name(self) -> str: ...


class AboutLike(Protocol):
    """What a mapping must know of a connector; its `About` fits."""

    @property
    def id(self) -> str: ...
    @property
    def kinds(self) -> Sequence[KindLike]: ...
    @property
    def actions(self) -> Sequence[Any]: ...
    @property
    def settings(self) -> Sequence[SettingLike]: ...
    @property
    def converters(self) -> Sequence[tuple[str, Callable[[Any], Any]]]: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of the sum: `section` is the record kind, the action or `lookup <name>` of one; `file` its origin."""

    section: str
    path: str
    entry: Any
    file: str


@dataclass(frozen=True, slots=True)
class MappingSet:
    """All mappings of one connector in one installation. `version` changes exactly when their content does."""

    connector: str
    version: str
    _inbound: Mapping[str, Inbound]
    _outbound: Mapping[str, Outbound]
    _shown: tuple[Shown, ...]

    def inbound(self, kind: str) -> Inbound | None:
        """Give the mapping of a kind of record, None when it has none."""
        return self._inbound.get(kind)

    def outbound(self, action: str) -> Outbound | None:
        """Give the mapping of an action's body, None when it has none."""
        return self._outbound.get(action)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of record that have a mapping."""
        return tuple(self._inbound)

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions that have a mapping."""
        return tuple(self._outbound)

    def show(self) -> tuple[Shown, ...]:
        """Give the sum of defaults and overrides, every entry with the file it comes from."""
        return self._shown


@dataclass(slots=True)
class _File:
    """One file's content, defaults and overrides merged: every entry and line with its origin."""

    name: str
    label: str
    record: str | None
    action: str | None
    entries: dict[str, tuple[Any, str]]
    lookups: dict[str, dict[str, Any]]
    lines: dict[str, dict[str, str]]

    @property
    def subject(self) -> str:
        return self.record or self.action or ""


def read_folder(folder: Traversable) -> dict[str, str]:
    """Read every `*.toml` of a folder (a Path, or a package's resources): text by file name. A missing folder is empty."""
    if not folder.is_dir():
        return {}
    texts = {}
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".toml") and not file.name.startswith(".") and file.is_file():
            data = file.read_bytes()
            if len(data) > _SIZE_CAP:
                raise MappingError(f"has {len(data):,} bytes, {_SIZE_CAP:,} are allowed.", where=f"{folder.name}/{file.name}")
            try:
                texts[file.name] = data.decode("utf-8")
            except UnicodeDecodeError as error:
                raise MappingError(
                    f"byte {error.start} is not UTF-8.", where=f"{folder.name}/{file.name}", mend="Save it as UTF-8."
                ) from error
    return texts


def load_mappings(defaults: Mapping[str, str], overrides: Mapping[str, str], about: AboutLike) -> MappingSet:
    """Merge and check the mapping files of a connector: text by file name, from its package and from the home.

    Raises MappingError for the first thing that is wrong, naming file, field and how to mend it.
    """
    files = [_merged(name, defaults.get(name), overrides.get(name), about.id) for name in sorted({*defaults, *overrides})]
    _refuse_twice(files)
    converters: dict[str, Converter] = {**CONVERTERS, **dict(about.converters)}
    inbound: dict[str, Inbound] = {}
    outbound: dict[str, Outbound] = {}
    for file in files:
        lookups = read_lookups(file.lookups, file.lines, file.label)
        if file.record is not None:
            kind = _known(file.record, {kind.id: kind for kind in about.kinds}, "kind of record", file.label)
            inbound[file.record] = read_inbound(file.record, file.entries, lookups, converters, kind.fills, file.label)
        else:
            action = _known(file.subject, {action.name: action for action in about.actions}, "action", file.label)
            settings = [setting.name for setting in about.settings]
            outbound[file.subject] = read_outbound(file.subject, action.input, settings, file.entries, lookups, converters)
    content = [[file.subject, {path: raw for path, (raw, _) in file.entries.items()}, file.lookups] for file in files]
    return MappingSet(about.id, content_version([about.id, content]), inbound, outbound, _shown(files))


def content_version(content: Any) -> str:
    """Give a short name that is the same for the same content: 20 hex digits."""
    return hashlib.sha256(jsonio.dumps(content).encode()).hexdigest()[:20]


def _known(name: str, known: Mapping[str, Any], what: str, file: str) -> Any:
    if name not in known:
        raise MappingError(f"this connector has no {what} {name!r}.", where=file, mend=nearest(name, known))
    return known[name]


def _merged(name: str, default: str | None, override: str | None, connector: str) -> _File:
    own = f"mappings/{connector}/{name}"
    shipped = f"{own} (default)"
    label = own if override is not None else shipped
    merged = _File(name, label, None, None, {}, {}, {})
    for text, file in ((default, shipped), (override, own)):
        if text is not None:
            _take(merged, read_toml(text, file), file)
    if merged.record is None and merged.action is None:
        raise MappingError(
            "says neither which record nor which action it maps.", where=label, mend='Write record = "…" or action = "…".'
        )
    return merged


def _take_subject(merged: _File, raw: Mapping[str, Any], file: str) -> None:
    for key in ("record", "action"):
        said = raw.get(key)
        if said is None:
            continue
        if not isinstance(said, str):
            raise MappingError(f"{key} is {shown(said)}.", where=file, mend="Write its name in quotes.")
        if said != (getattr(merged, key) or said) or (merged.subject and getattr(merged, key) is None):
            what = f"{key} is {said!r}, but the default is for {merged.subject!r}."
            raise MappingError(what, where=file, mend="Use another file name.")
        setattr(merged, key, said)
    if merged.record is not None and merged.action is not None:
        raise MappingError("has both record and action.", where=file, mend="Make two files.")


def _take(merged: _File, raw: Mapping[str, Any], file: str) -> None:
    """Lay one file over what is there already."""
    refuse_unknown(raw, {"format", "record", "action", "fields", "body", "lookup"}, file, "a mapping file")
    _take_subject(merged, raw, file)
    right, wrong = ("fields", "body") if merged.record is not None else ("body", "fields")
    if wrong in raw:
        raise MappingError(f"has a table [{wrong}].", where=file, mend=f"A mapping of {merged.subject} has [{right}].")
    for key in (right, "lookup"):
        if not isinstance(raw.get(key, {}), dict):
            raise MappingError(f"{key} is {shown(raw[key])}.", where=file, mend=f"Write a table [{key}].")
    for path, entry in raw.get(right, {}).items():
        if entry is False:
            _remove(merged.entries, path, file)
        else:
            merged.entries[path] = (entry, file)
    for name, lines in raw.get("lookup", {}).items():
        _take_lookup(merged, name, lines, file)


def _take_lookup(merged: _File, name: str, lines: Any, file: str) -> None:
    if not isinstance(lines, dict):
        raise MappingError(f"lookup.{name} is {shown(lines)}.", where=file, mend=f"Write a table [lookup.{name}].")
    table = merged.lookups.setdefault(name, {})
    origins = merged.lines.setdefault(name, {})
    for key, value in lines.items():
        if value is False:
            _remove(table, key, f"{file}: [lookup.{name}]")
        else:
            table[key] = value
            origins[key] = file


def _remove(entries: dict[str, Any], name: str, where: str) -> None:
    """Take out what an override removes with `false`. Raises MappingError when it is not there: that is a typo."""
    if name not in entries:
        raise MappingError(f"{name} = false removes nothing.", where=where, mend=nearest(name, entries))
    del entries[name]


def _refuse_twice(files: Sequence[_File]) -> None:
    seen: dict[str, str] = {}
    for file in files:
        if file.subject in seen:
            raise MappingError(
                f"maps {file.subject}, as {seen[file.subject]} does.",
                where=file.label,
                mend="Keep one of them; an override has the same file name as its default.",
            )
        seen[file.subject] = file.label


def _shown(files: Sequence[_File]) -> tuple[Shown, ...]:
    lines = []
    for file in files:
        lines += [Shown(file.subject, path, raw, origin) for path, (raw, origin) in file.entries.items()]
        for name, table in file.lookups.items():
            section = f"{file.subject} lookup {name}"
            lines += [Shown(section, key, value, file.lines[name][key]) for key, value in table.items()]
    return tuple(lines)
