"""Reading JMESPath's syntax tree: back to text, and which paths an expression looks at."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

Node: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str, ...]
"""Names from the root; `[]` stands for any element of a list, `*` for any member of an object."""

_SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "lte": "<=", "gte": ">="}


def dotted(path: Path) -> str:
    """Write a path as people do: `charges[].amount.minor`."""
    return ".".join(path).replace(".[]", "[]")


def _name(name: str) -> str:
    return name if name.replace("_", "a").isalnum() and name.isascii() and not name[:1].isdigit() else json.dumps(name)


def _literal(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else f"`{json.dumps(value, default=str)}`"


def _join(separator: str) -> Callable[[Node, list[str]], str]:
    return lambda _, parts: separator.join(parts)


def _slice(node: Node, _: list[str]) -> str:
    return "[" + ":".join("" if bound is None else str(bound) for bound in node["children"]) + "]"


def _projection(node: Node, parts: list[str]) -> str:
    star = "" if node["children"][0]["type"] == "flatten" else "[*]"
    return parts[0] + star + _after(parts[1])


_WRITE: dict[str, Callable[[Node, list[str]], str]] = {
    "current": lambda _, __: "@",
    "identity": lambda _, __: "",
    "field": lambda node, _: _name(node["value"]),
    "literal": lambda node, _: _literal(node["value"]),
    "index": lambda node, _: f"[{node['value']}]",
    "slice": _slice,
    "subexpression": _join("."),
    "index_expression": _join(""),
    "or_expression": _join(" || "),
    "and_expression": _join(" && "),
    "pipe": _join(" | "),
    "comparator": lambda node, parts: f"{parts[0]} {_SIGNS[node['value']]} {parts[1]}",
    "not_expression": lambda _, parts: f"!({parts[0]})",
    "function_expression": lambda node, parts: f"{node['value']}({', '.join(parts)})",
    "expref": lambda _, parts: "&" + parts[0],
    "projection": _projection,
    "value_projection": lambda _, parts: parts[0] + ".*" + _after(parts[1]),
    "filter_projection": lambda _, parts: f"{parts[0]}[?{parts[2]}]" + _after(parts[1]),
    "flatten": lambda _, parts: parts[0] + "[]",
    "multi_select_list": lambda _, parts: "[" + ", ".join(parts) + "]",
    "multi_select_dict": lambda _, parts: "{" + ", ".join(parts) + "}",
    "key_val_pair": lambda node, parts: f"{_name(node['value'])}: {parts[0]}",
}


def unparse(node: Node) -> str:
    """Write a part of an expression as text, for messages."""
    return _WRITE[node["type"]](node, [unparse(child) for child in node.get("children", ()) if isinstance(child, dict)])


def _after(text: str) -> str:
    return "" if not text else text if text.startswith("[") else "." + text


def exact_literals(node: Any) -> Any:
    """Give the tree with every fractional literal as an exact Decimal. Raises ValueError for NaN and infinities."""
    if isinstance(node, float):
        value = Decimal(repr(node))
        if not value.is_finite():
            raise ValueError(f"{node} is not a number")
        return value
    if isinstance(node, dict):
        return {key: exact_literals(value) for key, value in node.items()}
    if isinstance(node, list):
        return [exact_literals(value) for value in node]
    return node


def plain_path(node: Node) -> Path | None:
    """Give the names of a plain dotted identifier such as `deal.value.amount`, None for anything else."""
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return None
    names: Path = ()
    for child in node["children"]:
        here = plain_path(child)
        if here is None:
            return None
        names += here
    return names


class Trace:
    """Which paths from the root an expression reads, and which paths it compares with which literals."""

    def __init__(self, node: Node) -> None:
        self._paths: dict[Path, None] = {}
        self.comparisons: list[tuple[Path, Any]] = []
        self._use(node, ())
        self.paths: tuple[Path, ...] = tuple(self._paths)

    def _use(self, node: Node, base: Path | None) -> Path | None:
        path = self._follow(node, base)
        if path:
            self._paths[path] = None
        return path

    def _use_all(self, node: Node, base: Path | None) -> None:
        for child in node["children"]:
            self._use(child, base)

    def _follow(self, node: Node, base: Path | None) -> Path | None:
        """Give the path that a node stands for when it is evaluated at `base`; None when it is no path."""
        children = node.get("children", ())
        match node["type"]:
            case "field":
                return None if base is None else (*base, node["value"])
            case "current" | "identity" | "slice":
                return base
            case "index":
                return None if base is None else (*base, "[]")
            case "subexpression" | "index_expression" | "pipe":
                for child in children:
                    if base and child["type"] not in ("field", "index", "slice", "identity", "current"):
                        self._paths[base] = None
                    base = self._follow(child, base)
                return base
            case "flatten":
                return self._follow(children[0], base)
            case "projection" | "value_projection" | "filter_projection":
                return self._project(node, base)
            case _:
                self._look_into(node, base)
        return None

    def _look_into(self, node: Node, base: Path | None) -> None:
        match node["type"]:
            case "comparator":
                self._compare(node["children"][0], node["children"][1], base)
            case "function_expression":
                self._call(node, base)
            case _:
                self._use_all(node, base)

    def _project(self, node: Node, base: Path | None) -> Path | None:
        left, right = node["children"][:2]
        source = self._follow(left, base)
        if source:
            self._paths[source] = None
        step = "*" if node["type"] == "value_projection" else "[]"
        element = None if source is None else (*source, step)
        if node["type"] == "filter_projection":
            self._use(node["children"][2], element)
        return self._follow(right, element)

    def _compare(self, left: Node, right: Node, base: Path | None) -> None:
        paths = self._use(left, base), self._use(right, base)
        for path, other in ((paths[0], right), (paths[1], left)):
            if path and other["type"] == "literal":
                self.comparisons.append((path, other["value"]))

    def _call(self, node: Node, base: Path | None) -> None:
        plain = [child for child in node["children"] if child["type"] != "expref"]
        sources = [self._use(child, base) for child in plain]
        element = (*sources[0], "[]") if sources and sources[0] else None
        for child in node["children"]:
            if child["type"] == "expref":
                self._use(child["children"][0], element)
