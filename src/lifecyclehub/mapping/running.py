"""JMESPath's syntax tree as nested functions: they answer as its interpreter does, in a fifth of the time.

What cannot repeat itself needs no counting, since an expression's length is bounded. Loops and calls take their steps from
a budget: a step per node and element, and per value put into a list or object or given to a function.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from jmespath import visitor

from lifecyclehub.mapping.functions import Exact
from lifecyclehub.mapping.syntax import Node

STEP_BUDGET: Final = 50_000
_CHARACTERS_PER_STEP: Final = 64
_FUNCTIONS: Final = Exact()
_NATIVE: Final = frozenset({"sum", "min", "max", "sort", "avg"})


class TooMuchWork(Exception):
    """The step budget is used up."""


class Budget:
    """The steps that are left for one evaluation."""

    __slots__ = ("left",)

    def __init__(self, steps: int = STEP_BUDGET) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take steps. Raises TooMuchWork when there are none left."""
        self.left -= steps
        if self.left < 0:
            raise TooMuchWork

    def weigh(self, value: Any) -> None:
        """Spend a step for every value inside `value`: shared parts count each time, as whoever walks it meets them."""
        stack, left = [value], self.left
        while stack:
            here = stack.pop()
            if isinstance(here, str):
                left -= 1 + len(here) // _CHARACTERS_PER_STEP
            else:
                left -= 1
                if isinstance(here, dict):
                    stack.extend(here.values())
                elif isinstance(here, list):
                    stack.extend(here)
            if left < 0:
                raise TooMuchWork
        self.left = left


Run: TypeAlias = Callable[[Any, Budget], Any]
Compare: TypeAlias = Callable[[Node], Callable[[Any, Any, Budget], Any]]
"""Makes of a comparison's node what compares its two sides."""


def usual_comparison(node: Node) -> Callable[[Any, Any, Budget], Any]:
    """Compare as JMESPath does: 0 is not false, and what has no order gives null."""
    sign = node["value"]
    if sign in ("eq", "ne"):
        wanted = sign == "eq"
        return lambda left, right, budget: _same(left, right, budget) is wanted
    order = _ORDERS[sign]

    def ordered(left: Any, right: Any, _: Budget) -> Any:
        comparable = visitor._is_comparable  # noqa: SLF001 (numbers, and text as most implementations have it)
        return order(left, right) if comparable(left) and comparable(right) else None

    return ordered


def _same(left: Any, right: Any, budget: Budget) -> bool:
    if isinstance(left, list | dict) and isinstance(right, list | dict):
        budget.weigh(left)
    return bool(visitor._equals(left, right))  # noqa: SLF001 (JMESPath keeps 0 and false apart)


_ORDERS: Final = {"lt": operator.lt, "gt": operator.gt, "lte": operator.le, "gte": operator.ge}


def runner(tree: Node, compare: Compare = usual_comparison) -> Callable[[Any], Any]:
    """Make of a syntax tree what evaluates it, each time with a fresh budget. It may raise anything, TooMuchWork too."""
    run, steps = _Maker(compare).make(tree), size(tree)
    return lambda value: run(value, Budget(STEP_BUDGET - steps))


def size(node: Node) -> int:
    """Give how many nodes an evaluation visits at most, apart from what it repeats."""
    return 1 + sum(size(child) for child in node.get("children", ()) if isinstance(child, dict))


class _Expression:
    """What `&name` stands for. JMESPath's functions know it by this name, and call it for each element."""

    __slots__ = ("_budget", "_run", "_steps", "expression")

    def __init__(self, run: Run, steps: int, budget: Budget) -> None:
        self._run, self._steps, self._budget, self.expression = run, steps, budget, None

    def visit(self, _: None, value: Any) -> Any:
        self._budget.spend(self._steps)
        return self._run(value, self._budget)


_EMPTY: Final[tuple[Any, ...]] = ("", [], {})


def _false(value: Any) -> bool:
    return value is None or value is False or value in _EMPTY


