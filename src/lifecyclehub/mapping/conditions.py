"""Conditions: exactly true or false, and where that cannot be said, which part was missing."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping.expressions import Expression, compile_expression, reason_of, walk
from lifecyclehub.mapping.functions import instant_of
from lifecyclehub.mapping.running import Budget, runner
from lifecyclehub.mapping.shape import Shape, check_paths
from lifecyclehub.mapping.syntax import Node, Path, Trace, dotted, plain_path, unparse


@dataclass(frozen=True, slots=True)
class Undecided:
    """Neither true nor false. `reason` names the sub-expression that was null or of the wrong type."""

    reason: str

    def __bool__(self) -> NoReturn:
        raise TypeError(f"undecided is neither true nor false: {self.reason}")


Decision: TypeAlias = bool | Undecided
_Test: TypeAlias = Callable[[Any], bool]
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "gt": operator.gt,
    "lte": operator.le,
    "gte": operator.ge,
}


class _Open(Exception):
    """Carries the reason out of a condition that cannot be decided."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition. `paths`: what it reads from the root."""

    expression: Expression
    _test: _Test

    @property
    def text(self) -> str:
        """The condition as it was written."""
        return self.expression.text

    @property
    def paths(self) -> tuple[Path, ...]:
        """What it reads from the root."""
        return self.expression.paths

    def decide(self, data: Any) -> Decision:
        """Say true, false, or why neither. Never raises for what the data holds."""
        try:
            return self._test(data)
        except _Open as why:
            return Undecided(f"{self.expression.where}: {why}")
        except MappingError as error:
            return Undecided(str(error))
        except Exception as error:  # noqa: BLE001 (whatever an evaluation can raise parks, with its reason)
            return Undecided(f"{self.expression.where}: {reason_of(error, self.expression.tree)}")


def compile_condition(text: str, where: str, shape: Shape | None = None) -> Condition:
    """Compile a condition and, with a shape, check all its paths. Raises MappingError that begins with `where`."""
    expression = compile_expression(text, where)
    test = _compile(expression.tree, where)
    if shape is not None:
        check_paths(expression, shape)
    _check_negations(expression.tree, frozenset(), where)
    return Condition(expression, test)


# --- compiling ----------------------------------------------------------------------------------------------------


def _compile(node: Node, where: str) -> _Test:
    match node["type"]:
        case "and_expression" | "or_expression":
            first, second = (_compile(child, where) for child in node["children"])
            if node["type"] == "and_expression":
                return lambda data: first(data) and second(data)
            return lambda data: first(data) or second(data)
        case "not_expression":
            inner = _compile(node["children"][0], where)
            return lambda data: not inner(data)
        case "comparator":
            return _comparison(node, where)
    return _flag(node, where)


def _flag(node: Node, where: str) -> _Test:
    read, text = _operand(node), unparse(node)
    if node["type"] == "literal" and not isinstance(node["value"], bool):
        raise MappingError(f"{text} is neither true nor false.", where=where, mend="Compare it with something.")

    def test(data: Any) -> bool:
        value = read(data)
        if value is True or value is False:
            return value
        if value is None:
            raise _Open(f"{text} is null, so the condition is neither true nor false.")
        raise _Open(f"{text} is {_kind(value)}, not true or false. Compare it with something.")

    return test


def _comparison(node: Node, where: str) -> _Test:
    left, right = node["children"]
    for child, other in ((left, right), (right, left)):
        if child["type"] == "literal" and child["value"] is None:
            raise MappingError(
                f"{unparse(node)} compares with null.",
                where=where,
                mend=f"Write present({unparse(other)}) or !present({unparse(other)}).",
            )
    read_left, read_right = _operand(left), _operand(right)
    sign, whole, names = node["value"], unparse(node), (unparse(left), unparse(right))
    return lambda data: compare(sign, read_left(data), read_right(data), whole, names)


