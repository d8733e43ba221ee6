"""The source as the architecture's tests look at it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "lifecyclehub"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def modules(below: Path = SOURCE) -> list[Path]:
    return sorted(below.rglob("*.py"))


def place(path: Path) -> str:
    """The module's name below lifecyclehub, such as `store.tables`."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def imported(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module, and every name from a module, that is imported: line and dotted name."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            yield from ((inner.lineno, alias.name) for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom) and inner.module:
            yield from ((inner.lineno, f"{inner.module}.{alias.name}") for alias in inner.names)


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an attribute chain, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""
