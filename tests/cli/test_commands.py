"""Commands as people and scripts use them: what they print, what they refuse, and the code they end with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecyclehub.cli.showing import print_table
from lifecyclehub.store.database import open_engine
from lifecyclehub.store.leases import Beat, beat
from tests.support.home import make_home
from tests.support.typed import Run

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
    assert run("tokens", "make", " ").code == 2
    assert run("tokens", "revoke", "page").code == 3
    assert run("tokens", "revoke", "pages").code == 0
    assert [one["name"] for one in run("tokens", "list", "--json").json()] == ["first"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("effects", "--handoff", "nope"), 3, "There are: client-standing-to-crm, closed-project-drafts-invoice, "),
        (("effects", "--handoff", "ticket-joins-projekt"), 3, "Did you mean ticket-joins-project?"),
        (("effects", "--engagement", "nope"), 3, "there is no engagement 'nope'"),
        (("engagements", "--client", "Orchard Tools"), 3, "there is no client 'Orchard Tools'"),
        (("effects", "--state", "nope"), 2, "'--state': 'nope' is not one of 'planned', 'held', "),
    ],
)
def test_a_word_that_can_match_nothing_is_an_error_that_says_what_there_is(
    run: Run, home: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    ended = run(*words)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert "Value error" not in ended.err


# --- what is broken around us ------------------------------------------------------------------------------------------


def test_a_database_that_does_not_answer_is_said_without_a_traceback(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFECYCLEHUB_DATABASE", "postgresql+psycopg://nobody:canary@127.0.0.1:1/none")
    ended = run("status")
    assert ended.code == 2
    assert ended.err.startswith("Error: the database cannot be used: connection failed")
    assert "canary" not in ended.err


def test_status_says_whether_a_hub_lives_anywhere_on_postgresql(
    run: Run, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFECYCLEHUB_DATABASE", postgres_url)
    make_home(tmp_path, postgres_url)
    assert "not running (start it: lifecyclehub serve)" in run("status").out
    engine = open_engine(postgres_url)
    with engine.connect() as conn, conn.begin():
        beat(conn, [Beat("hub_elsewhere", "another home", datetime.now(UTC), alone=False, starting=True)])
    engine.dispose()
    assert "running in 1 place on PostgreSQL" in run("status").out
    shown = run("status", "--json").json()
    assert (shown["running"], shown["hubs"]) == (True, 1)


def test_a_database_file_that_is_none_is_said(run: Run, home: Path) -> None:
    (home / "hub.sqlite3").write_bytes(b"garbage" * 1000)
    ended = run("effects")
    assert ended.code == 2
    assert "file is not a database" in ended.err


def test_a_home_that_cannot_be_made_is_said_with_its_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file", "utf-8")
    ended = run("init")
    assert ended.code == 2
    assert f"Where: {tmp_path / 'home'}" in ended.err


def test_a_fault_of_our_own_is_not_hidden(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifecyclehub.cli.looking._look", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run("status")


# --- looking and repairing --------------------------------------------------------------------------------------------


def test_an_empty_home_says_what_to_do_next(run: Run, home: Path) -> None:
    shown = run("status").out
    assert "not running (start it: lifecyclehub serve)" in shown
    assert "No connections yet" in shown
    assert "Nothing waits" in shown
    for words in (("deliveries",), ("effects",), ("clients",), ("engagements",)):
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
        (("engagements", "eng_none"), 3),
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
        (("unpark", "eff_1", "--anew", "--cancel"), 2),
        (("unpark", "eff_1", "--is", ""), 2),
        (("unpark", "eff_1", "--is", "7", "--url", "javascript:alert(1)"), 2),
        (("unpark", "eff_1", "eff_2", "--is", "7"), 2),
        (("deliveries", "--after", "nonsense"), 2),
        (("effects", "--state", "nonsense"), 2),
        (("clients", "--standing", "nonsense"), 2),
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


# --- tables -----------------------------------------------------------------------------------------------------------


def test_an_id_stays_in_one_piece_on_a_narrow_screen_and_nothing_is_left_out_on_a_tiny_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ("closed-project-drafts-invoice", "A closed project drafts its invoice, " * 3)
    monkeypatch.setenv("COLUMNS", "60")
    print_table(("Handoff", "What it does"), [row], empty="")
    assert row[0] in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("Handoff", "What it does"), [row], empty="")
    assert "".join(line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()[1:]) == row[0]


# --- for scripts ------------------------------------------------------------------------------------------------------------

PAGES = ("deliveries", "effects", "clients", "engagements", "findings")
LISTS = ("check", "doctor", "connections list", "connections test", "handoffs list", "mappings show", "tokens list")


def test_every_list_is_json_of_one_shape_also_where_there_is_nothing(run: Run, home: Path) -> None:
    for words in PAGES:
        ended = run(*words.split(), "--json")
        assert (ended.code, ended.err) == (0, ""), words
        assert ended.json() == {"items": [], "next": None}, words
    for words in LISTS:
        ended = run(*words.split(), "--json")
        assert (ended.code, ended.err) == (0, ""), words
        assert isinstance(ended.json(), list), words


@pytest.mark.parametrize("hours", ["nan", "-1", "1e9"])
def test_a_token_is_not_rotated_for_a_time_that_is_none(run: Run, home: Path, hours: str) -> None:
    ended = run("tokens", "rotate", "first", "--overlap-h", hours)
    assert ended.code == 2
    assert "--overlap-h" in ended.err
    assert ended.out == ""