def _operand(node: Node) -> Callable[[Any], Any]:
    if node["type"] == "literal":
        constant = node["value"]
        return lambda _: constant
    names = plain_path(node)
    if names is not None:
        return walk(names)
    tested = next(iter(_tested(node)), None)
    if tested is not None:
        read = walk(tested)
        return lambda data: read(data) is not None
    return runner(node, _strictly)


def _strictly(node: Node) -> Callable[[Any, Any, Budget], bool]:
    """Inside filters and functions of a condition, too, a comparison with null is no answer."""
    sign, whole, names = node["value"], unparse(node), (unparse(node["children"][0]), unparse(node["children"][1]))
    return lambda left, right, _: compare(sign, left, right, whole, names)


# --- comparing ----------------------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | Decimal():
            return "a number"
        case str():
            return "text"
        case datetime():
            return "an instant"
        case date():
            return "a date"
        case list() | tuple():
            return "a list"
    return "an object" if hasattr(value, "get") else type(value).__name__


def _timed(text: str, like: Any) -> Any:
    return instant_of(text) if isinstance(like, datetime) else date.fromisoformat(text)


def compare(sign: str, left: Any, right: Any, whole: str, names: tuple[str, str]) -> bool:
    """Compare two values of one type. Raises `_Open` for a null, for different types, and for lists and objects."""
    if type(left) is str is type(right):  # nearly always
        return bool(_ORDERS[sign](left, right))
    for value, name in ((left, names[0]), (right, names[1])):
        if value is None:
            said = f"{name} is null in {whole}, so the condition is neither true nor false."
            raise _Open(f"{said} Guard it with present({name}) && …")
        if isinstance(value, list | tuple | dict):
            raise _Open(f"{name} is {_kind(value)} in {whole}. Compare single values; length() and contains() look into lists.")
    try:
        if isinstance(left, date) and isinstance(right, str):
            right = _timed(right, left)
        elif isinstance(right, date) and isinstance(left, str):
            left = _timed(left, right)
    except ValueError as error:
        raise _Open(f"{whole} compares a time with text that is none ({error}). Write it as '2026-01-31'.") from error
    kinds = _kind(left), _kind(right)
    if kinds[0] != kinds[1]:
        raise _Open(f"{whole} compares {kinds[0]} with {kinds[1]}. Text stands in single quotes, numbers in backquotes.")
    if kinds[0] == "true or false" and sign not in ("eq", "ne"):
        raise _Open(f"{whole} asks which of true and false is greater.")
    return bool(_ORDERS[sign](left, right))


# --- negations ----------------------------------------------------------------------------------------------------


def _conjuncts(node: Node) -> list[Node]:
    if node["type"] == "and_expression":
        return [inner for child in node["children"] for inner in _conjuncts(child)]
    return [node]


def _tested(node: Node) -> frozenset[Path]:
    """Give the paths that hold a value wherever `node` is true."""
    if node["type"] == "function_expression" and node["value"] == "present" and len(node["children"]) == 1:
        path = plain_path(node["children"][0])
        return frozenset({path}) if path else frozenset()
    return frozenset()


def _check_negations(node: Node, guards: frozenset[Path], where: str, *, negated: bool = False) -> None:
    """Refuse `!` over a comparison whose paths nobody tested for presence: of a null it says nothing."""
    match node["type"]:
        case "and_expression":
            for part in _conjuncts(node):
                _check_negations(part, guards, where, negated=negated)
                guards |= _tested(part)
        case "comparator" if negated:
            _check_guarded(node, guards, where)
        case _:
            below = negated or node["type"] == "not_expression"
            for child in node.get("children", ()):
                if isinstance(child, dict):
                    _check_negations(child, guards, where, negated=below)


def _check_guarded(node: Node, guards: frozenset[Path], where: str) -> None:
    for operand in node["children"]:
        if operand["type"] == "function_expression" and operand["value"] in ("not_null", "length"):
            continue
        for path in Trace(operand).paths:
            if not any(path[: len(guard)] == guard for guard in guards):
                raise MappingError(
                    f"!({unparse(node)}) says nothing when {dotted(path)} is missing.",
                    where=where,
                    mend=f"Test it first: present({dotted(path)}) && !({unparse(node)}).",
                )
