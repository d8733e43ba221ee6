"""One entry of a mapping: where a value comes from, and everything that is done to it on its way."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lifecyclehub.errors import MappingError, nearest
from lifecyclehub.mapping.converters import Converter
from lifecyclehub.mapping.expressions import Expression, compile_expression
from lifecyclehub.mapping.functions import as_text

FORMAT = 1
_KINDS: dict[str, tuple[type, str]] = {
    "from": (str, "a JMESPath expression in quotes"),
    "lookup": (str, "the name of a [lookup.…] table"),
    "required": (bool, "true or false"),
    "keep_null": (bool, "true or false"),
    "help": (str, "a sentence in quotes"),
    "authority": (str, '"hub"'),
    "each": (str, "a JMESPath expression in quotes"),
    "fields": (dict, "a table of entries"),
}
COMMON_KEYS = frozenset({"from", "convert", "lookup", "required", "default", "help"})


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table from the vendor's words to ours, or back. `origins`: the file of each line."""

    name: str
    lines: Mapping[str, Any]
    origins: Mapping[str, str]
    file: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Why a value is what it is: the file, the expression, what was done to the raw value, and that raw value."""

    file: str
    expression: str
    steps: tuple[str, ...]
    raw: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A compiled entry. `path` is where its value goes, `file` and `prefix` say where it was written."""

    path: str
    file: str
    expression: Expression | None = None
    converters: tuple[tuple[str, Converter], ...] = ()
    lookup: Lookup | None = None
    required: bool = False
    default: Any = None
    keep_null: bool = False
    help: str = ""
    authority: str = ""
    fields: tuple[Entry, ...] | None = None
    choices: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The expression as it was written, "" for a constant."""
        return self.expression.text if self.expression else ""

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done to the raw value, in order."""
        done = tuple(name for name, _ in self.converters)
        return (*done, f"lookup {self.lookup.name}") if self.lookup else done

    def evaluate(self, root: Any, labels: Mapping[str, str] | None = None) -> tuple[Any, Any]:
        """Give the raw value and what became of it. Empty text counts as missing. Raises MappingError."""
        raw = self.expression.search(root) if self.expression is not None else None
        value = None if raw == "" else raw
        if value is not None:
            for name, converter in self.converters:
                value = self.converted(name, converter, value)
                if value is None:
                    break
            if value is not None and self.lookup is not None:
                value = self._looked_up(value, self.lookup, labels)
        if value is None:
            value = self.default
        if value is None and self.required:
            raise self.missing()
        return raw, value

    def converted(self, name: str, converter: Converter, value: Any) -> Any:
        """Apply one converter, every exception wrapped."""
        try:
            return converter(value)
        except MappingError:
            raise
        except Exception as error:
            said = str(error) or type(error).__name__
            raise MappingError(f"{self.path}: {shown(value)} {said}.", where=self.file, mend=self._mend(name)) from error

    def missing(self) -> MappingError:
        """Make the error of a required entry that found nothing."""
        source = f"{self.text} found nothing." if self.expression else "it has no value."
        mend = self.help or "Fill it in where it comes from, or give the entry a default."
        return MappingError(f"{self.path} is required, but {source}", where=self.file, mend=mend)

    def _mend(self, converter: str) -> str:
        said = f"It came from {self.text} through the converter {converter}." if self.text else ""
        return f"{said} {self.help or 'Correct it in the tool, or change the entry.'}".strip()

    def _looked_up(self, value: Any, lookup: Lookup, labels: Mapping[str, str] | None) -> Any:
        if isinstance(value, list | dict):
            raise MappingError(f"{self.path}: {shown(value)} is no single value to look up in {lookup.name}.", where=self.file)
        key = as_text(value)
        found = lookup.lines.get(key)
        if found is None:
            label = (labels or {}).get(key)
            named = f"{key!r}" + (f" ({label})" if label else "")
            ours = " or ".join(f'"{choice}"' for choice in self.choices) if self.choices else '"…"'
            raise MappingError(
                f"{self.path}: {named} is not in the lookup {lookup.name}.",
                where=self.file,
                mend=f"Add a line under [lookup.{lookup.name}]: {_key(key)} = {ours}.",
            )
        return found


def _key(text: str) -> str:
    bare = bool(text) and text.isascii() and text.replace("-", "a").replace("_", "a").isalnum()
    return text if bare else '"' + text.replace('"', '\\"') + '"'


def shown(value: Any) -> str:
    """Give a value for a message, cut short."""
    said = repr(value)
    return said if len(said) <= 80 else said[:80] + "…"


# --- reading ------------------------------------------------------------------------------------------------------


