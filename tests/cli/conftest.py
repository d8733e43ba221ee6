"""A home of a test's own, and commands typed in it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecyclehub.cli.app import main
from lifecyclehub.sandbox.hubspot import HubSpotTool
from tests.support.home import make_home
from tests.support.served import tools_beside
from tests.support.typed import Ended, Run


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a home of this test's own; `typed` is its standard input."""

    def run_it(*arguments: str, typed: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        code = main([*arguments, "--home", str(tmp_path / "home")])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Ended(code, said.out, said.err)

    return run_it


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path).home


@pytest.fixture
def crm(tmp_path: Path) -> Iterator[HubSpotTool]:
    tool = HubSpotTool(tmp_path / "tools")
    with tools_beside(tool):
        yield tool
