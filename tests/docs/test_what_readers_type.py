"""What README and tutorial tell people to type does what they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, RUN, Block, blocks_of
from tests.docs.session import NotAsShown, Reader
from tests.docs.shown import difference


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "lifecyclehub-tutorial"
    folder.mkdir()
    one = Reader(folder)
    yield one
    one.leave()


@pytest.mark.parametrize("document", RUN)
def test_what_a_reader_types_shows_what_the_document_shows(document: str, reader: Reader) -> None:
    reader.work_through(blocks_of(ROOT / document))


def test_a_block_that_shows_something_else_is_found(reader: Reader) -> None:
    with pytest.raises(NotAsShown, match=r"\+two"):
        reader.work_through([Block(1, "sh", "", "echo one; echo two", "one\nthree")])


def test_a_block_that_fails_is_found(reader: Reader) -> None:
    with pytest.raises(NotAsShown, match="exit code 3"):
        reader.work_through([Block(1, "sh", "", "echo one; (exit 3)")])


def test_what_one_block_sets_the_next_one_knows(reader: Reader) -> None:
    reader.work_through([Block(1, "sh", "", "word=hello\nmkdir -p x\ncd x"), Block(2, "sh", "", "echo $word\nls ..", "hello\nx")])


def test_what_stays_running_is_awaited_and_ended(reader: Reader) -> None:
    reader.work_through([Block(1, "sh", "stays running", "sh -c 'echo up; cat'", "up")])
    reader.leave()


def test_ids_times_and_addresses_differ_each_time() -> None:
    one = "eff_01k9xyzabcdefghjkm  done  2026-11-20 10:11:12  http://127.0.0.1:8470  lh-7k2m9qx3ab  took 3 s"
    two = "eff_02k9xyzabcdefghjkm   done   2027-01-02 03:04:05   http://127.0.0.1:9000   lh-0000000000   took 12.5 s"
    assert difference(one, two) == ""
    assert difference(one, two.replace("done", "parked")) != ""


def test_three_dots_stand_for_any_lines() -> None:
    assert difference("first\n...\nlast", "first\na\nb\nlast") == ""
    assert difference("first\n...\nlast", "first\na\nb") != ""
    assert difference("one", "one\ntwo") != ""


def test_a_comment_that_nobody_understands_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.md"
    file.write_text("<!-- setup -->\n```sh\ntrue\n```\n", "utf-8")
    with pytest.raises(ValueError, match="means nothing"):
        blocks_of(file)
