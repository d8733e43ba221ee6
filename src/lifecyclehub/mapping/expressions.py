"""The one place where JMESPath is compiled and run: bounded, exact, and every exception wrapped."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jmespath import exceptions, parser

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping.functions import Exact
from lifecyclehub.mapping.running import STEP_BUDGET, TooMuchWork, runner
from lifecyclehub.mapping.syntax import Node, Path, Trace, exact_literals, plain_path, unparse

MAX_LENGTH = 1_000
MAX_DEPTH = 100
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


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


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `paths`: what it reads from the root; `where` stands before every error."""

    text: str
    where: str
    tree: Node
    paths: tuple[Path, ...]
    comparisons: tuple[tuple[Path, Any], ...]
    _run: Callable[[Any], Any]

    def search(self, data: Any) -> Any:
        """Evaluate against `data` (dicts, lists, text, int, Decimal, bool, None; dates as values).

        Raises MappingError for whatever goes wrong, also when it takes more than the step budget.
        """
        try:
            return self._run(data)
        except MappingError:
            raise
        except Exception as error:  # JMESPath also lets TypeError, RecursionError and more through
            raise MappingError(reason_of(error, self.tree), where=self.where) from error


def reason_of(error: Exception, tree: Node) -> str:
    """Say in one sentence why evaluating failed."""
    text = unparse(tree) if not isinstance(error, RecursionError) else "this expression"
    text = text if len(text) <= 200 else text[:200] + "…"
    match error:
        case TooMuchWork():
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


def _check_call(node: Node) -> None:
    name, given = node["value"], node["children"]
    spec = Exact.FUNCTION_TABLE.get(name)
    if spec is None:
        raise ValueError(f"there is no function {name}(); there are {', '.join(sorted(Exact.FUNCTION_TABLE))}")
    signature = spec["signature"]
    variadic = signature[-1].get("variadic")
    if len(given) < len(signature) or (len(given) > len(signature) and not variadic):
        raise ValueError(f"{name}() takes {len(signature)}{' or more' if variadic else ''} arguments, not {len(given)}")
    for place, child in enumerate(given):
        takes = signature[min(place, len(signature) - 1)]["types"]
        if child["type"] == "expref" and "expref" not in takes:
            raise ValueError(f"{name}() takes a value, not {unparse(child)}")


def _check_tree(node: Node) -> None:
    """Refuse unknown functions, wrong arguments, members of a negation, `&` alone, and (RecursionError) too deep a tree."""
    stack = [(node, 1)]
    while stack:
        here, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise RecursionError
        if here["type"] == "function_expression":
            _check_call(here)
        if here["type"] in ("subexpression", "index_expression") and here["children"][0]["type"] == "not_expression":
            negated = here["children"][0]["children"][0]
            meant = unparse({**here, "children": [negated, *here["children"][1:]]})
            raise ValueError(f"!{meant} looks into (!{unparse(negated)}), where nothing is; write !({meant})")
        inner = [child for child in here.get("children", ()) if isinstance(child, dict)]
        loose = next((child for child in (node, *inner) if child["type"] == "expref"), None)
        if loose is not None and here["type"] != "function_expression":
            raise ValueError(f"{unparse(loose)} is no value: & stands before what a function such as sort_by() looks at")
        stack.extend((child, depth + 1) for child in inner)


@lru_cache(maxsize=4096)
def _compiled(text: str) -> tuple[Node, tuple[Path, ...], tuple[tuple[Path, Any], ...], Callable[[Any], Any]]:
    tree = _parse(text)
    _check_tree(tree)
    trace = Trace(tree)
    names = plain_path(tree)
    return tree, trace.paths, tuple(trace.comparisons), walk(names) if names and _PLAIN.fullmatch(text) else runner(tree)


def compile_expression(text: str, where: str) -> Expression:
    """Compile a JMESPath expression of at most 1,000 characters. Raises MappingError that begins with `where`."""
    if not text.strip():
        raise MappingError("an expression must not be empty.", where=where)
    if len(text) > MAX_LENGTH:
        raise MappingError(
            f"the expression has {len(text):,} characters, {MAX_LENGTH:,} are allowed.", where=where, mend="Split it into fields."
        )
    try:
        tree, paths, comparisons, run = _compiled(text)
    except RecursionError as error:
        what = f"the expression is nested too deeply, {MAX_DEPTH} levels are allowed."
        raise MappingError(what, where=where, mend="Make it simpler.") from error
    except exceptions.JMESPathError as error:
        said = " ".join(str(error).split())
        raise MappingError(f"{text!r} is not a JMESPath expression: {said}.", where=where, mend=_hint(text)) from error
    except Exception as error:
        raise MappingError(f"{text!r} cannot be used: {error}.", where=where, mend=_hint(text)) from error
    return Expression(text, where, tree, paths, comparisons, run)


def _hint(text: str) -> str:
    if "`" in text:
        return "Text stands in single quotes ('won'), numbers and true, false in backquotes (`5`)."
    if " and " in text or " or " in text or " = " in text:
        return "Write && for and, || for or, == for equals."
    return "Names with other characters than letters, digits and _ stand in double quotes."
