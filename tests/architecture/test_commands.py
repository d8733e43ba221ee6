"""Each command loads what it needs: most are over before the network's and the web's libraries would be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
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
from lifecyclehub.cli.app import main
home, *asked = sys.argv[1:]
codes = [main([*words.split(), "--home", home]) for words in asked]
print("\\n" + json.dumps([codes, sorted(sys.modules)]))
"""


def test_light_commands_load_nothing_heavy(tmp_path: Path) -> None:
    home, asked, heavy_loaded = str(make_home(tmp_path).home), [], {}
    for words, heavy in LIGHT:
        asked += words
        ended = subprocess.run([sys.executable, "-c", _ASK, home, *asked], capture_output=True, text=True, check=True)
        codes, modules = json.loads(ended.stdout.splitlines()[-1])
        assert codes == [0] * len(asked), ended.stdout + ended.stderr
        assert "typer" in modules
        heavy_loaded[words] = [one for one in modules if f"{one}.".startswith(tuple(f"{name}." for name in heavy))]
    assert heavy_loaded == {words: [] for words, _ in LIGHT}


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
