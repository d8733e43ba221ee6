"""Each command loads what it needs: most are over before the network's and the web's libraries would be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from lifecyclehub.cli.app import app
from lifecyclehub.cli.lazily import loaded
from tests.support.home import make_home

SERVER = ("fastapi", "uvicorn", "starlette", "apscheduler", "alembic", "lifecyclehub.web", "lifecyclehub.sandbox")
NETWORK = ("httpx", "aiohttp", "tenacity", "lifecyclehub.hub", "lifecyclehub.vendor.client", "lifecyclehub.intake")
STORE = ("sqlalchemy", "jmespath", "rich", "asyncio", "lifecyclehub.registry")
# In one process, one after the other: what a command loads is still there for those after it.
LIGHT = (
    (("--help", "--version", "connections --help"), (*SERVER, *NETWORK, *STORE)),
    (("tokens list", "deliveries", "effects", "clients", "engagements"), (*SERVER, *NETWORK, "lifecyclehub.registry")),
    (("connections list", "mappings show", "handoffs list", "status", "check"), (*SERVER, *NETWORK)),
)
_ASK = """
import json, sys
from lifecyclehub.__main__ import main
home, *asked = sys.argv[1:]
codes = []
for words in asked:
    sys.argv[1:] = [*words.split(), "--home", home]
    codes.append(main())
print("\\n" + json.dumps([codes, sorted(name for name, module in sys.modules.items() if module is not None)]))
"""


def modules_after(home: str, asked: Sequence[str]) -> list[str]:
    """Run commands in a new process, one after the other; give what is loaded in the end."""
    ended = subprocess.run([sys.executable, "-c", _ASK, home, *asked], capture_output=True, text=True, check=True)
    codes, modules = json.loads(ended.stdout.splitlines()[-1])
    assert codes == [0] * len(asked), ended.stdout + ended.stderr
    assert "typer" in modules
    found: list[str] = modules
    return found


def those_of(modules: Sequence[str], *heavy: str) -> list[str]:
    return [one for one in modules if f"{one}.".startswith(tuple(f"{name}." for name in heavy))]


def test_light_commands_load_nothing_heavy(tmp_path: Path) -> None:
    home, asked, heavy_loaded = str(make_home(tmp_path).home), [], {}
    for words, heavy in LIGHT:
        asked += words
        heavy_loaded[words] = those_of(modules_after(home, asked), *heavy)
    assert heavy_loaded == {words: [] for words, _ in LIGHT}


def test_a_command_that_opens_the_installation_loads_neither_the_server_nor_another_command_line(tmp_path: Path) -> None:
    modules = modules_after(str(make_home(tmp_path).home), ["handoffs set won-deal-starts-delivery off"])
    assert {"httpx", "lifecyclehub.hub"} <= set(modules)
    assert those_of(modules, "fastapi", "uvicorn", "alembic", "lifecyclehub.web", "httpx._main", "click", "pygments") == []


def listed(group: Any = None, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, one in (group or get_command(app)).commands.items():
        if hasattr(one, "commands"):
            yield from listed(one, f"{before}{name} ")
        else:
            yield f"{before}{name}", one


@pytest.mark.parametrize(("words", "one"), list(listed()), ids=[words for words, _ in listed()])
def test_the_list_of_commands_says_what_each_command_says_itself(words: str, one: Any) -> None:
    itself = loaded(one)
    assert (itself.name, itself.get_short_help_str(999)) == (words.rpartition(" ")[2], one.get_short_help_str(999))
    assert not itself.hidden