class _Maker:
    """Makes functions of nodes, the inner ones first."""

    def __init__(self, compare: Compare) -> None:
        self._compare = compare

    def make(self, node: Node) -> Run:
        made: Run = getattr(self, f"_{node['type']}")(node)
        return made

    def _children(self, node: Node) -> list[Run]:
        return [self.make(child) for child in node["children"]]

    # --- what is there --------------------------------------------------------------------------------------------------

    def _field(self, node: Node) -> Run:
        name = node["value"]

        def field(value: Any, _: Budget) -> Any:
            try:
                return value.get(name)
            except AttributeError:
                return None

        return field

    def _current(self, _: Node) -> Run:
        return lambda value, _: value

    _identity = _current

    def _literal(self, node: Node) -> Run:
        constant = node["value"]
        return lambda _value, _budget: constant

    def _index(self, node: Node) -> Run:
        place = node["value"]

        def index(value: Any, _: Budget) -> Any:
            if not isinstance(value, list):
                return None
            try:
                return value[place]
            except IndexError:
                return None

        return index

    def _slice(self, node: Node) -> Run:
        part = slice(*node["children"])
        return lambda value, _: value[part] if isinstance(value, list) else None

    def _subexpression(self, node: Node) -> Run:
        first, *others = self._children(node)
        if len(others) == 1:
            second = others[0]
            return lambda value, budget: second(first(value, budget), budget)

        def one_after_the_other(value: Any, budget: Budget) -> Any:
            value = first(value, budget)
            for other in others:
                value = other(value, budget)
            return value

        return one_after_the_other

    _index_expression = _pipe = _subexpression

    # --- true and false -------------------------------------------------------------------------------------------------

    def _or_expression(self, node: Node) -> Run:
        first, second = self._children(node)

        def either(value: Any, budget: Budget) -> Any:
            found = first(value, budget)
            return second(value, budget) if _false(found) else found

        return either

    def _and_expression(self, node: Node) -> Run:
        first, second = self._children(node)

        def both(value: Any, budget: Budget) -> Any:
            found = first(value, budget)
            return found if _false(found) else second(value, budget)

        return both

    def _not_expression(self, node: Node) -> Run:
        (inner,) = self._children(node)

        def opposite(value: Any, budget: Budget) -> bool:
            found = inner(value, budget)
            return not (visitor._is_actual_number(found) and found == 0) and not found  # noqa: SLF001 (0 is not false)

        return opposite

    def _comparator(self, node: Node) -> Run:
        (left, right), compare = self._children(node), self._compare(node)
        return lambda value, budget: compare(left(value, budget), right(value, budget), budget)

    # --- what is made ---------------------------------------------------------------------------------------------------

    def _multi_select_list(self, node: Node) -> Run:
        members = self._children(node)

        def several(value: Any, budget: Budget) -> Any:
            if value is None:
                return None
            made = [member(value, budget) for member in members]
            budget.weigh(made)
            return made

        return several

    def _multi_select_dict(self, node: Node) -> Run:
        members = [(child["value"], self.make(child["children"][0])) for child in node["children"]]

        def named(value: Any, budget: Budget) -> Any:
            if value is None:
                return None
            made = {name: member(value, budget) for name, member in members}
            budget.weigh(made)
            return made

        return named

    def _function_expression(self, node: Node) -> Run:
        name, arguments = node["value"], self._children(node)
        spec = Exact.FUNCTION_TABLE[name]
        function, native = spec["function"], name in _NATIVE
        typed = [(place, one["types"], _at_sight(one["types"])) for place, one in enumerate(spec["signature"]) if one["types"]]

        def call(value: Any, budget: Budget) -> Any:
            given, steps = [], 0
            for argument in arguments:
                one = argument(value, budget)
                given.append(one)
                if isinstance(one, str):
                    steps += 1 + len(one) // _CHARACTERS_PER_STEP
                elif isinstance(one, list | dict):
                    budget.weigh(one)
                else:
                    steps += 1
            budget.spend(steps)
            if native:
                _refuse_floats(name, given)
            for place, types, fit in typed:
                if type(given[place]).__name__ not in fit:
                    _FUNCTIONS._type_check_single(given[place], types, name)  # noqa: SLF001 (as it does for itself)
            return function(_FUNCTIONS, *given)

        return call

    def _expref(self, node: Node) -> Run:
        (inner,), steps = self._children(node), size(node)
        return lambda _, budget: _Expression(inner, steps, budget)

    # --- loops ----------------------------------------------------------------------------------------------------------

    def _flatten(self, node: Node) -> Run:
        (inner,) = self._children(node)

        def flat(value: Any, budget: Budget) -> Any:
            found = inner(value, budget)
            if not isinstance(found, list):
                return None
            merged: list[Any] = []
            for one in found:
                merged.extend(one if isinstance(one, list) else (one,))
            return merged

        return flat

    def _projection(self, node: Node) -> Run:
        (base, body), steps = self._children(node), size(node["children"][1])
        name = node["children"][1]["value"] if node["children"][1]["type"] == "field" else None

        def each(value: Any, budget: Budget) -> Any:
            found = base(value, budget)
            return _projected(found, body, steps, budget) if isinstance(found, list) else None

        def each_field(value: Any, budget: Budget) -> Any:
            found = base(value, budget)
            if not isinstance(found, list):
                return None
            budget.spend(len(found) * steps)
            return [made for one in found if hasattr(one, "get") and (made := one.get(name)) is not None]

        return each if name is None else each_field

    def _value_projection(self, node: Node) -> Run:
        (base, body), steps = self._children(node), size(node["children"][1])

        def each_member(value: Any, budget: Budget) -> Any:
            found = base(value, budget)
            try:
                members = list(found.values())
            except AttributeError:
                return None
            return _projected(members, body, steps, budget)

        return each_member

    def _filter_projection(self, node: Node) -> Run:
        (base, body, test), steps = self._children(node), size(node["children"][1])
        tested = size(node["children"][2])

        def those(value: Any, budget: Budget) -> Any:
            found = base(value, budget)
            if not isinstance(found, list):
                return None
            budget.spend(len(found) * tested)
            return _projected([one for one in found if not _false(test(one, budget))], body, steps, budget)

        return those


def _at_sight(types: list[str]) -> frozenset[str]:
    """Give the Python types that an argument may have whatever is in it; of all others JMESPath says what they are."""
    allowed, inner = _FUNCTIONS._get_allowed_pytypes(types)  # noqa: SLF001 (as it does for itself)
    return frozenset() if inner else frozenset(allowed)


def _projected(elements: list[Any], body: Run, steps: int, budget: Budget) -> list[Any]:
    budget.spend(len(elements) * steps)
    return [made for one in elements if (made := body(one, budget)) is not None]


def _refuse_floats(name: str, arguments: list[Any]) -> None:
    if any(isinstance(one, float) for argument in arguments if isinstance(argument, list) for one in argument):
        raise ValueError(f"{name}() was given a binary fraction, which may have lost cents; numbers must be exact")
