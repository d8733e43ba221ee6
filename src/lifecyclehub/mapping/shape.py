"""What an expression may look at, and checking its paths against that when a mapping is applied."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from lifecyclehub.errors import MappingError, nearest
from lifecyclehub.mapping.expressions import Expression
from lifecyclehub.mapping.syntax import Path, dotted
from lifecyclehub.model import THINGS, Field


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value; `field` when it is a canonical field."""

    field: Field | None = None


@dataclass(frozen=True, slots=True)
class Many:
    """A list of like things."""

    of: Shape


@dataclass(frozen=True, slots=True)
class Members:
    """An object with these members and no others; `hint` helps those who ask for another one."""

    of: dict[str, Shape] = field(default_factory=dict)
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Open:
    """Anything: nobody can say which members there are."""


Shape: TypeAlias = "Leaf | Many | Members | Open"
OPEN, VALUE = Open(), Leaf()
_SINGLE = (str, int, bool, float, Decimal, date, datetime)
MONEY = Members({"minor": VALUE, "currency": VALUE, "decimal": VALUE})
ACCOUNT = Members({"id": VALUE, "name": VALUE, "currency": VALUE, "timezone": VALUE})


@cache
def thing_shape(thing: str) -> Members:
    """Give the shape of a canonical thing: its fields nested, `id`, `url`, and `custom` with anything in it."""
    nested: dict[str, Any] = {"id": VALUE, "url": VALUE, "custom": OPEN}
    for name, canonical in THINGS[thing].items():
        head, _, tail = name.partition(".")
        if tail:
            nested.setdefault(head, Members()).of[tail] = Leaf(canonical)
        else:
            nested[head] = Leaf(canonical)
    return Members(nested)


def model_shape(model: type[BaseModel]) -> Members:
    """Give the shape of a pydantic model once it is dumped to a dict."""
    return Members({name: _annotated(info.annotation) for name, info in model.model_fields.items()})


def _annotated(annotation: Any) -> Shape:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _annotated(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _annotated(next(one for one in arguments if one is not type(None)))
    if origin in (tuple, list):
        return Many(_annotated(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return model_shape(annotation)
    return VALUE if origin is Literal or annotation in _SINGLE else OPEN


def find(shape: Shape, path: Path, where: str) -> Shape:
    """Follow a path through a shape. Raises MappingError that names the wrong part and the nearest right one."""
    here = shape
    for at, name in enumerate(path):
        match here:
            case Open():
                return OPEN
            case Members(of=members) if name in members:
                here = members[name]
            case Members(of=members) if name == "*":
                here = OPEN
            case Many(of=inner) if name == "[]":
                here = inner
            case _:
                raise MappingError(_unknown(path, at, here), where=where, mend=_mend(path, at, here))
    return here


def _unknown(path: Path, at: int, here: Shape) -> str:
    before = dotted(path[:at])
    match here:
        case Members():
            return f"there is no {dotted(path[: at + 1])} here."
        case Many():
            return f"{before} is a list; {dotted(path)} looks for a member of it."
        case _:
            return f"{before} is a single value; {dotted(path)} looks inside it."


def _mend(path: Path, at: int, here: Shape) -> str:
    name = path[at]
    if isinstance(here, Many):
        return f"Write {dotted(path[:at])}[].{name} for all of them, or {dotted(path[:at])}[0].{name} for the first."
    if not isinstance(here, Members):
        return ""
    quote = f"If {name} is meant as text, quote it: '{name}'." if len(path) == 1 else ""
    return " ".join(part for part in (quote, nearest(name, here.of), here.hint) if part)


def check_paths(expression: Expression, shape: Shape) -> None:
    """Check every path of an expression, and every text that a choice is compared with. Raises MappingError."""
    for path in sorted(expression.paths, key=lambda path: len(path) > 1):  # an unquoted word is the likelier slip
        find(shape, path, expression.where)
    for path, value in expression.comparisons:
        _check_choice(find(shape, path, expression.where), path, value, expression.where)


def _check_choice(shape: Shape, path: Path, value: Any, where: str) -> None:
    choices = shape.field.choices if isinstance(shape, Leaf) and shape.field else ()
    if choices and value is not None and value not in choices:
        raise MappingError(f"{dotted(path)} is never {value!r}.", where=where, mend=f"It is one of: {', '.join(choices)}.")
