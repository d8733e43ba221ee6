"""The one place where JMESPath is compiled and run: bounded, exact, and every exception wrapped."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jmespath import exceptions, parser, visitor

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping.functions import Exact
from lifecyclehub.mapping.syntax import Node, Path, Trace, exact_literals, plain_path, unparse

MAX_LENGTH = 1_000
MAX_DEPTH = 100
STEP_BUDGET = 50_000
_CHARACTERS_PER_STEP = 64
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_FUNCTIONS = Exact()
_NATIVE = frozenset({"sum", "min", "max", "sort", "avg"})


class _TooMuchWork(Exception):
    """The step budget is used up."""


def walk(names: Path) -> Callable[[Any], Any]:
    """Make the reader of a plain dotted identifier; it answers as JMESPath does."""

    def read(value: Any) -> Any:
        for name in names:
            try:
                value = value.get(name)
            except AttributeError:
                return None
        return value

    return read


class Interpreter(visitor.TreeInterpreter):  # type: ignore[misc]
    """JMESPath's interpreter with a budget: a step per node visited and per value put into a list or given to a function."""

    def __init__(self, budget: int = STEP_BUDGET) -> None:
        super().__init__()
        self._functions = _FUNCTIONS
        self._left = budget

    def spend(self, steps: int) -> None:
        """Take steps from the budget. Raises when there are none left."""
        self._left -= steps
        if self._left < 0:
            raise _TooMuchWork

    def weigh(self, value: Any) -> None:
        """Spend a step for every value inside `value`: shared parts count each time, as whoever walks it meets them."""
        stack = [value]
        while stack:
            here = stack.pop()
            if isinstance(here, str):
                self.spend(1 + len(here) // _CHARACTERS_PER_STEP)
                continue
            self.spend(1)
            if isinstance(here, dict):
                stack.extend(here.values())
            elif isinstance(here, list):
                stack.extend(here)

    def visit(self, node: Node, value: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _TooMuchWork
        return super().visit(node, value)

    def visit_multi_select_list(self, node: Node, value: Any) -> Any:
        made = super().visit_multi_select_list(node, value)
        self.weigh(made)
        return made

    def visit_multi_select_dict(self, node: Node, value: Any) -> Any:
        made = super().visit_multi_select_dict(node, value)
        self.weigh(made)
        return made

    def visit_comparator(self, node: Node, value: Any) -> Any:
        if node["value"] in self._EQUALITY_OPS:
            left, right = (self.visit(child, value) for child in node["children"])
            if isinstance(left, list | dict) and isinstance(right, list | dict):
                self.weigh(left)
            same = visitor._equals(left, right)  # noqa: SLF001 (JMESPath keeps 0 and false apart)
            return same if node["value"] == "eq" else not same
        return super().visit_comparator(node, value)

    def visit_function_expression(self, node: Node, value: Any) -> Any:
        arguments = [self.visit(child, value) for child in node["children"]]
        for argument in arguments:
            self.weigh(argument)
        name = node["value"]
        if name in _NATIVE:
            _refuse_floats(name, arguments)
        return self._functions.call_function(name, arguments)


def _refuse_floats(name: str, arguments: list[Any]) -> None:
    if any(isinstance(one, float) for argument in arguments if isinstance(argument, list) for one in argument):
        raise ValueError(f"{name}() was given a binary fraction, which may have lost cents; numbers must be exact")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `paths`: what it reads from the root; `where` stands before every error."""

    text: str
    where: str
    tree: Node
    paths: tuple[Path, ...]
    comparisons: tuple[tuple[Path, Any], ...]
    _read: Callable[[Any], Any] | None

    def search(self, data: Any) -> Any:
        """Evaluate against `data` (dicts, lists, text, int, Decimal, bool, None; dates as values).

        Raises MappingError for whatever goes wrong, also when it takes more than the step budget.
        """
        if self._read is not None:
            return self._read(data)
        return evaluate(self.tree, data, self.where)


def evaluate(tree: Node, data: Any, where: str) -> Any:
    """Run a syntax tree with a fresh budget. Raises MappingError."""
    try:
        return Interpreter().visit(tree, data)
    except MappingError:
        raise
    except Exception as error:  # JMESPath also lets TypeError, RecursionError and more through
        raise MappingError(reason_of(error, tree), where=where) from error


def reason_of(error: Exception, tree: Node) -> str:
    """Say in one sentence why evaluating failed."""
    text = unparse(tree) if not isinstance(error, RecursionError) else "this expression"
    text = text if len(text) <= 200 else text[:200] + "…"
    match error:
        case _TooMuchWork():
            return f"{text} takes more than {STEP_BUDGET:,} steps on this record. Make the expression simpler."
        case exceptions.JMESPathTypeError():
            takes = " or ".join(error.expected_types)
            return f"{error.function_name}() in {text} was given {error.actual_type}, it takes {takes}."
        case TypeError():
            return f"{text} compares or counts values of different types ({error}). Convert one of them first."
        case RecursionError():
            return f"{text} is nested too deeply."
        case _:
            return f"{text}: {error}"


def _parse(text: str) -> Node:
    """Parse, with the lexer's warning about unquoted `literals` turned into an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = parser.Parser()._do_parse(text).parsed  # noqa: SLF001 (its cache is shared by the whole process)
    return exact_literals(tree)  # type: ignore[no-any-return]


def _check_call(name: str, given: int) -> None:
    spec = Exact.FUNCTION_TABLE.get(name)
    if spec is None:
        raise ValueError(f"there is no function {name}(); there are {', '.join(sorted(Exact.FUNCTION_TABLE))}")
    signature = spec["signature"]
    variadic = signature[-1].get("variadic")
    if given < len(signature) or (given > len(signature) and not variadic):
        raise ValueError(f"{name}() takes {len(signature)}{' or more' if variadic else ''} arguments, not {given}")


def _check_tree(node: Node) -> None:
    """Refuse unknown functions, wrong numbers of arguments, and (RecursionError) a tree that is too deep to walk."""
    stack = [(node, 1)]
    while stack:
        here, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise RecursionError
        if here["type"] == "function_expression":
            _check_call(here["value"], len(here["children"]))
        stack.extend((child, depth + 1) for child in here.get("children", ()) if isinstance(child, dict))


@lru_cache(maxsize=4096)
def _compiled(text: str) -> tuple[Node, tuple[Path, ...], tuple[tuple[Path, Any], ...], Callable[[Any], Any] | None]:
    tree = _parse(text)
    _check_tree(tree)
    trace = Trace(tree)
    names = plain_path(tree)
    return tree, trace.paths, tuple(trace.comparisons), walk(names) if names and _PLAIN.fullmatch(text) else None


def compile_expression(text: str, where: str) -> Expression:
    """Compile a JMESPath expression of at most 1,000 characters. Raises MappingError that begins with `where`."""
    if not text.strip():
        raise MappingError("an expression must not be empty.", where=where)
    if len(text) > MAX_LENGTH:
        raise MappingError(
            f"the expression has {len(text):,} characters, {MAX_LENGTH:,} are allowed.", where=where, mend="Split it into fields."
        )
    try:
        tree, paths, comparisons, read = _compiled(text)
    except RecursionError as error:
        what = f"the expression is nested too deeply, {MAX_DEPTH} levels are allowed."
        raise MappingError(what, where=where, mend="Make it simpler.") from error
    except exceptions.JMESPathError as error:
        said = " ".join(str(error).split())
        raise MappingError(f"{text!r} is not a JMESPath expression: {said}.", where=where, mend=_hint(text)) from error
    except Exception as error:
        raise MappingError(f"{text!r} cannot be used: {error}.", where=where, mend=_hint(text)) from error
    return Expression(text, where, tree, paths, comparisons, read)


def _hint(text: str) -> str:
    if "`" in text:
        return "Text stands in single quotes ('won'), numbers and true, false in backquotes (`5`)."
    if " and " in text or " or " in text or " = " in text:
        return "Write && for and, || for or, == for equals."
    return "Names with other characters than letters, digits and _ stand in double quotes."
