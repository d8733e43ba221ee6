"""Compiled expressions answer as JMESPath's own interpreter does, whatever stands in them and whatever they are given."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from typing import Any

import jmespath
import pytest
from jmespath import exceptions, visitor

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping import compile_expression
from lifecyclehub.mapping.functions import Exact

PLAIN: tuple[Any, ...] = (None, True, False, 0, 1, -2, 7, "", "a", "won", [], {})
DOCUMENT: dict[str, Any] = {
    "deal": {"title": "Site", "status": "won", "value": {"amount": 0, "currency": "EUR"}, "tags": [], "owner": None},
    "rows": [{"id": 1, "n": "x", "on": True}, {"id": 0, "n": "y", "on": False}, {"id": 1, "n": "", "sub": [1, [2], None]}],
    "words": ["b", "a", "", "won"],
    "numbers": [3, 0, -2, 7],
    "mixed": [None, False, 0, "", [], {}, [1, [2, 3]], {"id": 5, "n": "z"}, "a"],
    "text": "won",
    "zero": 0,
    "no": False,
    "none": None,
}
ROOTS = tuple(DOCUMENT)
INNER = ("id", "n", "on", "sub", "title", "status", "value", "value.amount", "tags", "owner", "missing")
LITERALS = ("'won'", "'a'", "''", "`0`", "`1`", "`true`", "`false`", "`null`", "`[]`", "`{}`", '`[1, "a", null]`', '`{"id": 1}`')
STEPS = ("[0]", "[-1]", "[9]", "[1:]", "[::-1]", "[:2]", "[1:9:2]", "[*]", "[*]", "[]", "[]", ".*")
SIGNS = ("==", "!=", "<", "<=", ">", ">=")
LISTS = ("rows", "words", "numbers", "mixed", "rows[*].sub", "rows[*].id", "mixed[]")


class Writer:
    """Writes expressions: mostly such as make sense, so that the answers are more than null and errors."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def _one(self, *choices: str) -> str:
        return self._chance.choice(choices)

    def value(self, depth: int, names: tuple[str, ...] = ROOTS) -> str:
        """Write an expression; `names` is what it may ask for where it stands."""
        if depth <= 0 or self._chance.random() < 0.15:
            return self._one(*names, *names, *LITERALS, "@")
        make = self._chance.choice(
            (self._path, self._path, self._filter, self._test, self._either, self._call, self._by, self._several, self._pipe)
        )
        return make(depth - 1, names)

    def _list(self, names: tuple[str, ...]) -> str:
        return self._one(*LISTS) if names is ROOTS else self._one("@", "sub", "tags", "n")

    def _path(self, depth: int, names: tuple[str, ...]) -> str:
        base = self._list(names) if self._chance.random() < 0.5 else self._one(*names)
        steps = [self._one(*STEPS, *(f".{name}" for name in INNER)) for _ in range(self._chance.randint(1, 4))]
        end = f".[{self.value(depth, INNER)}, {self.value(depth, INNER)}]" if self._chance.random() < 0.15 else ""
        end = f".{{one: {self.value(depth, INNER)}, two: @}}" if self._chance.random() < 0.15 else end
        return base + "".join(steps) + end

    def _filter(self, depth: int, names: tuple[str, ...]) -> str:
        after = self._one("", ".id", ".n", "[0]", " | [0]", ".sub[]", ".{i: id}")
        return f"{self._list(names)}[?{self._test(depth, INNER)}]{after}"

    def _test(self, depth: int, names: tuple[str, ...]) -> str:
        sides = [self.value(depth, names) if self._chance.random() < 0.4 else self._one(*names, *LITERALS) for _ in "ab"]
        test = f"({sides[0]} {self._one(*SIGNS)} {sides[1]})"
        return f"!{test}" if self._chance.random() < 0.2 else test

    def _either(self, depth: int, names: tuple[str, ...]) -> str:
        joined = f"({self.value(depth, names)} {self._one('&&', '||')} {self.value(depth, names)})"
        return f"!{joined}" if self._chance.random() < 0.2 else joined

    def _call(self, depth: int, names: tuple[str, ...]) -> str:
        name = self._one(
            "type", "to_string", "to_array", "to_number", "present", "length", "reverse", "keys", "values", "sort", "sum"
        )
        if name in ("type", "to_string", "to_array", "to_number", "present"):
            return f"{name}({self.value(depth, names)})"
        of = self._list(names) if name in ("reverse", "length", "sort", "sum") else self._one("deal", "@", "deal.value")
        return self._one(
            f"{name}({of})",
            f"not_null({self.value(depth, names)}, {self.value(depth, names)})",
            f"concat({self.value(depth, names)}, '-', {self.value(depth, names)})",
            f"lines({self.value(depth, names)}, {self.value(depth, names)})",
            f"contains({self._list(names)}, {self.value(depth, names)})",
        )

    def _by(self, depth: int, names: tuple[str, ...]) -> str:
        return self._one(
            f"{self._one('sort_by', 'max_by', 'min_by')}({self._one('rows', self._list(names))}, &{self._one('id', 'n', 'on')})",
            f"map(&{self.value(depth, INNER)}, {self._list(names)})",
        )

    def _several(self, depth: int, names: tuple[str, ...]) -> str:
        first, second = self.value(depth, names), self.value(depth, names)
        return self._one(f"[{first}, {second}]", f"[{first}, {second}][]", f"{{one: {first}, two: {second}}}.one")

    def _pipe(self, depth: int, names: tuple[str, ...]) -> str:
        return f"{self._path(depth, names)} | {self._one('@', '[0]', '[]', '*', 'id', 'length(@)', '[?id]', '!@')}"


def theirs(text: str, data: Any) -> Any:
    """Give what JMESPath's interpreter answers, or the kind of error that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return jmespath.compile(text).search(data, visitor.Options(custom_functions=Exact()))
        except (exceptions.JMESPathError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            return type(error)


def ours(text: str, data: Any) -> Any:
    """Give what the compiled expression answers, or the kind of error behind ours."""
    try:
        return compile_expression(text, "here").search(data)
    except MappingError as error:
        return type(error.__cause__)


@pytest.mark.parametrize("seed", range(6))
def test_expressions_of_all_kinds_answer_as_jmespath_does(seed: int) -> None:
    writer, kinds = Writer(seed), Counter[str]()
    for _ in range(400):
        text = writer.value(4)
        for data in (DOCUMENT, DOCUMENT["rows"], *PLAIN[seed % 4 :: 4]):
            expected, found = theirs(text, data), ours(text, data)
            assert repr(found) == repr(expected), (text, data)
            kinds["error" if isinstance(expected, type) else "null" if expected is None else "answer"] += data is DOCUMENT
    assert kinds["answer"] > 150, kinds
    assert kinds["error"] > 10, kinds
