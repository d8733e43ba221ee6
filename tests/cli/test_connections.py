"""Connecting accounts: what is asked, what is refused, what is never repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.hubspot import HubSpotTool
from tests.support.served import tools_beside
from tests.support.typed import Run, add, settings


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


def test_a_connection_is_removed_after_what_stops_was_shown(run: Run, home: Path, crm: HubSpotTool) -> None:
    add(run, crm)
    asked = run("connections", "remove", "crm")
    assert asked.code == 1
    assert "won-deal-starts-delivery" in asked.out
    assert "no connection plays crm any more" in asked.out
    assert "Nothing was changed" in asked.err
    assert run("connections", "list", "--json").json()[0]["state"] == "active"

    ended = run("connections", "remove", "crm", "--yes", "--who", "kim")
    assert ended.code == 0
    assert "crm is removed; its credentials are forgotten here." in ended.out
    assert run("connections", "list", "--json").json() == []
    assert run("connections", "remove", "crm", "--yes").code == 3
    assert run("connections", "resume", "crm").code == 3
    assert run("deliveries", "--connection", "crm (removed)").code == 0
    assert run("check").code == 0

    assert add(run, crm, "books").code == 0
    assert [one["name"] for one in run("connections", "list", "--json").json()] == ["books"]
    done = run("connections", "remove", "books", "--yes", "--json").json()
    assert (done["connection"], done["cancelled"], done["by_hand"]) == ("books", [], [])


def test_about_shows_steps_ways_in_and_settings_without_a_home(run: Run) -> None:
    shown = run("connections", "about", "zendesk").out
    assert "client_id, client_secret" in shown
    assert "subdomain *" in shown
