"""Imports point down only. import-linter holds the floors of the hub; here are the plugins, which it cannot see."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lifecyclehub.testing.description import FLOORS, import_problems
from tests.architecture.source import ROOT, SOURCE, imported, modules, place, tree

PACKAGES = sorted(path.parent for path in (ROOT / "plugins").glob("*/lifecyclehub_*/__init__.py"))
ANNEX = ("lifecyclehub.testing", "lifecyclehub.sandbox")


@pytest.mark.skipif(not PACKAGES, reason="there are no plugins yet")
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_connector_imports_only_the_words_and_the_contract(package: Path) -> None:
    assert import_problems(package, ("pydantic",)) == []


@pytest.mark.parametrize("path", modules(), ids=place)
def test_nothing_imports_the_annexes(path: Path) -> None:
    if place(path).partition(".")[0] not in ("testing", "sandbox"):
        assert [
            (line, name) for line, name in imported(tree(path)) if f"{name}.".startswith(tuple(f"{one}." for one in ANNEX))
        ] == []


def test_every_module_stands_on_a_floor_that_is_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(one for one in contracts if one["type"] == "layers")
    assert layers["exhaustive"] is True
    floors = [[name.strip(" ()") for name in layer.split(":")] for layer in layers["layers"]]
    files = {path.stem for path in SOURCE.glob("*.py")}
    present = files | {path.parent.name for path in SOURCE.glob("*/*.py")}
    assert present - {"__init__"} <= {name for floor in floors for name in floor}
    lowest = {name for floor in floors[-1:] for name in floor} | {
        name for floor in floors if "connector" in floor for name in floor
    }
    assert lowest == set(FLOORS)


def test_the_floors_would_notice_an_import_upwards(tmp_path: Path) -> None:
    package = tmp_path / "lifecyclehub"
    for name in ("model", "hub"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "model" / "__init__.py").write_text("import lifecyclehub.hub\n")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"))
    for annex in ("testing", "sandbox", "torture"):
        (package / annex).mkdir()
        (package / annex / "__init__.py").write_text("")
    program = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "lifecyclehub.model -> lifecyclehub.hub" in done.stdout
