"""Mappings: checking all files as one set, showing the sum, and what they say otherwise than the set that counts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Connection

from lifecyclehub.admin.applied import InForce, read_applied
from lifecyclehub.configuration import Source, mappings_of, read_mappings, read_source, rules_of
from lifecyclehub.errors import ConfigurationError, MappingError, NotThere, nearest
from lifecyclehub.mapping import Shown
from lifecyclehub.registry.registry import Registry
from lifecyclehub.rules import Rules
from lifecyclehub.settings import Settings

Standing = Literal["in step", "edited", "behind", "both"]
_SHARED: Final = ("tables",)


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
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Differs:
    """One thing that the files say otherwise: of a mapping, `before` and `after`; of a whole file, its changed `lines`."""

    file: str
    section: str = ""
    path: str = ""
    before: object = None
    after: object = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """How the files stand to the set that counts.

    `standing`: in step; edited (they wait to be applied); behind (the set was changed elsewhere, the files were not);
    both (each was changed since they were the same).
    """

    in_force: InForce
    checked: Checked
    standing: Standing
    differs: tuple[Differs, ...]

    @property
    def version(self) -> str | None:
        """The version that the files would make, None while something is wrong with them."""
        return self.checked.rules.version if self.checked.rules else None


# --- checking ---------------------------------------------------------------------------------------------------------


def check_mappings(registry: Registry, settings: Settings, counts: InForce | None = None) -> Checked:
    """Read all files and say what is wrong, at most one thing of each connector and one of the handoffs.

    `counts`: what counts now; what that knows of connectors that are not installed now is kept.
    """
    try:
        source = read_source(registry, settings.mappings)
        source = source.joined(counts.source) if counts is not None else source
        same = counts is not None and counts.registry is registry and counts.source == source
        rules = counts.rules if counts is not None and same else rules_of(source, registry, settings.zone, "")
    except MappingError:
        return Checked(None, tuple(_everything_wrong(registry, settings)))
    problems = tuple(_strangers({*source.defaults, *registry.connectors}, settings))
    return Checked(None, problems) if problems else Checked(rules, (), source)


def _everything_wrong(registry: Registry, settings: Settings) -> Iterator[MappingError]:
    sound = {}
    for name, connector in registry.connectors.items():
        try:
            read_mappings(Registry.of(connector), settings.mappings)
            sound[name] = connector
        except MappingError as error:
            yield error
    known = Registry.of(*sound.values())
    try:
        source = read_source(known, settings.mappings)
        rules_of(source, known, settings.zone, "")
    except MappingError as error:
        yield error
    else:
        yield from _strangers({*source.defaults, *registry.connectors}, settings)


def _strangers(readers: set[str], settings: Settings) -> Iterator[MappingError]:
    """Find folders that no connector reads: what stands in them does nothing, and a typo looks just like that."""
    if not settings.mappings.is_dir():
        return
    for folder in sorted(settings.mappings.iterdir()):
        if folder.is_dir() and folder.name not in (*_SHARED, *readers):
            yield MappingError(
                "no installed connector reads this folder.",
                where=f"mappings/{folder.name}",
                mend=nearest(folder.name, readers, none="No connector is installed."),
            )


# --- side by side -----------------------------------------------------------------------------------------------------


def waiting_edits(conn: Connection, registry: Registry, settings: Settings) -> Waiting:
    """Hold the files against the set that counts. Raises ConfigurationError when none counts yet."""
    in_force = read_applied(conn, registry, settings.zone)
    checked = check_mappings(registry, settings, in_force)
    if checked.rules is None or checked.source is None:
        return Waiting(in_force, checked, "edited", ())
    differs = tuple(_differs(in_force, checked.source, checked.rules))
    return Waiting(in_force, checked, _standing(in_force, checked.rules, differs), differs)


def _standing(in_force: InForce, files: Rules, differs: tuple[Differs, ...]) -> Standing:
    if not differs:
        return "in step"
    if in_force.files_set == in_force.kept:
        return "edited"
    return "behind" if files.version == in_force.files_set else "both"


def _differs(in_force: InForce, after: Source, rules: Rules) -> Iterator[Differs]:
    before = in_force.source
    if before == after:
        return
    for name in sorted({*before.own, *after.own}):
        if name.partition("/")[0] in (*before.defaults, *after.defaults):
            continue
        old, new = before.own.get(name, ""), after.own.get(name, "")
        if _read(old) != _read(new):
            found = unified_diff(old.splitlines(), new.splitlines(), "applied", "file", n=1, lineterm="")
            yield Differs(f"mappings/{name}", lines=tuple(list(found)[2:]))
    was, now = _entries(in_force.rules), _entries(rules)
    for key in dict.fromkeys((*was, *now)):
        (old_entry, old_file), (new_entry, new_file) = was.get(key, (None, "")), now.get(key, (None, ""))
        if old_entry != new_entry:
            _, section, path = key
            yield Differs(new_file or old_file, section, path, old_entry, new_entry)


def _read(text: str) -> object:
    """Give what a file says apart from comments; text that is no TOML any more is taken as it is."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return text


def _entries(rules: Rules) -> dict[tuple[str, str, str], tuple[object, str]]:
    """Give the sum by connector, section and path; a connector whose mappings cannot be read any more has none."""
    shown = ((name, one) for name, mappings in rules.mappings.items() for one in mappings.show())
    return {(name, one.section, one.path): (one.entry, one.file) for name, one in shown}


# --- showing ----------------------------------------------------------------------------------------------------------


def show_mappings(registry: Registry, source: Source, connector: str | None = None) -> list[Line]:
    """Give the sum of defaults and overrides, of one connector or all. Raises MappingError, NotThere."""
    if connector is not None and connector not in registry.connectors:
        raise NotThere(f"there is no connector {connector!r}.", mend=nearest(connector, registry.connectors))
    found = mappings_of(source, registry)
    return [_line(name, one) for name, mappings in sorted(found.items()) if connector in (None, name) for one in mappings.show()]


def _line(connector: str, one: Shown) -> Line:
    return Line(connector, one.section, one.path, one.entry, one.file)


def write_back(source: Source, folder: Path) -> list[str]:
    """Write what counts into a home's files. Gives the names of those that changed; each is kept beside as `.before`."""
    changed = []
    for name, text in sorted(source.own.items()):
        file = folder / name
        if not file.exists() or file.read_text("utf-8", "replace") != text:
            _put_aside(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
            changed.append(name)
    for file in sorted(folder.glob("*/*.toml")):
        name = file.relative_to(folder).as_posix()
        if name not in source.own and not file.name.startswith("."):
            _put_aside(file)
            changed.append(name)
    return changed


def _put_aside(file: Path) -> None:
    if file.exists():
        file.replace(file.with_name(f"{file.name}.before"))


def refuse_unless_edited(waiting: Waiting, *, over: bool = False) -> None:
    """Raise ConfigurationError unless the files alone were changed since they and the set were the same."""
    if waiting.standing in ("in step", "edited") or over:
        return
    version = waiting.in_force.rules.version
    if waiting.standing == "behind":
        what = f"these files are older than the applied set {version}, which was changed elsewhere."
        mend = "Bring them up to date with `lifecyclehub mappings write`."
    else:
        what = f"both were changed: these files, and the applied set {version} elsewhere."
        mend = (
            "Keep one of them: `lifecyclehub mappings write --over` drops what the files say, "
            "`lifecyclehub mappings apply --over` drops what was applied elsewhere."
        )
    raise ConfigurationError(what, where="mappings", mend=mend)
