"""Commands as people and scripts use them: what they print, what they refuse, and the code they end with."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.cli.app import main
from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.hubspot import HubSpotTool
from tests.support.home import make_home
from tests.support.served import tools_beside

Run = Callable[..., "Ended"]
WON = "won-deal-starts-delivery"


class Ended:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def json(self) -> Any:
        return json.loads(self.out)


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


def settings(tool: Any) -> list[str]:
    return [word for name, value in tool.settings().items() for word in ("--set", f"{name}={value}")]


def add(run: Run, tool: HubSpotTool, name: str = "crm", *more: str) -> Ended:
    return run("connections", "add", name, "hubspot", *settings(tool), *more, typed=f"{tool.credentials['token']}\n")


# --- getting going ----------------------------------------------------------------------------------------------------


def test_init_makes_a_home_shows_its_token_once_and_may_be_repeated(run: Run, tmp_path: Path) -> None:
    first = run("init", "--timezone", "Europe/Vienna", "--public-url", "https://hub.example.com/")
    assert first.code == 0
    token = next(word for word in first.out.split() if word.startswith("lch_"))
    key = (tmp_path / "home" / "key").read_bytes()
    handoffs = tmp_path / "home" / "mappings" / "handoffs.toml"
    handoffs.write_text(handoffs.read_text("utf-8") + "\n# mine\n", "utf-8")
    second = run("init")
    assert second.code == 0
    assert "Already there" in second.out
    assert "lch_" not in second.out
    assert (tmp_path / "home" / "key").read_bytes() == key
    assert handoffs.read_text("utf-8").endswith("# mine\n")
    assert [one["name"] for one in run("tokens", "list", "--json").json()] == ["first"]
    assert token not in run("tokens", "list", "--json").out
    assert 'timezone = "Europe/Vienna"' in (tmp_path / "home" / "hub.toml").read_text("utf-8")


@pytest.mark.parametrize("wrong", [("--timezone", "Mars/Olympus"), ("--public-url", "hub.example.com")])
def test_init_refuses_settings_that_are_none_and_makes_nothing(run: Run, tmp_path: Path, wrong: tuple[str, str]) -> None:
    ended = run("init", *wrong)
    assert ended.code == 2
    assert wrong[1] in ended.err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("check",),
        ("effects",),
        ("connections", "list"),
        ("mappings", "check"),
        ("handoffs", "list"),
        ("explain", "x"),
    ],
)
def test_without_a_home_every_command_says_how_to_make_one(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert ended.code == 2
    assert ended.err.startswith("Error: there is no installation here.")
    assert "lifecyclehub init" in ended.err
    assert not (tmp_path / "home").exists()


def test_a_token_is_shown_once_and_serves_no_more_once_revoked(run: Run, home: Path) -> None:
    made = run("tokens", "make", "pages")
    assert made.out.startswith("lch_")
    assert run("tokens", "make", "pages").code == 2
    assert run("tokens", "revoke", "page").code == 3
    assert run("tokens", "revoke", "pages").code == 0
    assert [one["name"] for one in run("tokens", "list", "--json").json()] == ["first"]


# --- connections ------------------------------------------------------------------------------------------------------


def test_an_account_is_connected_with_a_secret_from_standard_input(run: Run, home: Path, crm: HubSpotTool) -> None:
    ended = add(run, crm)
    assert ended.code == 0
    assert f"account {crm.account_id}, EUR" in ended.out
    assert crm.credentials["token"] not in ended.out + ended.err
    (listed,) = run("connections", "list", "--json").json()
    assert (listed["name"], listed["roles"], listed["state"]) == ("crm", ["crm"], "active")
    assert crm.credentials["token"] not in json.dumps(listed)
    assert "not subscribed yet" in run("connections", "list").out
    assert run("connections", "test").code == 0
    assert run("connections", "test", "cmr").code == 3


@pytest.mark.parametrize(
    "words",
    [
        ("pat-eu1-canary",),
        ("--token", "pat-eu1-canary"),
        ("--secret=pat-eu1-canary",),
        ("--set", "token=pat-eu1-canary"),
        ("--set", "pat-eu1-canary"),
    ],
)
def test_a_secret_as_an_argument_is_refused_and_not_repeated(run: Run, home: Path, words: tuple[str, ...]) -> None:
    ended = run("connections", "add", "crm", "hubspot", *words, typed="x\n")
    assert ended.code == 2
    assert "pat-eu1-canary" not in ended.out + ended.err
    assert run("connections", "list", "--json").json() == []


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (("hubspt",), "x\n", "Installed: asana, hubspot, xero, zendesk"),
        (("asana",), "x\n", "Choose one: token"),
        (("zendesk",), "a\nb\n", "the setting subdomain (Subdomain) is missing"),
        (("zendesk", "--set", "subdomain=northwind"), "a\n", "client_secret is missing: standard input has ended"),
        (("hubspot", "--set", "ui_domain"), "x\n", "has no name and value"),
        (("hubspot", "--set", "poll_s=1", "--set", "poll_s=2"), "x\n", "is given twice"),
        (("hubspot", "--role", "helpdesk"), "x\n", "cannot play the role 'helpdesk'"),
        (("hubspot", "--no-listen"), "x\n", "neither listen nor poll"),
    ],
)
def test_a_connection_that_cannot_be_is_refused_with_how_to_mend_it(
    run: Run, home: Path, words: tuple[str, ...], typed: str, said: str
) -> None:
    ended = run("connections", "add", "crm", *words, typed=typed)
    assert ended.code == 2
    assert ended.err.startswith("Error: ")
    assert said in ended.err
    assert run("connections", "list", "--json").json() == []


def test_wrong_credentials_are_the_admins_to_mend(run: Run, home: Path, crm: HubSpotTool) -> None:
    ended = run("connections", "add", "crm", "hubspot", *settings(crm), typed="wrong-canary\n")
    assert ended.code == 2
    assert "does not accept these credentials" in ended.err
    assert "wrong-canary" not in ended.err
    assert run("connections", "list", "--json").json() == []


def test_steps_by_hand_are_printed_with_the_address_and_the_secret_is_read(run: Run, home: Path, crm: HubSpotTool) -> None:
    add(run, crm)
    assert run("connections", "subscribe", "crm", typed="s\n").code == 2  # the hub has no port yet
    (home / "hub.toml").write_text("port = 8470\n", "utf-8")
    ended = run("connections", "subscribe", "crm", "--wait", "0", typed="signing-canary\n")
    assert ended.code == 0
    (endpoint,) = run("connections", "list", "--json").json()[0]["endpoints"]
    assert f"http://127.0.0.1:8470/hooks/{endpoint['id']}" in ended.out
    assert "the hub is not running" in ended.err
    assert "signing-canary" not in ended.out + ended.err
    again = run("connections", "subscribe", "crm", "--wait", "1")  # the secret is known: nothing is read
    assert again.code == 1
    assert "Nothing valid came within 1 s" in again.err


def test_a_tool_that_makes_its_hook_itself_must_reach_the_hub(run: Run, home: Path, tmp_path: Path) -> None:
    tool = AsanaTool(tmp_path / "tools")
    with tools_beside(tool):
        typed = f"{tool.credentials['token']}\n"
        assert run("connections", "add", "work", "asana", "--auth", "token", *settings(tool), typed=typed).code == 0
        (home / "hub.toml").write_text("port = 9\n", "utf-8")
        ended = run("connections", "subscribe", "work")
    assert ended.code == 2
    assert "reaches this hub" in ended.err


def test_a_paused_connection_goes_on_and_takes_new_credentials(run: Run, home: Path, crm: HubSpotTool) -> None:
    add(run, crm)
    assert run("connections", "pause", "crm").code == 0
    assert run("connections", "list", "--json").json()[0]["state"] == "paused"
    assert "paused" in run("connections", "test", "crm").out
    checked = run("check")
    assert checked.code == 1
    assert "lifecyclehub connections resume crm" in checked.out
    assert run("connections", "resume", "crm").code == 0
    assert run("connections", "reauthorize", "crm", typed="wrong\n").code == 2
    assert run("connections", "reauthorize", "crm", typed=f"{crm.credentials['token']}\n").code == 0
    assert run("connections", "reauthorize", "crm", "--token", "canary", typed="x\n").code == 2


def test_a_connection_can_be_stopped_also_while_the_mappings_are_broken(run: Run, home: Path, crm: HubSpotTool) -> None:
    add(run, crm)
    (home / "mappings" / "handoffs.toml").write_text("[[handoff]\n", "utf-8")
    assert run("connections", "pause", "crm").code == 0
    assert run("connections", "list", "--json").json()[0]["state"] == "paused"
    assert run("connections", "pause", "cmr").code == 3


def test_about_shows_steps_ways_in_and_settings_without_a_home(run: Run) -> None:
    shown = run("connections", "about", "zendesk").out
    assert "client_id, client_secret" in shown
    assert "subdomain *" in shown


# --- rules ------------------------------------------------------------------------------------------------------------


def test_a_handoff_is_switched_by_a_named_person(run: Run, home: Path) -> None:
    ended = run("handoffs", "set", WON, "on", "--from", "2026-03-01", "--who", "kim", "--json")
    assert ended.code == 0
    (one,) = ended.json()
    assert (one["state"], one["go_live"], one["who"]) == ("on", "2026-03-01T00:00:00Z", "kim")
    assert {row["id"]: row["state"] for row in run("handoffs", "list", "--json").json()}[WON] == "on"
    assert "never switched" in run("handoffs", "list").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((WON, "shadow"), 2, "comes in a later version"),
        ((WON, "sometimes"), 2, "a handoff is never 'sometimes'"),
        (("won-deal", "on"), 3, f"Did you mean {WON}?"),
        ((WON, "on", "--from", "yesterday"), 2, "is no date or time"),
        ((WON, "off", "--from", "2026-03-01"), 2, "belongs to switching on"),
    ],
)
def test_a_switch_that_is_none_is_refused(run: Run, home: Path, words: tuple[str, ...], code: int, said: str) -> None:
    ended = run("handoffs", "set", *words)
    assert (ended.code, said in ended.err) == (code, True)


def test_a_typo_in_a_mapping_is_told_with_its_place_and_stops_no_other_command(run: Run, home: Path) -> None:
    file = home / "mappings" / "hubspot" / "deal.toml"
    file.parent.mkdir()
    file.write_text('format = 1\nrecord = "hubspot.deal"\n[fields]\n"deal.titel" = { from = "properties.dealname" }\n', "utf-8")
    ended = run("mappings", "check")
    assert ended.code == 2
    assert "mappings/hubspot/deal.toml" in ended.err
    assert "Did you mean deal.title?" in ended.err
    assert run("mappings", "apply").code == 2
    assert run("status", "--strict").code == 1
    assert run("deliveries").code == 0
    file.unlink()
    assert run("mappings", "check").code == 0
    assert run("mappings", "apply").code == 0


def test_the_sum_of_mappings_names_files(run: Run, home: Path) -> None:
    lines = run("mappings", "show", "hubspot", "--json").json()
    assert {one["file"] for one in lines if one["path"] == "deal.status"} == {"mappings/hubspot/deal.toml (default)"}
    assert "mappings/hubspot/deal.toml (default)" in run("mappings", "show", "hubspot").out
    assert run("mappings", "show", "hubspt").code == 3


# --- looking and repairing --------------------------------------------------------------------------------------------


def test_an_empty_home_says_what_to_do_next(run: Run, home: Path) -> None:
    shown = run("status").out
    assert "not running (start it: lifecyclehub serve)" in shown
    assert "No connections yet" in shown
    assert "Nothing waits" in shown
    for words in (("deliveries",), ("effects",), ("clients",), ("engagements",), ("engagements", "list")):
        listed = run(*words, "--json")
        assert (listed.code, listed.json()["items"]) == (0, [])
        assert run(*words).out.strip()
    assert run("status", "--json").json()["running"] is False


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("deliveries", "dlv_none"), 3),
        (("effects", "eff_none"), 3),
        (("effects", "--connection", "none"), 3),
        (("clients", "cli_none"), 3),
        (("engagements", "show", "eng_none"), 3),
        (("explain", "eff_none"), 3),
        (("explain", "something"), 3),
        (("replay", "dlv_none"), 3),
        (("replay", "eff_none"), 2),
        (("replay",), 2),
        (("replay", "--since", "2026-03-01"), 2),
        (("park", "eff_none"), 3),
        (("unpark", "eff_none"), 3),
        (("unpark", "ntc_none", "--cancel"), 2),
        (("unpark", "eff_1", "--is", "7", "--cancel"), 2),
        (("unpark", "eff_1", "eff_2", "--is", "7"), 2),
        (("deliveries", "--after", "nonsense"), 1),
        (("deliveries", "--limit", "0"), 2),
        (("nonsense",), 2),
    ],
)
def test_what_is_not_there_or_cannot_be_ends_with_a_code_and_a_sentence(
    run: Run, home: Path, words: tuple[str, ...], code: int
) -> None:
    ended = run(*words)
    assert ended.code == code
    assert "Error: " in ended.err
