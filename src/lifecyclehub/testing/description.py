"""What the kit proves about a connector's description, its README, its quality file and what it imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from lifecyclehub.connector import Connector
from lifecyclehub.registry import problems_of

HEADINGS: Final = (
    "What it does",
    "Connect",
    "Webhooks",
    "Records",
    "Actions",
    "What it writes and who can read it",
    "Limits and quirks",
)
RULES: Final = (
    "signatures",
    "unknown-kinds",
    "records",
    "mappings",
    "actions",
    "find",
    "gone-and-merged",
    "sweep",
    "fields",
    "subscribe",
    "accounts",
    "vendor-spec",
    "permissions",
    "real-account",
)
STATES: Final = ("done", "todo", "exempt")
FLOORS: Final = ("connector", "hookspecs", "signatures", "model", "messages", "errors", "ports", "jsonio")
"""The modules of lifecyclehub that a connector may import."""

# What the core does for a connector, or what would make it answer differently twice.
NOT_ITS_BUSINESS: Final = frozenset(
    (
        "asyncio",
        "http",
        "multiprocessing",
        "os",
        "random",
        "secrets",
        "socket",
        "sqlite3",
        "subprocess",
        "threading",
        "time",
        "uuid",
    )
)


def description_problems(connector: Connector) -> list[str]:
    """Say what is incomplete or contradictory in `About`, beyond what keeps the hub from starting with it."""
    problems = problems_of(connector)
    for kind in connector.about.kinds:
        if kind.fills and kind.poll_s is None:
            problems.append(f"the kind {kind.id} fills {kind.fills}, so it must be found without webhooks too: give poll_s")
        if kind.fills and not kind.label:
            problems.append(f"the kind {kind.id} has no label for people")
    for door in connector.about.doors:
        if door.setup == "by_hand" and not door.secret:
            problems.append(f"the door {door.name!r} does not say where people find its secret")
    if not connector.about.setup_steps:
        problems.append("there are no setup_steps that tell an admin how to connect")
    return problems


def readme_problems(connector: Connector, root: Path) -> list[str]:
    """Say where README.md departs from the fixed headings, or leaves an action out."""
    file = root / "README.md"
    if not file.is_file():
        return [f"{file} is missing"]
    text = file.read_text("utf-8")
    headings = re.findall(r"^## (.+?)\s*$", text, re.MULTILINE)
    if tuple(headings) != HEADINGS:
        return [f"the headings are {headings}; they must be {list(HEADINGS)}"]
    sections = dict(zip(HEADINGS, re.split(r"^## .+$", text, flags=re.MULTILINE)[1:], strict=True))
    problems = [f"the section {name!r} is empty" for name, body in sections.items() if not body.strip()]
    for action in connector.about.actions:
        lines = [line for line in sections["Actions"].splitlines() if f"`{action.name}`" in line]
        once = type(action.once).__name__
        if not lines:
            problems.append(f"the section 'Actions' does not name `{action.name}`")
        elif not any(once in line for line in lines):
            problems.append(f"the section 'Actions' does not say that `{action.name}` is once by {once}")
    return problems


def read_quality(root: Path) -> dict[str, Any]:
    """Read the rules of quality.toml, none when it is missing or broken."""
    try:
        rules = tomllib.loads((root / "quality.toml").read_text("utf-8")).get("rules", {})
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    return rules if isinstance(rules, dict) else {}


def quality_problems(root: Path) -> list[str]:
    """Say where quality.toml leaves a rule out, or does not say why one is not done."""
    file = root / "quality.toml"
    try:
        found = tomllib.loads(file.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        return [f"{file}: {error}"]
    rules = found.get("rules", {})
    problems = [] if found.get("format") == 1 else ["format must be 1"]
    problems += [f"the rule {name} is missing" for name in RULES if name not in rules]
    problems += [f"there is no rule {name}; there are {', '.join(RULES)}" for name in rules if name not in RULES]
    for name, rule in rules.items():
        if not isinstance(rule, dict) or rule.get("state") not in STATES:
            problems.append(f"rules.{name}: state must be one of {', '.join(STATES)}")
        elif rule["state"] != "done" and not str(rule.get("why", "")).strip():
            problems.append(f"rules.{name} is {rule['state']}: say why")
    return problems


def import_problems(package: Path, allowed: Iterable[str]) -> list[str]:
    """Say what a connector's package imports beyond the words and the contract."""
    fine = {package.name, *allowed}
    problems = []
    for file in sorted(package.rglob("*.py")):
        for line, name in _imported(ast.parse(file.read_text("utf-8"))):
            top, _, rest = name.partition(".")
            where = f"{file.relative_to(package.parent)}:{line}"
            if top == "lifecyclehub":
                if rest.partition(".")[0] not in FLOORS:
                    problems.append(f"{where}: imports {name}; a connector may import lifecyclehub's {', '.join(FLOORS)}")
            elif top in NOT_ITS_BUSINESS:
                problems.append(f"{where}: imports {name}; what waits, sends, draws lots or looks at the clock is the core's")
            elif top not in fine and top not in sys.stdlib_module_names:
                problems.append(f"{where}: imports {name}, which a connector may not")
    return problems


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "lifecyclehub":
                yield from ((node.lineno, f"lifecyclehub.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def state_problems(connector: Connector) -> list[str]:
    """Say what state a connector keeps: one instance serves all connections, so it must have none."""
    holders = (connector, *connector.about.actions)
    return [
        f"{type(one).__name__} keeps {sorted(vars(one))}; instances are stateless"
        for one in holders
        if getattr(one, "__dict__", None)
    ]