def read_toml(text: str, file: str) -> dict[str, Any]:
    """Read TOML of format 1. Raises MappingError that gives the line; a key that stands twice is an error."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        mend = "Every key may stand once; text stands in quotes."
        raise MappingError(f"is not TOML: {error}.", where=file, mend=mend) from error
    except RecursionError as error:
        raise MappingError("is nested too deeply.", where=file) from error
    if found.get("format") != FORMAT:
        raise MappingError(f"has format {found.get('format')!r}.", where=file, mend=f"Write format = {FORMAT} in its first line.")
    return found


def refuse_unknown(given: Iterable[str], known: Iterable[str], where: str, what: str) -> None:
    """Refuse a key that nobody reads: it is a typo. Raises MappingError with the nearest known one."""
    known = set(known)
    for name in given:
        if name not in known:
            raise MappingError(f"{what} has no key {name!r}.", where=where, mend=nearest(name, known))


def check_kinds(raw: Mapping[str, Any], file: str, path: str) -> None:
    """Check the type of every key of an entry."""
    for key, value in raw.items():
        wanted = _KINDS.get(key)
        if wanted and not isinstance(value, wanted[0]):
            raise MappingError(f"{path}: {key} is {shown(value)}.", where=file, mend=f"It must be {wanted[1]}.")


def refuse_shape(path: str, raw: Any, file: str, allowed: frozenset[str]) -> None:
    """Refuse what is no entry at all; a path written without quotes becomes tables within tables."""
    if not isinstance(raw, dict):
        raise MappingError(f"{path} is {shown(raw)}.", where=file, mend=f'Write it as an entry: "{path}" = {{ from = "…" }}.')
    if not allowed & raw.keys() and any(isinstance(value, dict) for value in raw.values()):
        inner = next(iter(raw))
        mend = f'Put the whole path in quotes: "{path}.{inner}".'
        raise MappingError(f"{path} holds tables, not an entry.", where=file, mend=mend)


def read_entry(
    path: str,
    raw: Any,
    file: str,
    *,
    allowed: frozenset[str],
    converters: Mapping[str, Converter],
    lookups: Mapping[str, Lookup],
    choices: tuple[str, ...] = (),
) -> Entry:
    """Compile one entry (its `each` and `fields` are the caller's). Raises MappingError that names file and path."""
    refuse_shape(path, raw, file, allowed)
    refuse_unknown(raw, allowed, f"{file}: {path}", "an entry")
    check_kinds(raw, file, path)
    if not {"from", "default", "each", "fields"} & raw.keys():
        raise MappingError(f"{path} has neither from nor default.", where=file, mend='Write from = "…".')
    lookup = _lookup(raw.get("lookup"), lookups, f"{file}: {path}")
    if lookup is not None and choices:
        _check_lookup(lookup, choices)
    return Entry(
        path=path,
        file=file,
        expression=compile_expression(raw["from"], f"{file}: {path}") if "from" in raw else None,
        converters=_converters(raw.get("convert"), converters, f"{file}: {path}"),
        lookup=lookup,
        required=raw.get("required", False),
        default=raw.get("default"),
        keep_null=raw.get("keep_null", False),
        help=raw.get("help", ""),
        authority=raw.get("authority", ""),
        choices=choices,
        raw=raw,
    )


def _converters(given: Any, known: Mapping[str, Converter], where: str) -> tuple[tuple[str, Converter], ...]:
    names = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MappingError(f"convert is {shown(given)}.", where=where, mend="Write the name of a converter, or a list of names.")
    for name in names:
        if name not in known:
            raise MappingError(f"there is no converter {name!r}.", where=where, mend=nearest(name, known))
    return tuple((name, known[name]) for name in names)


def _lookup(name: str | None, lookups: Mapping[str, Lookup], where: str) -> Lookup | None:
    if name is None:
        return None
    if name not in lookups:
        mend = nearest(name, lookups) or f"Add a table [lookup.{name}]."
        raise MappingError(f"there is no lookup {name!r}.", where=where, mend=mend)
    return lookups[name]


def _check_lookup(lookup: Lookup, choices: tuple[str, ...]) -> None:
    for key, value in lookup.lines.items():
        if value not in choices:
            raise MappingError(
                f"[lookup.{lookup.name}] {key} = {shown(value)}.",
                where=lookup.origins.get(key, lookup.file),
                mend=f"It must be one of: {', '.join(choices)}.",
            )


def read_lookups(raw: Mapping[str, Any], origins: Mapping[str, Mapping[str, str]], file: str) -> dict[str, Lookup]:
    """Read the `[lookup.…]` tables: one line per value, each line text, a number or a flag."""
    lookups = {}
    for name, lines in raw.items():
        if not isinstance(lines, dict):
            raise MappingError(f"lookup.{name} is {shown(lines)}.", where=file, mend=f"Write a table [lookup.{name}].")
        for key, value in lines.items():
            if not isinstance(value, str | int) or value == "":
                raise MappingError(
                    f"[lookup.{name}] {key} = {shown(value)}.",
                    where=origins.get(name, {}).get(key, file),
                    mend='Write one value per line: theirs = "ours". Keys with dots or spaces stand in quotes.',
                )
        lookups[name] = Lookup(name, lines, origins.get(name, {}), file)
    return lookups
