"""What is installed is what is locked, from wherever a machine gets its packages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.architecture.source import ROOT
from tests.mutants.run import read

LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NAMES = set(re.findall(r"^([a-z0-9._-]+)==", LOCK, re.MULTILINE))
HOSTS = re.compile("|".join(("py" + r"pi\.org", "python" + "hosted", "--(extra-)?index" + "-url", "find" + "-links")))
OURS = ("*.toml", "*.md", "*.lock", "*.py", "*.sh", "*.yaml", "*.yml", "*.cfg", "Makefile", ".ci/*")


def files() -> list[Path]:
    kept = [path for pattern in OURS for path in ROOT.rglob(pattern) if path.is_file()]
    hidden = {".venv", ".git", "node_modules", "build", "dist"}
    return [path for path in kept if not hidden & set(path.relative_to(ROOT).parts)]


def test_the_fork_of_httpx_is_not_installed() -> None:
    assert "httpx" in NAMES
    assert "httpx2" not in NAMES


def test_fastapi_comes_without_its_command_line() -> None:
    assert [line for line in PROJECT["dependencies"] if re.match(r"fastapi\s*\[", line)] == []
    assert not {"fastapi-cli", "fastapi-cloud-cli"} & NAMES


def test_everything_that_is_wanted_is_locked_and_everything_locked_has_hashes() -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    plain = {re.split(r"[\[<>=!~; ]", line)[0].lower().replace("_", "-") for line in wanted}
    assert plain <= NAMES
    blocks = re.split(r"\n(?=[a-z0-9])", LOCK.strip())
    assert [block.split("\n")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_there_is_one_lock() -> None:
    assert [path.name for path in (ROOT / "uv.lock", ROOT / "poetry.lock", ROOT / "Pipfile.lock") if path.exists()] == []


def test_no_file_says_where_packages_come_from() -> None:
    assert [str(path.relative_to(ROOT)) for path in files() if HOSTS.search(path.read_text("utf-8", "replace"))] == []


def test_what_mutants_change_still_stands_where_they_look_for_it() -> None:
    assert read()
