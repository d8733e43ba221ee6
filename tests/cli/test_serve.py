"""`serve` as a process: its port, its refusals, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from lifecyclehub.__main__ import _first_word
from lifecyclehub.cli import serve
from lifecyclehub.settings import read_settings
from lifecyclehub.store import tables
from lifecyclehub.store.database import open_engine
from tests.support.home import make_home

SERVE = (sys.executable, "-m", "lifecyclehub", "serve")


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "LIFECYCLEHUB_HOME": str(home)}


@contextmanager
def serving(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the server and give it with the address that it says."""
    process = subprocess.Popen(
        [*SERVE, *options], env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert " runs at http://127.0.0.1:" in first, first + (process.stderr.read() if process.stderr else "")
        yield process, first.rpartition(" ")[2].strip()
    finally:
        process.kill()
        process.communicate(timeout=20)


def refused_as_process(home: Path) -> str:
    """Run `serve` as a process where it must refuse once it has begun to start; give what it says."""
    ended = subprocess.run(SERVE, env=environment(home), capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert ended.stderr.startswith("Error: "), ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run `serve` where it must refuse before it starts anything; give what it says."""

    def run(home: Path, *options: str) -> str:
        monkeypatch.setenv("LIFECYCLEHUB_HOME", str(home))
        monkeypatch.setattr(serve, "_serve", lambda *_: pytest.fail("it began to serve"))
        capsys.readouterr()
        assert serve.main(options) == 2
        said = capsys.readouterr().err
        assert said.startswith("Error: "), said
        return said

    return run


def test_the_port_is_kept_a_second_hub_is_refused_and_sigterm_ends_it_cleanly(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    home = make_home(tmp_path).home
    with socket.socket() as free:  # 8470 may be anybody's
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(home, "--port", str(port)) as (process, url):
        assert url == f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert f"another hub is running on this home (process {process.pid})" in refused(home)
        process.send_signal(signal.SIGTERM)
        said, complained = process.communicate(timeout=40)
    assert (process.returncode, complained) == (0, "")
    assert said.endswith("lifecyclehub has stopped.\n")
    assert read_settings(home, {}).port == port
    with serving(home) as (_, again):
        assert again == url


def test_where_the_usual_port_is_taken_the_next_free_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_home(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        usual = taken.getsockname()[1]
        monkeypatch.setattr(serve, "DEFAULT_PORT", usual)
        with serve._bind(settings, None) as listener:
            port = listener.getsockname()[1]
    assert usual < port < usual + 100
    assert read_settings(settings.home, {}).port == port


def test_a_kept_port_that_another_program_took_is_not_changed_silently(tmp_path: Path, refused: Callable[..., str]) -> None:
    home = make_home(tmp_path).home
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (home / "hub.toml").write_text(f"port = {port}\n", "utf-8")
        assert f"the port {port} is taken" in refused(home)
    assert f"the port {port} is kept already, and 9 was asked for" in refused(home, "--port", "9")


@pytest.mark.parametrize("host", ["::", "192.0.2.1", "example.com"])
def test_other_machines_reach_the_hub_only_through_a_declared_proxy(
    tmp_path: Path, host: str, refused: Callable[..., str]
) -> None:
    home = make_home(tmp_path).home
    assert "can be reached from other machines" in refused(home, "--host", host)
    assert "must know the address that vendors call" in refused(home, "--host", host, "--behind-proxy")
    assert read_settings(home, {}).port is None


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "lifecyclehub init" in refused(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_without_a_set_that_was_applied_nothing_is_served(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    engine = open_engine(settings.database)
    with engine.begin() as conn:
        conn.execute(update(tables.installation).values(applied_set=None))
    engine.dispose()
    assert "no rules have been applied yet" in refused_as_process(settings.home)


def test_a_lost_key_is_told(tmp_path: Path) -> None:
    home = make_home(tmp_path).home
    (home / "key").unlink()
    assert "there is no key" in refused_as_process(home)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["serve"], "serve"),
        (["--home", "serve", "status"], "status"),
        (["--home=x", "serve"], "serve"),
        ([], None),
        (["--help"], None),
    ],
)
def test_serve_is_known_wherever_it_stands(arguments: list[str], word: str | None) -> None:
    assert _first_word(arguments) == word
