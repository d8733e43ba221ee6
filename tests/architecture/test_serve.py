"""What the server needs is all that it loads: idle memory and cold start are counted."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import SOURCE

NOT_NEEDED = (
    "typer",
    "rich",
    "alembic.command",
    "alembic.config",
    "pydantic.v1.main",
    "sqlalchemy.dialects.postgresql",  # the home of this test has the embedded store
    "lifecyclehub.sandbox",
    "lifecyclehub.testing",
)
QUIET_S = 2.0


def imports_while_serving(home: Path) -> set[str]:
    """Start the server in a fresh home and give every module that it loads until it has nothing more to load."""
    environment = {**os.environ, "LIFECYCLEHUB_HOME": str(home)}
    program = [sys.executable, "-X", "importtime", "-m", "lifecyclehub"]
    made = subprocess.run(
        [*program[:1], "-m", "lifecyclehub", "init"], env=environment, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    process = subprocess.Popen([*program, "serve"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        said = b""
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stderr, selectors.EVENT_READ)
            while waiting.select(QUIET_S):
                piece = os.read(process.stderr.fileno(), 65536)
                assert piece, f"the server ended: {said[-2000:].decode(errors='replace')}"
                said += piece
    finally:
        process.terminate()
        process.communicate(timeout=20)
    lines = [line for line in said.decode(errors="replace").splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


if (SOURCE / "__main__.py").exists():

    def test_serve_loads_neither_the_command_line_nor_the_sandbox(tmp_path: Path) -> None:
        loaded = imports_while_serving(tmp_path / "home")
        assert {"uvicorn", "lifecyclehub.hub"} <= loaded
        assert [name for name in sorted(loaded) if f"{name}.".startswith(tuple(f"{one}." for one in NOT_NEEDED))] == []


def test_a_server_that_ends_at_once_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lifecyclehub"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="the server ended"):
        imports_while_serving(tmp_path / "home")
