"""Habits that keep the source testable and readable."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, dotted, imported, modules, place, tree

MOST_LINES = 400
LONGER = {"store.tables": "the whole schema in one place: a list that one looks things up in"}

# Time, waiting and randomness are ports, so that tests and simulations can give their own.
NOT_REPEATABLE = re.compile(
    r"time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns|sleep|localtime|gmtime)"
    r"|(datetime\.)?datetime\.(now|utcnow|today)|(datetime\.)?date\.today"
    r"|random\.\w+|secrets\.(token_\w+|choice|randbelow|randbits|SystemRandom)|os\.urandom|uuid\.uuid[1-7]|asyncio\.sleep|anyio\.sleep"
)
MAY_BE_UNREPEATABLE = {
    "ports": "it is the port",
    "web": "a door",
    "cli": "a door",
    "__main__": "a door",
    "sandbox": "simulated tools live by the real clock",
    "testing": "runs inside pytest",
    "torture": "its loop's time is virtual, its chances are drawn from seeds",
    "vault": "keys and nonces must come from the machine",
}
PRINTS = {"cli": "a command line prints", "sandbox": "it narrates", "testing": "its command line prints", "torture": "the same"}


def within(module: str, places: dict[str, str]) -> bool:
    return module.partition(".")[0] in places


def unrepeatable(node: ast.AST) -> Iterator[tuple[int, str]]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute | ast.Name) and NOT_REPEATABLE.fullmatch(dotted(inner)):
            yield inner.lineno, dotted(inner)
    for line, name in imported(node):
        if NOT_REPEATABLE.fullmatch(name):
            yield line, name


@pytest.mark.parametrize("path", modules(), ids=place)
def test_time_waiting_and_randomness_come_from_the_ports(path: Path) -> None:
    module = place(path)
    if not within(module, MAY_BE_UNREPEATABLE):
        source = path.read_text("utf-8").splitlines()
        # Sleeping for nothing only lets others run.
        found = [(line, name) for line, name in unrepeatable(tree(path)) if f"{name}(0)" not in source[line - 1]]
        assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "time.time()",
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "from random import uniform",
        "uuid.uuid4()",
        "f(clock=time.monotonic)",
    ],
)
def test_a_direct_look_at_the_clock_would_be_found(line: str) -> None:
    assert list(unrepeatable(ast.parse(line))) != []


# How long `==` takes tells how much of a guess is right; `hmac.compare_digest` takes as long for every guess.
TELLING = re.compile(r"(.*_)?(digest|mac|hmac|secret|presented|password|access_token)s?")
MAY_COMPARE = ("sandbox", "torture")  # simulated tools; nobody gains by guessing them


def told_by_time(node: ast.AST) -> Iterator[tuple[int, str]]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in inner.ops):
            for side in (inner.left, *inner.comparators):
                named = side.func if isinstance(side, ast.Call) else side
                if isinstance(named, ast.Attribute | ast.Name) and TELLING.fullmatch(dotted(named).rpartition(".")[2]):
                    yield inner.lineno, dotted(named)


@pytest.mark.parametrize("path", modules(), ids=place)
def test_nothing_that_can_be_guessed_is_compared_with_an_ordinary_equals(path: Path) -> None:
    assert place(path).startswith(MAY_COMPARE) or list(told_by_time(tree(path))) == []


@pytest.mark.parametrize("line", ["if digest == wanted: pass", "ok = given != self.secret", "h.digest() == x"])
def test_a_comparison_that_tells_by_its_time_would_be_found(line: str) -> None:
    assert list(told_by_time(ast.parse(line))) != []


@pytest.mark.parametrize("path", modules(), ids=place)
def test_only_doors_and_the_sandbox_print(path: Path) -> None:
    if not within(place(path), PRINTS):
        calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        assert [call.lineno for call in calls if dotted(call.func) in ("print", "rich.print")] == []


@pytest.mark.parametrize("path", modules(), ids=place)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    # A migration is a list of statements, written once and never edited.
    excused = place(path) in LONGER or "migrations.versions" in place(path)
    assert excused or len(path.read_text("utf-8").splitlines()) <= MOST_LINES


def test_no_file_is_excused_that_need_not_be() -> None:
    long = {place(path) for path in modules() if len(path.read_text("utf-8").splitlines()) > MOST_LINES}
    assert set(LONGER) <= long


@pytest.mark.parametrize("path", modules(ROOT / "src") + modules(ROOT / "plugins"), ids=lambda path: path.stem)
def test_nothing_is_left_unfinished(path: Path) -> None:
    text = path.read_text("utf-8")
    comments = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT]
    assert [token.start for token in comments if re.search(r"\b(?:TODO|FIXME|XXX|HACK)\b", token.string)] == []
    raised = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Raise) and node.exc]
    assert [node.lineno for node in raised if "NotImplementedError" in ast.dump(node)] == []
