"""Reading `handoffs.toml` and its tables: everything that can be wrong is found here, before anything acts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from lifecyclehub.errors import MappingError, nearest
from lifecyclehub.handoffs.circles import refuse_circles
from lifecyclehub.handoffs.context import THING_SHAPES, VISIBLE, effect_shape, made_shape, subject_shape
from lifecyclehub.handoffs.handoff import Effect, Handoff, HandoffSet
from lifecyclehub.handoffs.lifecycle import FILE as LIFECYCLE_FILE
from lifecyclehub.handoffs.lifecycle import read_lifecycle
from lifecyclehub.mapping import CONVERTERS, Entry, Expression, compile_condition, compile_expression, content_version
from lifecyclehub.mapping.entries import COMMON_KEYS, read_entry, read_lookups, read_toml, refuse_unknown, shown
from lifecyclehub.mapping.shape import OPEN, VALUE, Many, Members, Shape, check_paths, find

FILE = "mappings/handoffs.toml"
_HANDOFF_ID = re.compile(r"[a-z0-9-]{1,64}")
_EFFECT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ROW_ID = re.compile(r"[a-z0-9_-]{1,64}")
_HANDOFF_KEYS = frozenset({"id", "title", "per", "when", "at", "help", "effects"})
_EFFECT_KEYS = frozenset({"name", "do", "when", "each", "item", "needs", "per", "with"})


def load_handoffs(
    text: str, tables: Mapping[str, str], lifecycle_text: str, action_inputs: Mapping[str, type[BaseModel]]
) -> HandoffSet:
    """Read and check handoffs, tables (TOML text by name, without `.toml`) and lifecycle.

    `action_inputs`: the canonical input of every action by `role.action`. Raises MappingError for the first thing that
    is wrong, naming file, handoff, effect and field.
    """
    raw = read_toml(text, FILE)
    refuse_unknown(raw, {"format", "handoff", "lookup"}, FILE, "handoffs.toml")
    rows = {name: read_table(name, one) for name, one in tables.items()}
    reader = _Reader(
        action_inputs, {name: _columns(one) for name, one in rows.items()}, read_lookups(raw.get("lookup", {}), {}, FILE)
    )
    handoffs = raw.get("handoff", [])
    if not isinstance(handoffs, list) or not all(isinstance(one, dict) for one in handoffs):
        raise MappingError("handoff is no list of tables.", where=FILE, mend="Write [[handoff]].")
    read = tuple(reader.handoff(one, number) for number, one in enumerate(handoffs, start=1))
    _refuse_repeated([one.id for one in read], FILE, "handoff")
    lifecycle = read_lifecycle(lifecycle_text)
    refuse_circles(read, lifecycle, FILE)
    version = content_version([raw, rows, read_toml(lifecycle_text, LIFECYCLE_FILE)])
    return HandoffSet(handoffs=read, tables=rows, lifecycle=lifecycle, version=version)


def read_table(name: str, text: str) -> list[dict[str, Any]]:
    """Read a table: `[[row]]`s, each with an id that stays. Raises MappingError."""
    file = f"mappings/tables/{name}.toml"
    raw = read_toml(text, file)
    refuse_unknown(raw, {"format", "row"}, file, "a table")
    rows = raw.get("row", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise MappingError("row is no list of tables.", where=file, mend="Write [[row]].")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("id"), str) or not _ROW_ID.fullmatch(row["id"]):
            raise MappingError(
                f"row {number} has the id {shown(row.get('id'))}.",
                where=file,
                mend="Give every row an id of small letters, digits, - and _; keep it when you change the row.",
            )
    _refuse_repeated([row["id"] for row in rows], file, "row")
    return rows


def _columns(rows: list[dict[str, Any]]) -> Shape:
    return Many(Members({column: VALUE for row in rows for column in row}) if rows else OPEN)


def _refuse_repeated(names: list[str], where: str, what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise MappingError(f"there are two {what}s {name!r}.", where=where, mend="Each needs a name of its own, for ever.")


def _text(raw: Mapping[str, Any], key: str, where: str, *, default: str | None = None) -> str:
    value = raw.get(key, default)
    if not isinstance(value, str):
        problem = f"{key} is missing." if value is None else f"{key} is {shown(value)}."
        raise MappingError(problem, where=where, mend=f'Write {key} = "…".')
    return value


@dataclass(frozen=True, slots=True)
class _Reader:
    inputs: Mapping[str, type[BaseModel]]
    tables: Mapping[str, Shape]
    lookups: Mapping[str, Any]

    def handoff(self, raw: Mapping[str, Any], number: int) -> Handoff:
        handoff_id = _text(raw, "id", f"{FILE}: handoff {number}")
        where = f'{FILE}: handoff "{handoff_id}"'
        if not _HANDOFF_ID.fullmatch(handoff_id):
            raise MappingError("the id does not fit.", where=where, mend="Use up to 64 small letters, digits and -.")
        refuse_unknown(raw, _HANDOFF_KEYS, where, "a handoff")
        per = _text(raw, "per", where)
        if per not in VISIBLE:
            raise MappingError(f"per is {per!r}.", where=where, mend=nearest(per, VISIBLE))
        seen = Members(subject_shape(per))
        when = compile_condition(_text(raw, "when", where), f"{where}, when", seen)
        at = self._expression(_text(raw, "at", where), f"{where}, at", seen)
        effects = raw.get("effects")
        if not isinstance(effects, list) or not effects or not all(isinstance(one, dict) for one in effects):
            raise MappingError("it has no effects.", where=where, mend="Write at least one [[handoff.effects]].")
        _refuse_repeated([str(one.get("name")) for one in effects], where, "effect")
        by_name = {str(one.get("name")): one for one in effects}
        read = tuple(self._effect(one, per, where, by_name) for one in effects)
        title = _text(raw, "title", where, default=handoff_id.replace("-", " "))
        return Handoff(
            id=handoff_id,
            title=title,
            per=per,
            when=when,
            at=at,
            effects=_ordered(read, where),
            help=_text(raw, "help", where, default=""),
        )

    def _expression(self, text: str, where: str, shape: Shape) -> Expression:
        expression = compile_expression(text, where)
        check_paths(expression, shape)
        return expression

    def _effect(self, raw: Mapping[str, Any], per: str, parent: str, siblings: Mapping[str, Mapping[str, Any]]) -> Effect:
        name = _text(raw, "name", parent)
        where = f'{parent}, effect "{name}"'
        if not _EFFECT_NAME.fullmatch(name):
            raise MappingError("the name does not fit.", where=where, mend="Use small letters, digits and _, a letter first.")
        refuse_unknown(raw, _EFFECT_KEYS, where, "an effect")
        do = _text(raw, "do", where)
        if do not in self.inputs:
            raise MappingError(f"no role can do {do!r}.", where=where, mend=nearest(do, self.inputs))
        subject = _text(raw, "per", where, default=per)
        if subject not in VISIBLE[per] or subject not in THING_SHAPES:
            raise MappingError(f"per is {subject!r}.", where=where, mend=nearest(subject, VISIBLE[per]))
        if "each" in raw and "item" in raw:
            raise MappingError("it has both each and item.", where=where, mend="Rows of each are told apart by their id.")
        base = effect_shape(per, self.tables)
        each = self._expression(_text(raw, "each", where), f"{where}, each", Members(base)) if "each" in raw else None
        item = self._expression(_text(raw, "item", where), f"{where}, item", Members(base)) if "item" in raw else None
        when = compile_condition(_text(raw, "when", where), f"{where}, when", Members(base)) if "when" in raw else None
        needs, optional = _needs(raw.get("needs", []), name, siblings, where)
        single = [need for need in needs if "each" not in siblings[need]]
        scope = {**base, "made": made_shape(single)} | ({"item": _element(each, Members(base))} if each else {})
        model = self.inputs[do]
        return Effect(
            name=name,
            do=do,
            per=subject,
            where=where,
            model=model,
            entries=self._with(raw.get("with", {}), model, Members(scope), where),
            when=when,
            each=each,
            item=item,
            needs=needs,
            optional_needs=optional,
        )

    def _with(self, raw: Any, model: type[BaseModel], scope: Shape, where: str) -> tuple[Entry, ...]:
        if not isinstance(raw, dict):
            raise MappingError("with is no table.", where=where, mend="Write [handoff.effects.with].")
        refuse_unknown(raw, model.model_fields, f"{where}, with", f"the input {model.__name__}")
        for name, info in model.model_fields.items():
            if info.is_required() and name not in raw:
                raise MappingError(f"with.{name} is missing.", where=where, mend=f"{model.__name__} cannot do without it.")
        entries = []
        for name, one in raw.items():
            path = f"with.{name}"
            entry = read_entry(path, one, where, allowed=COMMON_KEYS, converters=CONVERTERS, lookups=self.lookups)
            if entry.expression is not None:
                check_paths(entry.expression, scope)
            entries.append(entry)
        return tuple(entries)


def _element(each: Expression, base: Shape) -> Shape:
    source = find(base, each.paths[0], each.where) if len(each.paths) == 1 else OPEN
    return source.of if isinstance(source, Many) else source


def _needs(raw: Any, name: str, siblings: Mapping[str, Any], where: str) -> tuple[tuple[str, ...], frozenset[str]]:
    if not isinstance(raw, list) or not all(isinstance(one, str) for one in raw):
        raise MappingError(f"needs is {shown(raw)}.", where=where, mend='Write names of effects: needs = ["project"].')
    names = tuple(one.removesuffix("?") for one in raw)
    for need in names:
        if need not in siblings or need == name:
            raise MappingError(
                f"needs {need!r}, which is no other effect of this handoff.",
                where=where,
                mend=nearest(need, siblings.keys() - {name}),
            )
    return names, frozenset(one[:-1] for one in raw if one.endswith("?"))


def _ordered(effects: tuple[Effect, ...], where: str) -> tuple[Effect, ...]:
    """Put effects after what they need, else in the order of the file. Raises MappingError when they need each other."""
    ordered: list[Effect] = []
    waiting = list(effects)
    while waiting:
        done = {effect.name for effect in ordered}
        ready = next((effect for effect in waiting if set(effect.needs) <= done), None)
        if ready is None:
            circle = " → ".join(effect.name for effect in waiting)
            raise MappingError(f"effects need each other in a circle: {circle}.", where=where, mend="Take one of the needs out.")
        ordered.append(ready)
        waiting.remove(ready)
    return tuple(ordered)
