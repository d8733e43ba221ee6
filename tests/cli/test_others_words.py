"""What vendors and strangers say is shown, on the terminal and in the log, and neither steers the one nor forges the other."""

from __future__ import annotations

import io
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecyclehub.cli.codes import told
from lifecyclehub.cli.logs import Kept
from lifecyclehub.cli.showing import console, print_table
from lifecyclehub.errors import ConfigurationError

EVIL = "\x1b]0;mine\x07\x1b[2J Orchard\r\u202eslooT\x9b1m"
SHOWN = "\\x1b]0;mine\\x07\\x1b[2J Orchard\\r\\u202eslooT\\x9b1m"


def record(said: str) -> logging.LogRecord:
    return logging.LogRecord("hub", logging.WARNING, "", 0, said, None, None)


def written(*said: str) -> str:
    out = io.StringIO()
    log = Kept(out)
    for one in said:
        log.handle(record(one))
    log.end()
    return out.getvalue()


def test_words_of_others_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(EVIL, markup=False)
    print_table(("Name",), [(EVIL,)], empty="")
    said = capsys.readouterr().out + told(ConfigurationError(EVIL, where=EVIL, mend=EVIL))
    assert not {"\x1b", "\x07", "\r", "\u202e", "\x9b"} & set(said)
    assert said.count(SHOWN) == 5


def test_a_record_of_the_log_cannot_look_like_several() -> None:
    said = written("refused: x\n2026-11-20 12:00:00,000 ERROR hub: all is lost\r\nagain", EVIL)
    first, second = [line for line in said.splitlines() if not line.startswith("    ")]
    assert first.endswith("refused: x")
    assert second.endswith(SHOWN)


@given(st.text())
def test_whatever_is_logged_begins_one_line(said: str) -> None:
    lines = written(said).split("\n")
    assert [line[4:5] == "-" for line in lines if line and not line.startswith("    ")] == [True]
    assert "\x1b" not in "".join(lines)


class Unread(io.StringIO):
    """A pipe that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.read_now = threading.Event()

    def write(self, text: str) -> int:
        self.read_now.wait(30)
        return super().write(text)


def test_a_log_that_nobody_reads_keeps_nobody_waiting_and_counts_what_it_left_out() -> None:
    out = Unread()
    log = Kept(out, most=10)
    for number in range(1000):
        log.handle(record(f"line {number}"))
    assert log.left_out >= 989
    log.end(patience_s=0.01)  # nor does it keep the hub from ending
    out.read_now.set()
    log.handle(record("and on"))
    log.end(patience_s=30)
    said = out.getvalue()
    assert "line 0\n" in said
    assert " records were left out here: nobody read the log." in said
