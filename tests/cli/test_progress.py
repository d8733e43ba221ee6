"""What takes long says so on the screen of whoever waits, and says nothing where a script reads."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lifecyclehub.cli import progress
from lifecyclehub.cli.app import main
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.sandbox.processes import wait_for
from tests.support.home import make_home
from tests.support.served import tools_beside


class Screen(io.StringIO):
    """A terminal that keeps what is drawn."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Screen]:
    """Let standard error be a terminal from the call on; lines are drawn on it at once."""

    def at_once(show: Callable[[], None]) -> Callable[[], None]:
        show()
        return lambda: None

    def watch() -> Screen:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setattr(progress, "_later", at_once)
        screen = Screen()
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return watch


def crm_at(home: Path, tool: HubSpotTool, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [word for name, value in tool.settings().items() for word in ("--set", f"{name}={value}")]
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{tool.credentials['token']}\n"))
    assert main(["--home", str(home), "connections", "add", "crm", "hubspot", *words]) == 0


def test_a_line_says_what_is_done_and_how_far_where_a_total_is_known(watched: Callable[[], Screen]) -> None:
    screen = watched()
    with progress.doing("Counting sheep", 7) as line:
        line.at(3)
        line.now("Counting goats")
    drawn = screen.getvalue()
    assert "Counting sheep" in drawn
    assert "Counting goats" in drawn
    assert "3/7" in drawn
    with progress.doing("Looking about"):
        pass
    assert "/" not in screen.getvalue().removeprefix(drawn).partition("Looking about")[2].partition("\n")[0]


def test_what_is_done_within_something_else_draws_no_second_line(watched: Callable[[], Screen]) -> None:
    screen = watched()
    with progress.doing("Outer"), progress.doing("Inner", 3) as line:
        line.one_more()
    assert "Inner" not in screen.getvalue()
    with progress.doing("After"):
        pass
    assert "After" in screen.getvalue()


def test_what_is_over_at_once_draws_nothing_and_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Screen())
    shown: list[progress.Doing] = []
    monkeypatch.setattr(progress.Doing, "show", shown.append)
    with progress.doing("Quick"):
        pass
    assert shown == []
    assert isinstance(sys.stderr, Screen)
    assert sys.stderr.getvalue() == ""


def test_a_refusal_is_said_above_the_line_or_plainly(watched: Callable[[], Screen], monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watched()
    with progress.doing("Waiting") as line:
        line.say("Refused [just] now")
    assert "Refused [just] now" in screen.getvalue()
    plain = io.StringIO()
    monkeypatch.setattr(sys, "stderr", plain)
    with progress.doing("Waiting") as line:
        line.say("Refused [just] now")
    assert plain.getvalue() == "Refused [just] now\n"


LONG = {
    "Making the key, the database and the rules": ["init"],
    "Reading the mappings": ["check"],
    "Reading the database": ["effects"],
    "Opening the installation": ["park", "eff_none"],
    "Asking crm": ["connections", "test"],
    "Going on with what waited": ["connections", "resume", "crm"],
    "Opening again what came in": ["replay", "--connection", "crm"],
}


@pytest.mark.parametrize(("what", "words"), LONG.items(), ids=[" ".join(one) for one in LONG.values()])
def test_commands_that_can_take_long_say_what_they_do(
    what: str, words: list[str], watched: Callable[[], Screen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = watched()
    home, tool = make_home(tmp_path).home, HubSpotTool(tmp_path / "tools")
    with tools_beside(tool):
        crm_at(home, tool, monkeypatch)
        assert "Asking HubSpot whether it lets us in" in screen.getvalue()
        screen.truncate(0)
        main(["--home", str(home), *words])
    assert what in screen.getvalue()


@pytest.mark.parametrize("words", [["connections", "test"], ["replay", "--connection", "crm"], ["status"], ["effects"]])
def test_with_json_or_without_a_screen_nothing_is_drawn(
    words: list[str], watched: Callable[[], Screen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = watched()
    home, tool = make_home(tmp_path).home, HubSpotTool(tmp_path / "tools")
    with tools_beside(tool):
        crm_at(home, tool, monkeypatch)
        screen.truncate(0)
        assert main(["--home", str(home), *words, "--json"]) == 0
        assert screen.getvalue().strip("\0") == ""
        file = io.StringIO()
        monkeypatch.setattr(sys, "stderr", file)
        assert main(["--home", str(home), *words]) == 0
        assert file.getvalue() == ""


def test_demo_and_kills_say_what_they_wait_for(watched: Callable[[], Screen]) -> None:
    screen, looks = watched(), iter((None, False, "calm"))
    assert wait_for("quiet", lambda: next(looks), 10) == "calm"
    assert "Waiting for quiet" in screen.getvalue()
