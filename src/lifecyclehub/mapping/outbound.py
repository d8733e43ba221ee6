"""Outbound mapping: the canonical input of an action becomes the body that the vendor takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from pydantic import BaseModel

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping.converters import Converter
from lifecyclehub.mapping.entries import COMMON_KEYS, Entry, Lookup, read_entry
from lifecyclehub.mapping.expressions import compile_expression
from lifecyclehub.mapping.functions import as_text
from lifecyclehub.mapping.shape import ACCOUNT, OPEN, VALUE, Many, Members, Shape, check_paths, find, model_shape

OUTBOUND_KEYS = COMMON_KEYS | {"keep_null", "each", "fields"}
_DOT = re.compile(r"(?<!\\)\.")


@dataclass(frozen=True, slots=True)
class Outbound:
    """The compiled mapping of one action."""

    action: str
    entries: tuple[Entry, ...]
    _parts: tuple[tuple[str, ...], ...]

    def body(
        self, value: BaseModel | Mapping[str, Any], settings: Mapping[str, Any], account: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Make the body of a canonical input. Nulls are left out unless an entry says `keep_null`.

        Numbers stay int or Decimal, dates become ISO text. Raises MappingError that names the file and the field.
        """
        dumped = value.model_dump(mode="python") if isinstance(value, BaseModel) else dict(value)
        shared = {"settings": settings, "account": account}
        root = {**listed(dumped), **shared}
        return _filled(zip(self.entries, self._parts, strict=True), root, {**shared, "input": root})


def listed(value: Any) -> Any:
    """Give a value with lists for tuples: JMESPath only knows lists."""
    if isinstance(value, dict):
        return {key: listed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [listed(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return as_text(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _filled(entries: Iterable[tuple[Entry, tuple[str, ...]]], root: Any, shared: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for entry, parts in entries:
        _, value = entry.evaluate(root)
        if value is not None and entry.fields is not None:
            value = _each(entry, value, shared)
        if value is None and not entry.keep_null:
            continue
        here = made
        for name in parts[:-1]:
            here = here.setdefault(name, {})
        here[parts[-1]] = _plain(value)
    return made


def _each(entry: Entry, rows: Any, shared: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(rows, list):
        raise MappingError(f"{entry.path}: each needs a list, {entry.text} gave {type(rows).__name__}.", where=entry.file)
    pairs = [(inner, split_path(inner.path.rpartition("[].")[2])) for inner in entry.fields or ()]
    return [_filled(pairs, {**(row if isinstance(row, dict) else {"value": row}), **shared}, shared) for row in rows]


# --- reading ------------------------------------------------------------------------------------------------------


def split_path(path: str) -> tuple[str, ...]:
    r"""Split a vendor's path at its dots; `\.` stands for a dot inside a name."""
    return tuple(part.replace("\\.", ".") for part in _DOT.split(path))


def read_outbound(
    action: str,
    model: type[BaseModel] | None,
    setting_names: Iterable[str],
    fields: Mapping[str, tuple[Any, str]],
    lookups: Mapping[str, Lookup],
    converters: Mapping[str, Converter],
) -> Outbound:
    """Compile an outbound mapping from its entries (raw entry, file it stands in). Raises MappingError.

    Without the input's model, only `settings` and `account` can be checked.
    """
    shared: dict[str, Shape] = {"settings": Members(dict.fromkeys(setting_names, VALUE)), "account": ACCOUNT}
    root: Shape = Members({**model_shape(model).of, **shared}) if model is not None else OPEN
    reader = _Reader(lookups, converters, root, shared)
    entries = tuple(reader.entry(path, raw, file) for path, (raw, file) in fields.items())
    parts = tuple(split_path(entry.path) for entry in entries)
    _refuse_overlap(entries, parts)
    return Outbound(action, entries, parts)


@dataclass(frozen=True, slots=True)
class _Reader:
    lookups: Mapping[str, Lookup]
    converters: Mapping[str, Converter]
    root: Shape
    shared: Mapping[str, Shape]

    def entry(self, path: str, raw: Any, file: str) -> Entry:
        entry = read_entry(path, raw, file, allowed=OUTBOUND_KEYS, converters=self.converters, lookups=self.lookups)
        if "each" in raw or "fields" in raw:
            return self._list(entry, raw, file)
        if entry.expression is not None:
            check_paths(entry.expression, self.root)
        return entry

    def _list(self, entry: Entry, raw: Mapping[str, Any], file: str) -> Entry:
        where = f"{file}: {entry.path}"
        if not raw.get("each") or not raw.get("fields") or "from" in raw:
            mend = 'Write each = "lines", fields = { … }.'
            raise MappingError("a list has each and fields, and no from.", where=where, mend=mend)
        rows = compile_expression(raw["each"], where)
        check_paths(rows, self.root)
        inner = _Reader(self.lookups, self.converters, self._element(rows.paths, where), self.shared)
        fields = tuple(inner.entry(f"{entry.path}[].{name}", one, file) for name, one in raw["fields"].items())
        return replace(entry, expression=rows, fields=fields)

    def _element(self, paths: tuple[tuple[str, ...], ...], where: str) -> Shape:
        source = find(self.root, paths[0], where) if len(paths) == 1 else OPEN
        element = source.of if isinstance(source, Many) else OPEN
        if not isinstance(element, Members):
            return OPEN
        return Members({**element.of, **self.shared, "input": self.root})


def _refuse_overlap(entries: tuple[Entry, ...], parts: tuple[tuple[str, ...], ...]) -> None:
    known = {part: entry for entry, part in zip(entries, parts, strict=True)}
    for entry, part in zip(entries, parts, strict=True):
        for length in range(1, len(part)):
            if part[:length] in known:
                outer = known[part[:length]].path
                raise MappingError(
                    f"{entry.path} lies inside {outer}, which has an entry of its own.",
                    where=entry.file,
                    mend=f"Keep one of them; in an override, {outer} = false removes it.",
                )
