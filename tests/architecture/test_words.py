"""One word per idea: the retired ones are no names in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.architecture.source import SOURCE, dotted, modules, place, tree

RETIRED = {"job", "command", "inbox", "outbox", "generation", "tenant", "task"}
RETIRED_PAIRS = {("dead", "letter"), ("settle", "time")}
ALLOWED = {
    "connector.roles": {"task": "a project tool's own task"},
    # Simulated tools speak their vendors' words: Asana's jobs and tasks, HubSpot's tasks, Xero's tenants.
    "sandbox": {"task": "a vendor's word", "job": "a vendor's word", "tenant": "a vendor's word"},
    "torture": {"task": "asyncio's word, and a project tool's own", "job": "a vendor's word"},
}


def words(name: str) -> list[str]:
    """`CreateCrmTasks` and `create_crm_task` are the same three words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return [word.removesuffix("s") for word in re.split(r"[^a-z0-9]+", spaced) if word]


def retired_in(name: str) -> set[str]:
    found = words(name)
    return RETIRED & set(found) | {f"{a} {b}" for a, b in pairwise(found) if (a, b) in RETIRED_PAIRS}


def names(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that a module gives: to classes, functions, arguments, variables, attributes, tables and columns."""
    for inner in ast.walk(node):
        match inner:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield inner.lineno, name
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield inner.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield inner.lineno, name
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if re.fullmatch(
                r"(.*\.)?(Table|Column|Index|create_table|add_column|mapped_column)", dotted(function)
            ):
                yield inner.lineno, name


def allowed(module: str, word: str) -> bool:
    return any(word in words for start, words in ALLOWED.items() if module == start or module.startswith(f"{start}."))


def offences(module: str, node: ast.AST) -> list[str]:
    found = [(1, module.rpartition(".")[2]), *names(node)]
    return [f"{module}:{line} {name}" for line, name in found for word in retired_in(name) if not allowed(module, word)]


@pytest.mark.parametrize("path", modules(), ids=place)
def test_a_retired_word_is_no_name(path: Path) -> None:
    assert offences(place(path), tree(path)) == []


@pytest.mark.parametrize(
    "line",
    [
        "class OutboxWriter: ...",
        "def run_jobs(): ...",
        "async def f(*, tenant_id): ...",
        "for task in tasks: ...",
        "self.deadLetters = []",
        "import alembic.command as command",
        "table = Table('inbox', metadata)",
        "Column('settle_time', Integer)",
    ],
)
def test_a_retired_word_would_be_found(line: str) -> None:
    assert offences("store.tables", ast.parse(line)) != []


def test_other_peoples_words_are_fine() -> None:
    line = "asyncio.create_task(run()); app.command()(f); call('/jobs'); commander = taskbar = inboxes_of = 1"
    assert offences("store.tables", ast.parse(line.replace("inboxes_of", "boxes"))) == []
    assert offences("connector.roles", ast.parse("class CreateTask: ...")) == []
    assert SOURCE.is_dir()
